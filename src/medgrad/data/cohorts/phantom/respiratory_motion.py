"""Synthetic respiratory motion: how the body differs at a later date, as a smooth displacement known everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._distance_fields import Points, WaveField

MAX_GRADIENT = 0.5


@dataclass(frozen=True)
class RespiratoryMotion:
    """The respiratory displacement in mm from points of one date to the same tissue at the first date.

    The diaphragm moves by ``diaphragm_mm``, the chest widens by ``chest_widening``, everything shifts by ``shift_mm``,
    and smooth waves of ``wave_mm`` deform the rest. ``half_mm`` is half the size of the trunk.
    """

    half_mm: tuple[float, float, float]
    diaphragm_mm: float
    chest_widening: float
    shift_mm: tuple[float, float, float]
    wave_mm: float
    waves: tuple[WaveField, WaveField, WaveField]

    @classmethod
    def random(cls, rng: np.random.Generator, half_mm: Sequence[float], max_mm: float) -> RespiratoryMotion:
        """Draw a random motion that moves the diaphragm by up to ``max_mm`` without folding."""
        a, b, h = (float(v) for v in half_mm)
        longest = 2.6 * min(a, b, h)
        waves = tuple(WaveField.random(rng, longest, n_waves=4, spread=0.05) for _ in range(3))
        found = cls(
            (a, b, h),
            float(rng.choice([-1, 1]) * rng.uniform(0.5, 1.0) * max_mm),
            float(rng.uniform(-0.03, 0.03)) * min(1.0, max_mm / 6),
            tuple(float(v) for v in rng.uniform(-0.4, 0.4, 3) * max_mm),  # type: ignore[arg-type]
            0.15 * max_mm,
            waves,  # type: ignore[arg-type]
        )
        if found.gradient_bound() > MAX_GRADIENT:
            raise ValueError(
                f"A breath of {max_mm:g} mm would fold a trunk of {2 * min(half_mm):.0f} mm. Give a smaller breath_mm."
            )
        return found

    def gradient_bound(self) -> float:
        """Give an upper bound of the displacement's gradient; below 1 nothing folds."""
        smallest = min(self.half_mm)
        bump = abs(self.diaphragm_mm) * np.exp(-0.5) / (0.55 * smallest)
        sway = self.wave_mm * np.sqrt(3) * max(_wave_gradient_bound(w) for w in self.waves)
        return float(bump + 1.5 * abs(self.chest_widening) + sway)

    def __call__(self, points: Points) -> Points:
        """Give the displacement at points (3, ...) in mm from the centre of the trunk."""
        a, b, h = (np.float32(v) for v in self.half_mm)
        x, y, z = points
        r2 = (x / (0.9 * a)) ** 2 + ((y - 0.15 * b) / (0.8 * b)) ** 2 + ((z + 0.05 * h) / (0.7 * h)) ** 2
        bump = np.exp(np.float32(-0.5) * r2)
        moved = np.stack([self.wave_mm * wave(points) + s for wave, s in zip(self.waves, self.shift_mm, strict=True)])
        moved[2] += self.diaphragm_mm * bump
        moved[0] += self.chest_widening * x * bump
        moved[1] += self.chest_widening * y * bump
        return moved.astype(np.float32)

    def invert(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Invert the motion by fixed-point iteration: map points (3, ...) of the first date to this date."""
        found = points.copy()
        for _ in range(60):
            found = points - self(found.astype(np.float32)).astype(np.float64)
        return found


def _wave_gradient_bound(wave: WaveField) -> float:
    """Give an upper bound of the gradient of a wave field."""
    lengths = np.linalg.norm(wave.vectors.astype(float), axis=1)
    return float(np.sqrt(2 / len(lengths)) * lengths.sum())
