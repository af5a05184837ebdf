"""Spatial transforms in NumPy: warp points, images and label maps; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .grid import Grid, matrix_to_tuples
from .types import Deformation, Image, LabelMap, Landmarks, Pair

Points = NDArray[np.float64]
MAX_ITERATIONS = 60
TOLERANCE_MM = 1e-4


@dataclass(frozen=True)
class Transform:
    """A transform from the fixed to the moving image: a displacement, then an affine ``matrix`` in world mm.

    ``displacement`` (*grid.shape, dims) is a displacement in mm on the ``grid`` of the fixed image, or None; beyond the
    grid its edge values are repeated.

    >>> Transform(((1, 0, 5), (0, 1, 0), (0, 0, 1)), Grid.from_shape((4, 4))).to_moving([[1.0, 1.0]]).tolist()
    [[6.0, 1.0]]
    """

    matrix: tuple[tuple[float, ...], ...]
    grid: Grid
    displacement: NDArray[np.float32] | None = None

    @classmethod
    def from_deformation(cls, deformation: Deformation) -> Transform:
        """Split a deformation into its best-fitting affine matrix and the remaining displacement."""
        grid = deformation.grid
        n = grid.dims
        points = voxel_positions(grid).reshape(-1, n)
        step = max(1, len(points) // 20_000)
        moved = points + deformation.field.reshape(-1, n).astype(float)
        homogeneous = np.column_stack([points, np.ones(len(points))])[::step]
        matrix = np.eye(n + 1)
        matrix[:n] = np.linalg.lstsq(homogeneous, moved[::step], rcond=None)[0].T
        if abs(np.linalg.det(matrix[:n, :n])) < 1e-3:
            matrix = np.eye(n + 1)
        bend = (apply_affine(np.linalg.inv(matrix).astype(float), moved) - points).reshape(*grid.shape, n)
        return cls(matrix_to_tuples(matrix), grid, bend.astype(np.float32))

    def to_moving(self, points: ArrayLike) -> Points:
        """Map (..., dims) world points of the fixed image to the moving one."""
        points = np.asarray(points, float)
        return apply_affine(np.array(self.matrix), points + self.displacement_at(points))

    def to_fixed(self, points: ArrayLike) -> Points:
        """Map (..., dims) world points of the moving image to the fixed one.

        The displacement is inverted by iteration.
        """
        without_matrix = apply_affine(np.linalg.inv(np.array(self.matrix)), np.asarray(points, float))
        estimate = without_matrix
        if self.displacement is None:
            return estimate
        for _ in range(MAX_ITERATIONS):
            before, estimate = estimate, without_matrix - self.displacement_at(estimate)
            if np.abs(estimate - before).max(initial=0.0) < TOLERANCE_MM:
                break
        return estimate

    def displacement_at(self, points: Points) -> Points:
        """Interpolate the displacement at world points."""
        if self.displacement is None:
            return np.zeros_like(points)
        return np.stack([interpolate(b, self.grid, points) for b in np.moveaxis(self.displacement, -1, 0)], axis=-1)

    def to_deformation(self) -> Deformation:
        """Give the total displacement of every grid point, matrix included."""
        points = voxel_positions(self.grid)
        ends = apply_affine(np.array(self.matrix), points if self.displacement is None else points + self.displacement)
        return Deformation((ends - points).astype(np.float32), self.grid)


def apply_affine(matrix: NDArray[np.float64], points: Points) -> Points:
    """Apply an affine matrix to (..., dims) points."""
    n = len(matrix) - 1
    return points @ matrix[:n, :n].T + matrix[:n, n]


def voxel_positions(grid: Grid) -> Points:
    """Give the world position of every element: (*shape, dims)."""
    return grid.to_world(np.stack(np.meshgrid(*[np.arange(s) for s in grid.shape], indexing="ij"), axis=-1))


def interpolate(
    array: NDArray[Any], grid: Grid, points: Points, *, order: int = 1, fill_value: float | None = None
) -> NDArray[Any]:
    """Interpolate an array at (..., dims) world points; outside it, its edge values or ``fill_value``."""
    where = np.moveaxis(grid.to_index(points), -1, 0)
    if fill_value is None:
        return ndimage.map_coordinates(array, where, order=order, mode="nearest")
    return ndimage.map_coordinates(array, where, order=order, mode="constant", cval=fill_value)


def warp_image(image: Image, transform: Transform, *, order: int = 1) -> Image:
    """Warp a moving image onto the grid of the fixed one; outside it, the value is its minimum."""
    points = transform.to_moving(voxel_positions(transform.grid))
    planes = [
        interpolate(p.astype(np.float32), image.grid, points, order=order, fill_value=float(p.min()))
        for p in image.channels_first
    ]
    array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
    if image.array.dtype.kind in "ui":
        limits = np.iinfo(image.array.dtype)
        array = np.clip(np.round(array), limits.min, limits.max).astype(image.array.dtype)
    return replace(image, array=array, grid=transform.grid)


def warp_labels(labels: LabelMap, transform: Transform) -> LabelMap:
    """Warp a moving label map onto the grid of the fixed image, by nearest neighbour."""
    points = transform.to_moving(voxel_positions(transform.grid))
    array = interpolate(labels.array, labels.grid, points, order=0, fill_value=0)
    return replace(labels, array=array, grid=transform.grid)


def warp_landmarks(landmarks: Landmarks, transform: Transform) -> Landmarks:
    """Map landmarks of the moving image to the fixed one."""
    return Landmarks(transform.to_fixed(landmarks.points), landmarks.names)


def jacobian_determinant(field: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Give the Jacobian determinant of a displacement (*shape, dims) in mm: the local volume change.

    Below 0 the deformation folds.
    """
    n = grid.dims
    steps = np.asarray(field, float) @ np.linalg.inv(grid.matrix[:n, :n]).T
    # (n, n, *shape): row by row, how each component of the mapping changes along each axis
    slopes = [
        [
            (np.gradient(steps[..., row], axis=axis) if grid.shape[axis] > 1 else 0.0) + float(row == axis)
            for axis in range(n)
        ]
        for row in range(n)
    ]
    return np.broadcast_to(determinant(slopes), grid.shape).astype(float)


def determinant(rows: Sequence[Sequence[Any]]) -> Any:
    """Give the determinant of a matrix of arrays, element by element, by expansion along the first row.

    Of two or three axes that is several times faster than ``np.linalg.det``, which takes one small matrix at a time.

    >>> float(determinant([[2.0, 1.0], [1.0, 3.0]]))
    5.0
    """
    if len(rows) == 1:
        return rows[0][0]
    minors = ([[*row[:k], *row[k + 1 :]] for row in rows[1:]] for k in range(len(rows)))
    return sum((-1) ** k * rows[0][k] * determinant(minor) for k, minor in enumerate(minors))


@lru_cache(maxsize=8)
def identity_deformation(grid: Grid) -> Deformation:
    """Give the identity deformation of a grid."""
    return Deformation(np.zeros((*grid.shape, grid.dims), np.float32), grid)


def truth_grid(truth: Pair | Deformation) -> Grid:
    """Give the grid of a truth, or one around its landmarks."""
    if isinstance(truth, Deformation):
        return truth.grid
    if isinstance(truth.fixed, (LabelMap, Image)):
        return truth.fixed.grid
    points = truth.fixed.points
    low = points.min(axis=0)
    size = np.maximum(np.ceil(points.max(axis=0) - low).astype(int) + 1, 2)
    spacing = np.maximum(size / 64, 1.0)
    return Grid.from_shape([int(s) for s in np.ceil(size / spacing)], spacing=tuple(spacing), origin=tuple(low))
