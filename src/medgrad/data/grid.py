"""The grid of an array: its shape and affine in patient space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

AXIS_CODES = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True)
class Grid:
    """A shape and an affine: element ``i`` of the array lies at ``affine @ (i, 1)``.

    World coordinates are mm in RAS: to the patient's Right, Anterior and Superior, as in NIfTI. A 2D image has two
    axes, rows then columns, and a 2D world. ``has_spacing`` is false where the source has no spacing (a PNG): then
    the spacing is 1 and lengths are in pixels.

    >>> Grid.from_shape((4, 4, 2), spacing=(1, 1, 3)).spacing
    (1.0, 1.0, 3.0)
    """

    shape: tuple[int, ...]
    affine: tuple[tuple[float, ...], ...]
    has_spacing: bool = True

    def __post_init__(self) -> None:
        n = len(self.shape)
        matrix = np.asarray(self.affine, float)
        if matrix.shape != (n + 1, n + 1):
            raise ValueError(f"A grid of {n} axes needs a ({n + 1}, {n + 1}) affine, but got {matrix.shape}.")
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:n, :n])) < 1e-12:
            raise ValueError(f"The affine {matrix.tolist()} cannot be inverted.")
        object.__setattr__(self, "shape", tuple(int(s) for s in self.shape))
        object.__setattr__(self, "affine", tuple(tuple(float(v) for v in row) for row in matrix))

    @classmethod
    def from_shape(
        cls,
        shape: Sequence[int],
        *,
        spacing: Sequence[float] | None = None,
        origin: Sequence[float] | None = None,
        has_spacing: bool = True,
    ) -> Grid:
        """Make an axis-aligned grid, by default with spacing 1 and origin 0."""
        n = len(shape)
        matrix = np.diag([*(spacing or (1.0,) * n), 1.0])
        matrix[:n, n] = origin if origin is not None else 0.0
        return cls(tuple(shape), matrix_to_tuples(matrix), has_spacing)

    @property
    def dims(self) -> int:
        return len(self.shape)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as an array."""
        return np.array(self.affine)

    @property
    def spacing(self) -> tuple[float, ...]:
        """The distance between neighbours along each axis, in mm."""
        n = self.dims
        return tuple(float(v) for v in np.sqrt((self.matrix[:n, :n] ** 2).sum(axis=0)))

    @property
    def directions(self) -> NDArray[np.float64]:
        """The unit vector of each axis, as columns."""
        n = self.dims
        return self.matrix[:n, :n] / np.array(self.spacing)

    @property
    def voxel_volume_mm(self) -> float:
        """The length, area or volume of one element, in mm to the power of the number of axes."""
        return float(abs(np.linalg.det(self.matrix[: self.dims, : self.dims])))

    @property
    def orientation(self) -> str:
        """The nearest anatomical direction that each axis points to, such as ``RAS``; empty for a flat picture.

        >>> Grid.from_shape((2, 2, 2)).orientation
        'RAS'
        """
        if self.dims != 3:
            return ""
        codes = [""] * 3
        for axis, (world, sign) in enumerate(nearest_axes(self.directions)):
            codes[axis] = AXIS_CODES[world][sign > 0]
        return "".join(codes)

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Convert (..., dims) indices to world coordinates."""
        n = self.dims
        return np.asarray(index, float) @ self.matrix[:n, :n].T + self.matrix[:n, n]

    def to_index(self, points: ArrayLike) -> NDArray[np.float64]:
        """Convert (..., dims) world coordinates to indices, not rounded."""
        n = self.dims
        inverse = invert_affine(self.affine)
        return np.asarray(points, float) @ inverse[:n, :n].T + inverse[:n, n]

    def crop(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """Give the grid of a crop that begins at ``start`` (which may lie outside) and has ``shape``."""
        n = self.dims
        matrix = self.matrix
        matrix[:n, n] = self.to_world(np.asarray(start, float))
        return Grid(tuple(shape), matrix_to_tuples(matrix), self.has_spacing)

    def is_close(self, other: Grid, *, tolerance_mm: float = 1e-2) -> bool:
        """Tell whether two grids have the same shape and corner positions."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, s - 1) for s in self.shape], indexing="ij")).reshape(self.dims, -1).T
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance_mm)


@lru_cache(256)
def invert_affine(affine: tuple[tuple[float, ...], ...]) -> NDArray[np.float64]:
    """Give the inverse of an affine, read-only."""
    found: NDArray[np.float64] = np.linalg.inv(np.array(affine))
    found.flags.writeable = False
    return found


def matrix_to_tuples(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """Convert a matrix to nested tuples."""
    return tuple(tuple(float(v) for v in row) for row in matrix)


def nearest_axes(directions: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Match each array axis with a distinct world axis and a sign; the best total alignment wins.

    >>> nearest_axes(np.diag([-1.0, 1.0, 1.0]))
    [(0, -1), (1, 1), (2, 1)]
    """
    from itertools import permutations

    n = len(directions)
    best = max(permutations(range(n)), key=lambda order: sum(abs(directions[w, a]) for a, w in enumerate(order)))
    return [(w, 1 if directions[w, a] >= 0 else -1) for a, w in enumerate(best)]
