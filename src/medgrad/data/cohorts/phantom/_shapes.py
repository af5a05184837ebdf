"""Signed distance fields of shapes in mm, negative inside, at points of shape (3, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Field = NDArray[np.float32]


def ellipsoid(points: Points, centre: Sequence[float], axes: Sequence[float]) -> Field:
    """Give the signed distance to an ellipsoid: exact at its surface and for a ball, approximate elsewhere.

    >>> float(ellipsoid(np.float32([[3.0], [0.0], [0.0]]), (0, 0, 0), (2, 2, 2))[0])
    1.0
    """
    once = np.zeros(points.shape[1:], np.float32)
    twice = np.zeros(points.shape[1:], np.float32)
    for p, c, a in zip(points, centre, axes, strict=True):
        q = (p - np.float32(c)) / np.float32(a)
        q *= q
        once += q
        twice += q / np.float32(a * a)
    once, twice = np.sqrt(once), np.sqrt(twice)
    middle = once < 1e-4  # where the formula is 0 / 0
    found = once * (once - 1) / np.where(middle, np.float32(1), twice)
    return np.where(middle, np.float32(-min(axes)), found).astype(np.float32)


def tube(points: Points, centre: Sequence[float], axes: Sequence[float]) -> Field:
    """Give the signed distance to an infinite upright elliptic cylinder; ``centre`` and ``axes`` are of (x, y)."""
    return ellipsoid(points[:2], centre, axes)


def rounded_box(points: Points, axes: Sequence[float], *, power: float = 2.5) -> Field:
    """Give the approximate signed distance to an infinite upright superellipse, the outline of a trunk."""
    u, v = np.abs(points[0]) / np.float32(axes[0]), np.abs(points[1]) / np.float32(axes[1])
    return ((u**power + v**power) ** np.float32(1 / power) - 1) * np.float32(min(axes))


def coverage(distance: Field, width_mm: float) -> Field:
    """Give the fraction of a voxel that lies inside: 0 to 1 across a boundary of ``width_mm``."""
    return np.clip(np.float32(0.5) - distance / np.float32(width_mm), 0, 1)


@dataclass(frozen=True)
class Waves:
    """A smooth random field with mean 0 and standard deviation 1, as a sum of plane waves; callable at any points.

    ``vectors`` are (n, 3) in radians per mm. The field does not depend on a voxel spacing.
    """

    vectors: NDArray[np.float32]
    phases: NDArray[np.float32]

    @classmethod
    def of(cls, rng: np.random.Generator, length_mm: float, *, n: int = 24, spread: float = 0.25) -> Waves:
        """Draw a field of waves in random directions, with wavelengths around ``length_mm``."""
        way = rng.normal(size=(n, 3))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        length = length_mm * np.exp(spread * rng.normal(size=(n, 1)))
        phases = rng.uniform(0, 2 * np.pi, n)
        return cls((2 * np.pi * way / length).astype(np.float32), phases.astype(np.float32))

    def __call__(self, points: Points) -> Field:
        flat = points.reshape(3, -1)
        total = np.zeros(flat.shape[1], np.float32)
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            total += np.cos(vector @ flat + phase)
        total *= np.float32(np.sqrt(2 / len(self.phases)))
        return total.reshape(points.shape[1:])


def strands(one: Waves, other: Waves, points: Points, *, width: float) -> Field:
    """Give 1 along the lines where both fields are zero and 0 away from them: a texture of branching vessels."""
    return np.exp(-(one(points) ** 2 + other(points) ** 2) / np.float32(2 * width**2))
