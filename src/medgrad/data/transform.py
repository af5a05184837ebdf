"""Spatial transforms in NumPy: warp points, images and label maps; no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .grid import Grid, as_rows
from .types import Deformation, Image, LabelMap, Landmarks, Pair

Points = NDArray[np.float64]
ROUNDS = 60
TOLERANCE_MM = 1e-4


@dataclass(frozen=True)
class Transform:
    """A transform from the fixed to the moving image: a displacement, then an affine ``matrix`` in world mm.

    ``bend`` (*grid.shape, dims) is a displacement in mm on the ``grid`` of the fixed image, or None; beyond the
    grid its edge values are repeated.

    >>> Transform(((1, 0, 5), (0, 1, 0), (0, 0, 1)), Grid.of((4, 4))).to_moving([[1.0, 1.0]]).tolist()
    [[6.0, 1.0]]
    """

    matrix: tuple[tuple[float, ...], ...]
    grid: Grid
    bend: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, deformation: Deformation) -> Transform:
        """Split a deformation into its best-fitting affine matrix and the remaining displacement."""
        grid = deformation.grid
        n = grid.dims
        points = voxels(grid).reshape(-1, n)
        step = max(1, len(points) // 20_000)
        ends = points + deformation.field.reshape(-1, n).astype(float)
        known = np.column_stack([points, np.ones(len(points))])[::step]
        matrix = np.eye(n + 1)
        matrix[:n] = np.linalg.lstsq(known, ends[::step], rcond=None)[0].T
        if abs(np.linalg.det(matrix[:n, :n])) < 1e-3:
            matrix = np.eye(n + 1)
        bend = (linear(np.linalg.inv(matrix).astype(float), ends) - points).reshape(*grid.shape, n)
        return cls(as_rows(matrix), grid, bend.astype(np.float32))

    def to_moving(self, points: ArrayLike) -> Points:
        """Map (..., dims) world points of the fixed image to the moving one."""
        points = np.asarray(points, float)
        return linear(np.array(self.matrix), points + self.bent(points))

    def to_fixed(self, points: ArrayLike) -> Points:
        """Map (..., dims) world points of the moving image to the fixed one.

        The displacement is inverted by iteration.
        """
        aim = linear(np.linalg.inv(np.array(self.matrix)), np.asarray(points, float))
        at = aim
        if self.bend is None:
            return at
        for _ in range(ROUNDS):
            before, at = at, aim - self.bent(at)
            if np.abs(at - before).max(initial=0.0) < TOLERANCE_MM:
                break
        return at

    def bent(self, points: Points) -> Points:
        """Interpolate the displacement at world points."""
        if self.bend is None:
            return np.zeros_like(points)
        return np.stack([interpolate(b, self.grid, points) for b in np.moveaxis(self.bend, -1, 0)], axis=-1)

    def deformation(self) -> Deformation:
        """Give the total displacement of every grid point, matrix included."""
        points = voxels(self.grid)
        ends = linear(np.array(self.matrix), points if self.bend is None else points + self.bend)
        return Deformation((ends - points).astype(np.float32), self.grid)


def linear(matrix: NDArray[np.float64], points: Points) -> Points:
    """Apply an affine matrix to (..., dims) points."""
    n = len(matrix) - 1
    return points @ matrix[:n, :n].T + matrix[:n, n]


def voxels(grid: Grid) -> Points:
    """Give the world position of every element: (*shape, dims)."""
    return grid.world(np.stack(np.meshgrid(*[np.arange(s) for s in grid.shape], indexing="ij"), axis=-1))


def interpolate(
    array: NDArray[Any], grid: Grid, points: Points, *, order: int = 1, outside: float | None = None
) -> NDArray[Any]:
    """Interpolate an array at (..., dims) world points; outside it, its edge values or ``outside``."""
    where = np.moveaxis(grid.index(points), -1, 0)
    if outside is None:
        return ndimage.map_coordinates(array, where, order=order, mode="nearest")
    return ndimage.map_coordinates(array, where, order=order, mode="constant", cval=outside)


def moved_image(image: Image, transform: Transform, *, order: int = 1) -> Image:
    """Warp a moving image onto the grid of the fixed one; outside it, the value is its minimum."""
    points = transform.to_moving(voxels(transform.grid))
    planes = [
        interpolate(p.astype(np.float32), image.grid, points, order=order, outside=float(p.min())) for p in image.planes
    ]
    array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
    if image.array.dtype.kind in "ui":
        limits = np.iinfo(image.array.dtype)
        array = np.clip(np.round(array), limits.min, limits.max).astype(image.array.dtype)
    return replace(image, array=array, grid=transform.grid)


def moved_labels(labels: LabelMap, transform: Transform) -> LabelMap:
    """Warp a moving label map onto the grid of the fixed image, by nearest neighbour."""
    points = transform.to_moving(voxels(transform.grid))
    array = interpolate(labels.array, labels.grid, points, order=0, outside=0)
    return replace(labels, array=array, grid=transform.grid)


def moved_landmarks(landmarks: Landmarks, transform: Transform) -> Landmarks:
    """Map landmarks of the moving image to the fixed one."""
    return Landmarks(transform.to_fixed(landmarks.points), landmarks.names)


def jacobian(field: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Give the Jacobian determinant of a displacement (*shape, dims) in mm: the local volume change.

    Below 0 the deformation folds.
    """
    n = grid.dims
    steps = np.asarray(field, float) @ np.linalg.inv(grid.matrix[:n, :n]).T
    slopes = np.stack(
        [np.gradient(steps, axis=a) if grid.shape[a] > 1 else np.zeros_like(steps) for a in range(n)], axis=-1
    )
    return np.linalg.det(np.eye(n) + slopes)


@lru_cache(maxsize=8)
def identity(grid: Grid) -> Deformation:
    """Give the identity deformation of a grid."""
    return Deformation(np.zeros((*grid.shape, grid.dims), np.float32), grid)


def grid_of_truth(truth: Pair | Deformation) -> Grid:
    """Give the grid of a truth, or one around its landmarks."""
    if isinstance(truth, Deformation):
        return truth.grid
    if isinstance(truth.fixed, (LabelMap, Image)):
        return truth.fixed.grid
    points = truth.fixed.points
    low = points.min(axis=0)
    size = np.maximum(np.ceil(points.max(axis=0) - low).astype(int) + 1, 2)
    spacing = np.maximum(size / 64, 1.0)
    return Grid.of([int(s) for s in np.ceil(size / spacing)], spacing=tuple(spacing), origin=tuple(low))
