"""Resample all images of a case to one grid, so that channels can be stacked."""

from __future__ import annotations

from dataclasses import dataclass

from ..data import Case
from ._step import Memo, Step, map_images
from .resample import resample_image, resample_labels


@dataclass(frozen=True)
class CommonGrid(Step):
    """The first image keeps its grid; the others, the truth and the region are resampled where theirs differ."""

    order: int = 1

    def apply(self, case: Case) -> tuple[Case, Memo]:
        grid = case.grid
        made = map_images(
            case, lambda i: resample_image(i, grid, order=self.order), lambda labels: resample_labels(labels, grid)
        )
        return made, Memo(grid)


THIS = CommonGrid
