"""Entry point of ``python -m medgrad``."""

from .apps.cli import main

if __name__ == "__main__":
    main()
