"""The preprocessing interface; each file of this folder ends in ``THIS = <a frozen dataclass of this kind>``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..data import Case, Grid, Image, LabelMap


@dataclass(frozen=True)
class Memo:
    """What a step remembers of a case to undo itself: the grid before it, and how it changed values, if it did."""

    grid: Grid
    values: Mapping[str, Any] = field(default_factory=dict)


class Step(ABC):
    """Settings of a preprocessing step that can be applied to a case and undone on an answer.

    ``apply`` gives a new case. ``undo`` takes an answer on the grid after the step and the grid before it, and
    gives the answer on the grid before.
    """

    derivation: ClassVar[tuple[str, str]] = ("110001", "Image Processing")
    """The code of DICOM's scheme DCM, and its meaning, by which a derived image says what the step did (CID 7203)."""
    takes_tables: ClassVar[bool] = False
    """Whether it takes a whole table of numbers as an image of rows and columns."""

    joins_images: ClassVar[bool] = False
    """Whether the step makes one image of all images of a case: the first one's name and grid stay."""

    @property
    def name(self) -> str:
        """The name of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def keeps_unit(self) -> bool:
        """Whether what it changes are the values of images alone, which stay in their unit and on their grid."""
        return False

    def missing(self, image: Image) -> NDArray[np.bool_] | None:
        """Tell which elements of an image (*shape) the step fills in, all others being known; None if it fills none."""
        del image
        return None

    def check_image_count(self, count: int) -> None:
        """Raise if the settings do not fit so many images of a case."""
        del count

    @abstractmethod
    def apply(self, case: Case) -> tuple[Case, Memo]:
        """Give a changed copy of a case, and the memo that undoes the change."""

    def undo_labels(self, labels: LabelMap, memo: Memo) -> LabelMap:
        """Bring labels back to the grid before the step."""
        del memo
        return labels

    def undo_grid(self, image: Image, memo: Memo) -> Image:
        """Bring an image back to the grid before the step; its values keep their unit."""
        del memo
        return image

    def undo_values(self, image: Image, memo: Memo) -> Image:
        """Bring the values of an image back to the unit that they had before the step."""
        del memo
        return image


def build_steps(chain: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Make steps from settings: each is ``{"name": ..., **settings}``."""
    for link in chain:
        registry.check_settings("prepare", link["name"], {k: v for k, v in link.items() if k != "name"})
    return [registry.find("prepare", c["name"])(**{k: v for k, v in c.items() if k != "name"}) for c in chain]


def prepare(case: Case, steps: Sequence[Step]) -> tuple[Case, list[Memo]]:
    """Apply every step; also give the memo of each, which is all that it takes to come back."""
    memos = []
    for step in steps:
        case, memo = step.apply(case)
        memos.append(memo)
    return case, memos


def map_images(
    case: Case, image: Callable[[Image], Image], labels: Callable[[LabelMap], LabelMap] | None = None
) -> Case:
    """Give the case with each image changed, and, where ``labels`` is given, what lies on its grid."""
    truth, region = case.truth, case.roi
    if labels is not None:
        truth = labels(truth) if isinstance(truth, LabelMap) else image(truth) if isinstance(truth, Image) else truth
        region = labels(region) if region is not None else None
    return replace(case, images={k: image(v) for k, v in case.images.items()}, truth=truth, roi=region)
