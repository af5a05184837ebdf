"""Resample all images of a case to one grid, so that channels can be stacked."""

from __future__ import annotations

from dataclasses import dataclass

from ..data import Case
from ._step import Memo, Step, changed
from .resample import image_onto, labels_onto


@dataclass(frozen=True)
class Align(Step):
    """The first image keeps its grid; the others, the truth and the region are resampled where theirs differ."""

    order: int = 1

    def apply(self, case: Case) -> tuple[Case, Memo]:
        grid = case.grid
        made = changed(case, lambda i: image_onto(i, grid, order=self.order), lambda labels: labels_onto(labels, grid))
        return made, Memo(grid)


THIS = Align
