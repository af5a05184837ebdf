"""Synthetic respiratory motion: how the body differs at a later date, as a smooth displacement known everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._shapes import Points, Waves

STEEPEST = 0.5


@dataclass(frozen=True)
class Breath:
    """The respiratory displacement in mm from points of one date to the same tissue at the first date.

    The diaphragm moves by ``rise_mm``, the chest widens by ``widen``, everything shifts by ``shift_mm``, and
    smooth waves of ``sway_mm`` deform the rest. ``half_mm`` is half the size of the trunk.
    """

    half_mm: tuple[float, float, float]
    rise_mm: float
    widen: float
    shift_mm: tuple[float, float, float]
    sway_mm: float
    waves: tuple[Waves, Waves, Waves]

    @classmethod
    def of(cls, rng: np.random.Generator, half_mm: Sequence[float], most_mm: float) -> Breath:
        """Draw a random motion that moves the diaphragm by up to ``most_mm`` without folding."""
        a, b, h = (float(v) for v in half_mm)
        longest = 2.6 * min(a, b, h)
        waves = tuple(Waves.of(rng, longest, n=4, spread=0.05) for _ in range(3))
        found = cls(
            (a, b, h),
            float(rng.choice([-1, 1]) * rng.uniform(0.5, 1.0) * most_mm),
            float(rng.uniform(-0.03, 0.03)) * min(1.0, most_mm / 6),
            tuple(float(v) for v in rng.uniform(-0.4, 0.4, 3) * most_mm),  # type: ignore[arg-type]
            0.15 * most_mm,
            waves,  # type: ignore[arg-type]
        )
        if found.steepness() > STEEPEST:
            raise ValueError(
                f"A breath of {most_mm:g} mm would fold a trunk of {2 * min(half_mm):.0f} mm. Give a smaller breath_mm."
            )
        return found

    def steepness(self) -> float:
        """Give an upper bound of the displacement's gradient; below 1 nothing folds."""
        smallest = min(self.half_mm)
        bump = abs(self.rise_mm) * np.exp(-0.5) / (0.55 * smallest)
        sway = self.sway_mm * np.sqrt(3) * max(_slope(w) for w in self.waves)
        return float(bump + 1.5 * abs(self.widen) + sway)

    def __call__(self, points: Points) -> Points:
        """Give the displacement at points (3, ...) in mm from the centre of the trunk."""
        a, b, h = (np.float32(v) for v in self.half_mm)
        x, y, z = points
        r2 = (x / (0.9 * a)) ** 2 + ((y - 0.15 * b) / (0.8 * b)) ** 2 + ((z + 0.05 * h) / (0.7 * h)) ** 2
        bump = np.exp(np.float32(-0.5) * r2)
        moved = np.stack([self.sway_mm * wave(points) + s for wave, s in zip(self.waves, self.shift_mm, strict=True)])
        moved[2] += self.rise_mm * bump
        moved[0] += self.widen * x * bump
        moved[1] += self.widen * y * bump
        return moved.astype(np.float32)

    def undone(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Invert the motion by fixed-point iteration: map points (3, ...) of the first date to this date."""
        found = points.copy()
        for _ in range(60):
            found = points - self(found.astype(np.float32)).astype(np.float64)
        return found


def _slope(wave: Waves) -> float:
    """Give an upper bound of the gradient of a wave field."""
    lengths = np.linalg.norm(wave.vectors.astype(float), axis=1)
    return float(np.sqrt(2 / len(lengths)) * lengths.sum())
