"""The interface of a layout; each file of this folder ends in ``THIS = <a function of the type Layout>``.

``THIS.order`` says when a layout is tried, the strictest first. ``THIS.hints`` lists which of ``truth`` and
``roi`` it uses (none by default); a hint that no layout uses is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ....errors import LayoutError
from ..cohort import Cohort

TRUTH_KINDS = {
    "segmentation": "label_map",
    "classification": "scores",
    "detection": "boxes",
    "registration": "pair",
}
"""The kind of truth of each task that data is known to serve."""


IMAGE_KINDS = ("self", "synthetic_image", "synthetic_self")
"""The kinds of truth that are images, in one way or another."""


@dataclass(frozen=True)
class Hints:
    """What the user says about a folder; None where nothing was said.

    ``truth`` and ``roi`` name the folder or file (or a part of its name) of the truth and of the region that
    counts. ``task`` is the problem to solve where the data serves several, ``kind`` the kind of truth that it takes:
    that of the task where a layout knows it. The kind ``self`` is an image beside each image where there is one, else
    each image itself; ``synthetic_image`` is another image, ``synthetic_self`` each image itself.
    """

    truth: str | None = None
    roi: str | None = None
    task: str | None = None
    kind: str | None = None

    def rules_out(self, *kinds: str) -> bool:
        """Tell whether a task was asked for that takes none of these kinds of truth."""
        return self.task is not None and self.wanted_kind not in kinds

    @property
    def wanted_kind(self) -> str | None:
        """The kind of truth that the task takes, where it is known."""
        return "image" if self.kind in IMAGE_KINDS else self.kind or TRUTH_KINDS.get(self.task or "")


@dataclass(frozen=True)
class NoMatch:
    """The reason why a folder does not match a layout, and how close it came (0 to 1).

    Up to 0.2 it has at most images; about 0.4 it has files of the right kind with unusable content; from 0.5 on a
    single thing is missing.
    """

    closeness: float
    reason: str


class HintError(LayoutError):
    """A hint of the user does not fit the contents of a folder."""


Layout = Callable[[Path, Hints], Cohort | NoMatch]
