"""Signed distance fields of shapes in mm, negative inside, at points of shape (3, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Field = NDArray[np.float32]


def ellipsoid_distance(points: Points, centre: Sequence[float], half_axes: Sequence[float]) -> Field:
    """Give the signed distance to an ellipsoid: exact at its surface and for a ball, approximate elsewhere.

    >>> float(ellipsoid_distance(np.float32([[3.0], [0.0], [0.0]]), (0, 0, 0), (2, 2, 2))[0])
    1.0
    """
    scaled_radius = np.zeros(points.shape[1:], np.float32)
    gradient_norm = np.zeros(points.shape[1:], np.float32)
    for p, c, a in zip(points, centre, half_axes, strict=True):
        q = (p - np.float32(c)) / np.float32(a)
        q *= q
        scaled_radius += q
        gradient_norm += q / np.float32(a * a)
    scaled_radius, gradient_norm = np.sqrt(scaled_radius), np.sqrt(gradient_norm)
    middle = scaled_radius < 1e-4  # where the formula is 0 / 0
    found = scaled_radius * (scaled_radius - 1) / np.where(middle, np.float32(1), gradient_norm)
    return np.where(middle, np.float32(-min(half_axes)), found).astype(np.float32)


def cylinder_distance(points: Points, centre: Sequence[float], half_axes: Sequence[float]) -> Field:
    """Give the signed distance to an infinite upright elliptic cylinder; ``centre`` and ``half_axes`` are of (x, y)."""
    return ellipsoid_distance(points[:2], centre, half_axes)


def superellipse_distance(points: Points, half_axes: Sequence[float], *, power: float = 2.5) -> Field:
    """Give the approximate signed distance to an infinite upright superellipse, the outline of a trunk."""
    u, v = np.abs(points[0]) / np.float32(half_axes[0]), np.abs(points[1]) / np.float32(half_axes[1])
    return ((u**power + v**power) ** np.float32(1 / power) - 1) * np.float32(min(half_axes))


def inside_fraction(distance_mm: Field, width_mm: float) -> Field:
    """Give the fraction of a voxel that lies inside: 0 to 1 across a boundary of ``width_mm``."""
    return np.clip(np.float32(0.5) - distance_mm / np.float32(width_mm), 0, 1)


@dataclass(frozen=True)
class WaveField:
    """A smooth random field with mean 0 and standard deviation 1, as a sum of plane waves; callable at any points.

    ``vectors`` are (n, 3) in radians per mm. The field does not depend on a voxel spacing.
    """

    vectors: NDArray[np.float32]
    phases: NDArray[np.float32]

    @classmethod
    def random(
        cls, rng: np.random.Generator, wavelength_mm: float, *, n_waves: int = 24, spread: float = 0.25
    ) -> WaveField:
        """Draw a field of waves in random directions, with wavelengths around ``wavelength_mm``."""
        directions = rng.normal(size=(n_waves, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        length = wavelength_mm * np.exp(spread * rng.normal(size=(n_waves, 1)))
        phases = rng.uniform(0, 2 * np.pi, n_waves)
        return cls((2 * np.pi * directions / length).astype(np.float32), phases.astype(np.float32))

    def __call__(self, points: Points) -> Field:
        flat = points.reshape(3, -1)
        total = np.zeros(flat.shape[1], np.float32)
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            total += np.cos(vector @ flat + phase)
        total *= np.float32(np.sqrt(2 / len(self.phases)))
        return total.reshape(points.shape[1:])


def vessel_lines(first: WaveField, second: WaveField, points: Points, *, width: float) -> Field:
    """Give 1 along the lines where both fields are zero and 0 away from them: a texture of branching vessels."""
    return np.exp(-(first(points) ** 2 + second(points) ** 2) / np.float32(2 * width**2))
