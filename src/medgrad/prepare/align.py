"""Bring every image of a case onto one grid, so that channels can be stacked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..data import Case, Grid, LabelMap
from .resample import image_onto, labels_onto


@dataclass(frozen=True)
class Align:
    """The first image keeps its grid; the others, the truth and the region are resampled where theirs differ."""

    order: int = 1

    def apply(self, case: Case) -> Case:
        grid = case.grid
        images = {k: image_onto(v, grid, order=self.order) for k, v in case.images.items()}
        truth = labels_onto(case.truth, grid) if isinstance(case.truth, LabelMap) else case.truth
        region = labels_onto(case.region, grid) if case.region is not None else None
        return replace(case, images=images, truth=truth, region=region)

    def undo(self, answer: Any, before: Grid) -> Any:
        del before
        return answer


THIS = Align
