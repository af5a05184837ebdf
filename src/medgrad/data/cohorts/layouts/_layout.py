"""What a layout offers; each file of this folder ends in ``THIS = <a function of the kind Layout>``.

``THIS.order`` says when it is asked, the strictest first. ``THIS.hints`` names which of ``truth`` and ``roi`` it
looks at (none, where it does not say): a hint that nobody looks at is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ....errors import LayoutError
from ..cohort import Cohort


@dataclass(frozen=True)
class Hints:
    """What a person says to settle a doubt; None where they said nothing.

    ``truth`` and ``roi`` name the folder or file (or a part of its name) of the truth and of the region that counts.
    ``task`` is the problem to solve where the data would serve for several.
    """

    truth: str | None = None
    roi: str | None = None
    task: str | None = None


@dataclass(frozen=True)
class NoMatch:
    """Why a folder is not of this layout and, where it came near, what to do; and how near it came (0 to 1).

    Up to 0.2 it has nothing that this layout needs but images; about 0.4 it has files of the right kind, which do not
    say what they should; from 0.5 on one thing is missing.
    """

    closeness: float
    why: str


class HintError(LayoutError):
    """What a person said of a folder does not fit what is in it."""


Layout = Callable[[Path, Hints], Cohort | NoMatch]
