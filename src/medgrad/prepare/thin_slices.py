"""Thin slices: each thick slice becomes several, which average to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Grid, Image, LabelMap
from ..data.grid import matrix_to_tuples
from ..errors import SettingError
from ._image_step import as_type
from ._slice_groups import spread_groups
from ._step import Memo, Step

SPLIT_BY = "slices_split"
"""The tag of an image whose slices were split: along which axis, and by how many."""


@dataclass(frozen=True)
class ThinSlices(Step):
    """Split each slice along ``axis`` into ``factor``, interpolated cubically and shifted so that they average to it.

    ``axis`` -1 is that of the longest elements. The image is ``factor`` times as large, on a finer grid of the same
    place; a run that learned from ``thick_slices`` may then add what they lost. Labels are repeated. Coming back,
    slices are averaged again.
    """

    factor: int = 4
    axis: int = -1

    def __post_init__(self) -> None:
        if type(self.factor) is not int or self.factor < 2:
            raise SettingError(f"'factor' of thin_slices is a whole number of at least 2, but it is {self.factor!r}.")
        if type(self.axis) is not int or not -1 <= self.axis < 3:
            raise SettingError(f"'axis' of thin_slices is a number from -1 to 2, but it is {self.axis!r}.")

    def apply(self, case: Case) -> tuple[Case, Memo]:
        axis = self.axis_of(case.grid)
        images = {name: self.split_image(image, self.axis_of(image.grid)) for name, image in case.images.items()}
        truth, region = case.truth, case.roi
        if isinstance(truth, Image):
            truth = self.split_image(truth, axis)
        elif isinstance(truth, LabelMap):
            truth = self.split_labels(truth, axis)
        region = None if region is None else self.split_labels(region, axis)
        return replace(case, images=images, truth=truth, roi=region), Memo(case.grid, {"axis": axis})

    def undo_labels(self, labels: LabelMap, memo: Memo) -> LabelMap:
        middle = np.arange(memo.grid.shape[memo.values["axis"]]) * self.factor + self.factor // 2
        return replace(labels, array=labels.array.take(middle, memo.values["axis"]), grid=memo.grid)

    def undo_grid(self, image: Image, memo: Memo) -> Image:
        means = group_means(image.array, memo.values["axis"], self.factor)
        return replace(image, array=as_type(means, image.array.dtype), grid=memo.grid)

    def axis_of(self, grid: Grid) -> int:
        """Give the axis along which the slices of a grid are split, or raise if it has no such axis."""
        if self.axis >= grid.dims:
            raise SettingError(f"'axis' of thin_slices is {self.axis}, but the image has {grid.dims} axes, from 0.")
        longest = max(range(grid.dims), key=lambda axis: (round(grid.spacing[axis], 6), axis))
        return self.axis if self.axis >= 0 else longest

    def split_image(self, image: Image, axis: int) -> Image:
        """Split the slices of an image; what is not finite in a slice is so in all that it becomes."""
        values = np.moveaxis(image.array.astype(np.float64), axis, 0)
        known = np.where(np.isfinite(values), values, 0.0)
        n = len(values)
        fine = np.tensordot(spread_groups(self.factor * n, self.factor, self.factor), known, 1)
        fine += np.repeat(values - fine.reshape(n, self.factor, *known.shape[1:]).mean(1), self.factor, axis=0)
        array = as_type(np.moveaxis(fine, 0, axis), image.array.dtype)
        tags = {**image.tags, SPLIT_BY: (axis, self.factor)}
        return replace(image, array=array, grid=self.finer(image.grid, axis), tags=tags)

    def split_labels(self, labels: LabelMap, axis: int) -> LabelMap:
        """Repeat the slices of a label map."""
        return replace(labels, array=labels.array.repeat(self.factor, axis), grid=self.finer(labels.grid, axis))

    def finer(self, grid: Grid, axis: int) -> Grid:
        """Give the grid of the split slices."""
        affine = np.array(grid.affine)
        affine[:-1, -1] -= affine[:-1, axis] * (self.factor - 1) / (2 * self.factor)
        affine[:-1, axis] /= self.factor
        shape = tuple(n * self.factor if a == axis else n for a, n in enumerate(grid.shape))
        return Grid(shape, matrix_to_tuples(affine), grid.has_spacing)


def group_means(array: NDArray[Any], axis: int, factor: int) -> NDArray[np.float64]:
    """Average so many slices after one another along an axis."""
    moved = np.moveaxis(array.astype(np.float64), axis, 0)
    return np.moveaxis(moved.reshape(-1, factor, *moved.shape[1:]).mean(1), 0, axis)


def with_means_of(image: Image, shown: Image) -> NDArray[np.float64]:
    """Give the values of an image, shifted so that the slices of each group average as those of another image do.

    The other image says by its tag which slices a thick one was split into; without it values stay.
    """
    values = image.array.astype(np.float64)
    if SPLIT_BY not in shown.tags:
        return values
    axis, factor = shown.tags[SPLIT_BY]
    apart = group_means(shown.array, axis, factor) - group_means(values, axis, factor)
    return values + np.repeat(apart, factor, axis)


THIS = ThinSlices
