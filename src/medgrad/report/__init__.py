"""Pages that show what a run is worth, two runs side by side, and who won a race."""

from .comparison import write_comparison
from .page import write
from .race import write_race
from .rate import write_rate

__all__ = ["write", "write_comparison", "write_race", "write_rate"]
