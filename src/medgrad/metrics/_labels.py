"""Shared by the segmentation metrics: the masks of each label, and the mean over labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.grid import Grid
from ..data.types import Image, LabelMap
from ._surface import bounding_box

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskPair:
    """The masks of one label in truth and answer, in the box that holds every label; ``grid`` is the whole."""

    label: str
    truth: Mask
    answer: Mask
    grid: Grid

    @property
    def both_empty(self) -> bool:
        return not self.truth.any() and not self.answer.any()

    @property
    def one_empty(self) -> bool:
        return bool(self.truth.any()) != bool(self.answer.any())


def check_grids(truth: LabelMap | Image, answer: LabelMap | Image, region: LabelMap | None) -> None:
    """Raise unless all lie on the same grid."""
    for what, other in (("The answer", answer), ("The region", region)):
        if other is not None and other.grid.shape != truth.grid.shape:
            raise ValueError(
                f"{what} has the shape {other.grid.shape}, but the truth has {truth.grid.shape}. "
                "Bring it to the grid of the truth first."
            )
        if other is not None and not truth.grid.is_close(other.grid, tolerance_mm=0.01 * min(truth.grid.spacing)):
            raise ValueError(f"{what} and the truth lie at different places. Bring it to the grid of the truth first.")


def label_names(named: Mapping[int, str], *arrays: NDArray[Any]) -> dict[int, str]:
    """Give number and name of each label: those that have a name and, nameless, those that the arrays hold.

    >>> label_names({1: "liver"}, np.array([0, 3]))
    {1: 'liver', 3: '3'}
    """
    top = max((int(a.max()) for a in arrays if a.size), default=0)
    if all(number in named for number in range(1, top + 1)) and all(a.dtype.kind in "ub" for a in arrays):
        return dict(sorted(named.items()))
    found = {int(v) for a in arrays for v in np.unique(a) if v != 0}
    return {number: named.get(number, str(number)) for number in sorted(found | set(named))}


def mask_pairs(truth: LabelMap, answer: LabelMap, region: LabelMap | None = None) -> Iterator[MaskPair]:
    """Yield the masks of each label; outside the region nothing is set."""
    check_grids(truth, answer, region)
    marked = (truth.array != 0) | (answer.array != 0)
    if region is not None:
        marked &= region.array != 0
    box = bounding_box(marked)
    inside = marked[box]
    first, second = truth.array[box], answer.array[box]
    named = {int(k): v for k, v in {**answer.names, **truth.names}.items() if k != 0}
    for number, name in label_names(named, first, second).items():
        yield MaskPair(name, (first == number) & inside, (second == number) & inside, truth.grid)


def judge_each_label(
    figure: str, judge: Callable[[MaskPair], float | None], truth: LabelMap, answer: LabelMap, region: LabelMap | None
) -> dict[str, float | None]:
    """Judge each label, and give ``figure/<label>`` and ``figure/mean``, the mean of those that are defined."""
    row = {f"{figure}/{pair.label}": judge(pair) for pair in mask_pairs(truth, answer, region)}
    return add_mean(figure, row)


def add_mean(figure: str, row: dict[str, float | None]) -> dict[str, float | None]:
    """Add ``figure/mean``, None if no label has the figure."""
    known = [v for name, v in row.items() if v is not None and name.startswith(f"{figure}/")]
    return {**row, f"{figure}/mean": float(np.mean(known)) if known else None}
