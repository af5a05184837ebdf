"""Floor 7: the page that shows what a run is worth, and the one that sets two runs side by side."""

from .comparison import write_comparison
from .page import write

__all__ = ["write", "write_comparison"]
