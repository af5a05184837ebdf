"""Resize and pad every image to one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Case, Grid, Image, LabelMap
from ._step import Memo, Step, map_images
from .crop import crop_box
from .resample import resample_image, resample_labels, rescale_grid


@dataclass(frozen=True)
class ResizePad(Step):
    """Shrink or enlarge, proportions kept, until the image just fits into ``shape``, and fill the rest with its lowest.

    With ``stretch`` the proportions give way instead.
    """

    shape: tuple[int, ...] = ()
    stretch: bool = False
    order: int = 1

    def apply(self, case: Case) -> tuple[Case, Memo]:
        inner = self.resized_shape(case.grid)
        grid = rescale_grid(case.grid, inner)
        start = [-((s - i) // 2) for s, i in zip(self.shape, inner, strict=True)]

        def image(thing: Image) -> Image:
            fitted = resample_image(thing, grid, order=self.order)
            return crop_box(fitted, start, self.shape, fill=float(np.min(fitted.array)))

        made = map_images(case, image, lambda labels: crop_box(resample_labels(labels, grid), start, self.shape))
        return made, Memo(case.grid)

    def resized_shape(self, grid: Grid) -> list[int]:
        """Give the shape that the image itself takes within the whole."""
        if len(self.shape) != grid.dims:
            raise ValueError(f"A shape of {len(self.shape)} axes does not fit an image of {grid.dims}.")
        if self.stretch:
            return list(self.shape)
        size = [n * s for n, s in zip(grid.shape, grid.spacing, strict=True)]
        return self.fit_proportionally(size)

    def fit_proportionally(self, size: Sequence[float]) -> list[int]:
        """Scale lengths so that the tightest axis just fits."""
        factor = min(w / s for w, s in zip(self.shape, size, strict=True))
        return [max(1, min(w, round(s * factor))) for w, s in zip(self.shape, size, strict=True)]

    def undo_labels(self, labels: LabelMap, memo: Memo) -> LabelMap:
        return resample_labels(labels, memo.grid)

    def undo_grid(self, image: Image, memo: Memo) -> Image:
        return resample_image(image, memo.grid, order=1)


THIS = ResizePad
