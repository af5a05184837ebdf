"""Bring every case to the same spacing, and every image of a case to the same grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data import Case, Grid, Image, LabelMap
from ..data.grid import as_rows
from ._step import changed


@dataclass(frozen=True)
class Resample:
    """``spacing`` in mm along the axes of the array, 0 where an axis keeps its own; empty keeps all.

    Images are interpolated by splines of ``order``, labels linearly, each label for itself, and the largest share wins.
    """

    spacing: tuple[float, ...] = ()
    order: int = 3

    def apply(self, case: Case) -> Case:
        grid = self.target(case.grid)
        return changed(case, lambda i: image_onto(i, grid, order=self.order), lambda labels: labels_onto(labels, grid))

    def target(self, grid: Grid) -> Grid:
        """Give the grid of the wanted spacing that covers the same part of the patient."""
        if not self.spacing:
            return grid
        if len(self.spacing) != grid.dims:
            raise ValueError(f"A spacing of {len(self.spacing)} axes does not fit an image of {grid.dims}.")
        wanted = [w or s for w, s in zip(self.spacing, grid.spacing, strict=True)]
        shape = [max(1, round(n * s / w)) for n, s, w in zip(grid.shape, grid.spacing, wanted, strict=True)]
        return scaled(grid, shape)

    def undo(self, answer: Any, before: Grid) -> Any:
        if isinstance(answer, LabelMap):
            return labels_onto(answer, before)
        return image_onto(answer, before, order=1) if isinstance(answer, Image) else answer


def scaled(grid: Grid, shape: Sequence[int]) -> Grid:
    """Cover the same part of the patient with another number of elements along each axis."""
    n = grid.dims
    ratio = np.array(grid.shape) / np.array(shape)
    index = np.eye(n + 1)
    index[:n, :n] = np.diag(ratio)
    index[:n, n] = (ratio - 1) / 2
    return Grid(tuple(shape), as_rows(grid.matrix @ index), grid.measured)


def between(source: Grid, target: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the matrix and the offset that turn indices of the target into indices of the source."""
    n = source.dims
    whole = np.linalg.inv(source.matrix) @ target.matrix
    return whole[:n, :n], whole[:n, n]


def image_onto(image: Image, grid: Grid, *, order: int = 3) -> Image:
    """Interpolate an image on another grid; outside it, its nearest edge goes on."""
    if image.grid.is_close(grid, tolerance_mm=1e-4):
        return replace(image, grid=grid)
    planes = [interpolated(p.astype(np.float32), image.grid, grid, order=order) for p in image.planes]
    array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
    return replace(image, array=array, grid=grid)


def labels_onto(labels: LabelMap, grid: Grid) -> LabelMap:
    """Interpolate a label map on another grid: of all labels, the one with the largest share."""
    if labels.grid.is_close(grid, tolerance_mm=1e-4):
        return replace(labels, grid=grid)
    best = np.full(grid.shape, 0.0, np.float32)
    said = np.zeros(grid.shape, labels.array.dtype)
    for value in np.unique(labels.array):
        share = interpolated((labels.array == value).astype(np.float32), labels.grid, grid, order=1, edge=value == 0)
        wins = share > best
        said[wins] = value
        np.maximum(best, share, out=best)
    return replace(labels, array=said, grid=grid)


def interpolated(
    plane: NDArray[np.float32], source: Grid, target: Grid, *, order: int, edge: bool = True
) -> NDArray[np.float32]:
    """Interpolate one array; where it shrinks, it is smoothed first. Outside, the edge goes on, or there is 0."""
    matrix, offset = between(source, target)
    mode = "nearest" if edge else "constant"
    if np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-9):
        diagonal = np.diag(matrix)
        widths = [max(0.0, (abs(d) - 1) / 2) for d in diagonal]
        if any(w > 0.05 for w in widths):
            plane = ndimage.gaussian_filter(plane, widths, mode="nearest")
        return ndimage.affine_transform(plane, diagonal, offset, target.shape, order=order, mode=mode)
    return ndimage.affine_transform(plane, matrix, offset, target.shape, order=order, mode=mode)


THIS = Resample
