"""The scale in which values are stored as integers: slope, intercept and bits, one scale for each slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError
from .ct import decimal_string

Limits = tuple[float, float]


@dataclass(frozen=True)
class StoredScale:
    """How values become stored integers: ``value = slope * stored + intercept``.

    ``is_inverted`` is true of MONOCHROME1, whose stored integers the reader turns round before it rescales them.
    """

    slope: float
    intercept: float
    bits: int
    bits_stored: int
    is_signed: bool
    is_inverted: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer of the stored bits."""
        n = self.bits_stored
        return (-(2 ** (n - 1)), 2 ** (n - 1) - 1) if self.is_signed else (0, 2**n - 1)

    def holds(self, values: Limits) -> bool:
        """Tell whether the least and the greatest value fit the stored bits.

        >>> StoredScale(1, -1024, 16, 12, False).holds((-1024.4, 3071)), StoredScale(2, 0, 8, 8, False).holds((0, 512))
        (True, False)
        """
        low, high = self.limits
        steps = [(v - self.intercept) / self.slope for v in values]
        return all(low <= round(s) <= high for s in steps)

    def store(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give the stored integers nearest to the values, in little-endian order.

        >>> StoredScale(2.0, -1.0, 16, 16, True).store(np.array([-3.0, 0.9])).tolist()
        [-1, 1]
        """
        low, high = self.limits
        steps = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        stored = low + high - steps if self.is_inverted else steps
        return stored.astype(f"<{'i' if self.is_signed else 'u'}{self.bits // 8}")


def fit_scales(
    scales: Sequence[StoredScale], ranges: Sequence[Limits], *, is_pet: bool = False, has_fixed_slope: bool = False
) -> list[StoredScale]:
    """Give a scale for the range of each slice: its own where the values fit.

    Else all use every allocated bit; else a slice that does not fit gets an intercept, or a slope and an intercept, of
    its own. The intercept of PET is always 0. ``has_fixed_slope`` is true where the kind of image has no slope.
    """
    if all(s.holds(r) for s, r in zip(scales, ranges, strict=True)):
        return list(scales)
    if any(s.is_inverted for s in scales):
        raise FormatError("Values beyond the bits of a MONOCHROME1 image cannot be stored in it.")
    wide = [replace(s, bits_stored=s.bits) for s in scales]
    if all(s.holds(r) for s, r in zip(wide, ranges, strict=True)):
        return wide
    if has_fixed_slope:
        raise FormatError("Values beyond the bits of an image whose slope is always 1 cannot be stored in it.")
    if is_pet and any(low < 0 for low, _ in ranges):
        scales = [replace(s, is_signed=True) for s in scales]
    stretch = stretch_pet if is_pet else stretch_or_shift
    return [s if s.holds(r) else checked(stretch(s, r), r) for s, r in zip(scales, ranges, strict=True)]


def stretch_or_shift(scale: StoredScale, values: Limits) -> StoredScale:
    """Give a scale that spans the values: with the same slope where that suffices, else with a greater one.

    >>> stretch_or_shift(StoredScale(1.0, 0.0, 16, 16, False), (-5.0, 100.0)).intercept
    -5.0
    """
    low, high = scale.limits
    slope, (least, greatest) = abs(scale.slope), values
    if (greatest - least) / slope <= high - low - 1:
        start = math.floor((least - scale.intercept) / scale.slope) if scale.slope > 0 else 0
        shifted = scale.intercept + scale.slope * (start - low)
        if scale.slope > 0 and rounds_exactly(shifted):
            return replace(scale, intercept=shifted)
    slope = float(decimal_string((greatest - least) / (high - low - 2) * (1 + 1e-7)))
    return replace(scale, slope=slope, intercept=float(decimal_string(least - slope * (low + 1))))


def stretch_pet(scale: StoredScale, values: Limits) -> StoredScale:
    """Give a scale with the intercept 0 that spans the values.

    >>> stretch_pet(StoredScale(1.0, 0.0, 16, 16, False), (0.0, 131070.0)).store(np.array([131070.0])).tolist()
    [65535]
    """
    low, high = scale.limits
    slope = max(values[1] / high, values[0] / low if low else 0.0)
    return replace(scale, slope=float(decimal_string(slope * (1 + 2e-8))), intercept=0.0)


def rounds_exactly(value: float) -> bool:
    """Tell whether a number is the same after it was written as a decimal string."""
    return float(decimal_string(value)) == value


def checked(scale: StoredScale, values: Limits) -> StoredScale:
    """Give a scale, or raise if it does not hold the values."""
    if not scale.holds(values):
        raise FormatError(f"Values from {values[0]:.6g} to {values[1]:.6g} fit no slope and intercept of DICOM.")
    return scale
