"""HTML reports of a run, of a comparison of two runs, of a race, and of a learning rate range test."""

from .comparison import write_comparison
from .lr_finder import write_rate
from .page import write
from .race import write_race

__all__ = ["write", "write_comparison", "write_race", "write_rate"]
