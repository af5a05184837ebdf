"""Rings in a slice around a centre: what is alike along the angle, and narrow along the radius."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from ._image_step import Values

Array = NDArray[np.float64]
BLOCKS = 48
"""A turn has so many blocks; each is averaged before the others are asked."""
ARCS = (BLOCKS, 17)
"""Whole rings are taken away first, then arcs on which so many blocks agree."""
ROUNDS = 2
"""How often that is repeated: the median along the radius is less disturbed by rings that are gone."""
ERRORS = 3.0
"""What is below so many standard errors is no ring."""
NOISES = 5.0
"""A ring adds at most so many standard deviations of the noise, where no limit is given."""
ARC_LIMIT = 0.5
"""An arc adds at most this share of what a whole ring may: anatomy looks like an arc more often."""
SAMPLES = 2
"""Samples of the radius an element."""
SEARCHED_SLICES = 8


@dataclass(frozen=True)
class Polar:
    """Samples around a centre (in elements of a slice), by radius and angle, on a slice of a shape and a spacing.

    The median along the radius takes ``half`` elements to each side.
    """

    centre: tuple[float, ...]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    half: int

    @cached_property
    def offsets(self) -> Array:
        """How far each element lies from the centre along both axes, in the least spacing, (2, *shape)."""
        off = np.indices(self.shape) - np.reshape(self.centre, (2, 1, 1))
        scaled: Array = off * (np.reshape(self.spacing, (2, 1, 1)) / min(self.spacing))
        return scaled

    @cached_property
    def radii(self) -> Array:
        """The radii of the samples, in the least spacing."""
        radii: Array = np.arange(0.5, np.hypot(*self.offsets).max() + 1, 1 / SAMPLES)
        return radii

    @cached_property
    def angles(self) -> int:
        """How many angles there are: about one for each element of the outermost circle."""
        return int(np.ceil(2 * np.pi * self.radii[-1] / BLOCKS)) * BLOCKS

    @cached_property
    def places(self) -> Array:
        """Where the samples lie in the slice, in elements, (2, radii, angles)."""
        turn = (np.arange(self.angles) + 0.5) * (2 * np.pi / self.angles)
        ways = [self.radii[:, None] * wave * min(self.spacing) for wave in (np.cos(turn), np.sin(turn))]
        return np.stack([c + way / s for c, way, s in zip(self.centre, ways, self.spacing, strict=True)])

    @cached_property
    def is_outside(self) -> NDArray[np.bool_]:
        """Which samples lie outside of the slice, (radii, angles)."""
        most = np.reshape(self.shape, (2, 1, 1)) - 1
        return np.asarray(((self.places < 0) | (self.places > most)).any(0))

    @cached_property
    def sampled_at(self) -> Array:
        """Where the elements of the slice lie among the samples, (2, *shape); there is one more angle at each end."""
        turn = np.arctan2(self.offsets[1], self.offsets[0]) % (2 * np.pi)
        return np.stack([(np.hypot(*self.offsets) - 0.5) * SAMPLES, turn * self.angles / (2 * np.pi) + 0.5])


def to_polar(values: Values, polar: Polar) -> Values:
    """Give a slice by radius and angle, NaN outside of it."""
    sampled: Values = ndimage.map_coordinates(values, polar.places, order=3, mode="nearest")
    sampled[polar.is_outside] = np.nan
    return sampled


def to_slice(rings: Array, polar: Polar) -> Values:
    """Give (radii, angles) as a slice."""
    wide = np.pad(rings, ((0, 0), (1, 1)), mode="wrap")
    made: Values = ndimage.map_coordinates(wide, polar.sampled_at, order=1, mode="nearest").astype(np.float32)
    return made


def estimate_noise(slices: Values, polar: Polar) -> float:
    """Estimate the noise by what a median along the radius takes away, in the middle slice of each quarter."""
    chosen = slices[sorted({len(slices) * part // 8 for part in (1, 3, 5, 7)})]
    found = np.concatenate([take_median_away(to_polar(one, polar), polar).ravel() for one in chosen])
    found = np.abs(found[np.isfinite(found) & (found != 0)])
    return float(1.4826 * np.median(found)) if found.size else 0.0


def take_median_away(sampled: Values, polar: Polar) -> Values:
    """Give what is narrower along the radius than the window of a median."""
    known = np.isfinite(sampled)
    nearest = np.maximum.accumulate(np.where(known, np.arange(len(sampled))[:, None], 0), axis=0)
    filled = np.nan_to_num(np.take_along_axis(sampled, nearest, axis=0))
    rest = filled - ndimage.median_filter(filled, (2 * polar.half * SAMPLES + 1, 1), mode="nearest")
    return np.where(known, rest, np.float32(np.nan))


def ring_values(sampled: Values, polar: Polar, limit: float) -> Array:
    """Give the rings of a slice by radius and angle."""
    blocks = average(sampled, BLOCKS)
    total = np.zeros(blocks.shape)
    for _, arc in product(range(ROUNDS), ARCS):
        total += agreed(blocks - total, polar, limit if arc == BLOCKS else ARC_LIMIT * limit, arc)
    return np.repeat(total, sampled.shape[1] // BLOCKS, axis=1)


def average(sampled: Values, count: int) -> Array:
    """Average what is known over blocks of angles, (radii, blocks); NaN where nothing is."""
    parts = sampled.reshape(len(sampled), count, -1)
    known = np.isfinite(parts)
    total = np.where(known, parts, 0).sum(2, dtype=np.float64)
    return np.where(known.any(2), total / np.maximum(known.sum(2), 1), np.nan)


def agreed(blocks: Array, polar: Polar, limit: float, arc: int) -> Array:
    """Give what so many blocks around each agree on, (radii, blocks): their median, less where its error is large.

    The error is that of the differences between the blocks, so anatomy and noise both count. A median that is not
    above ``ERRORS`` of it is 0; others shrink by the positive-part rule of James and Stein. One value stands for all
    where the arc is the whole ring. Half of the blocks that lie inside the slice must be known.
    """
    rest = take_median_away(blocks.astype(np.float32), polar)
    inside = np.isfinite(windows_of(rest, arc)).sum(2)
    rest[np.abs(rest) > limit] = np.nan
    parts = np.sort(windows_of(rest, arc), axis=2)
    known = np.isfinite(parts).sum(2)
    middle = middle_of(parts, known)
    spread = middle_of(np.sort(np.abs(parts - middle[..., None]), axis=2), known) * 1.4826
    independent = np.clip(polar.radii[:, None] * (np.pi * arc / BLOCKS), 1, np.maximum(known, 1))
    error = ERRORS * 1.2533 * spread / np.sqrt(independent)
    weight = np.maximum(0, 1 - error**2 / np.maximum(middle**2, 1e-12))
    return np.where(known >= np.maximum(3, inside // 2), np.nan_to_num(middle * weight), 0)


def windows_of(blocks: Values, arc: int) -> Values:
    """Give the blocks of an arc around each, (radii, blocks, arc); of the whole ring (radii, 1, blocks)."""
    if arc >= BLOCKS:
        return blocks[:, None]
    return sliding_window_view(np.pad(blocks, ((0, 0), (arc // 2, arc // 2)), mode="wrap"), arc, axis=1)


def middle_of(ordered: Array | Values, known: NDArray[np.intp]) -> Array:
    """Give the median along the last axis of what is known there, which stands first; NaN where nothing is."""
    low, high = np.maximum(known - 1, 0) // 2, known // 2
    high = np.minimum(high, np.maximum(known - 1, 0))
    pair = np.take_along_axis(ordered, np.stack([low, high], -1), axis=-1)
    middle: Array = pair.mean(-1, dtype=np.float64)
    return middle


def find_centre(slices: Values, polar: Polar, limit: float) -> Polar:
    """Look for the centre whose rings have the most energy, from the given one in ever smaller steps."""
    chosen = slices[np.unique(np.linspace(0, len(slices) - 1, SEARCHED_SLICES).astype(int))]

    def energy(at: tuple[float, ...]) -> float:
        one = replace(polar, centre=at)
        return sum(float((ring_energy(to_polar(values, one), one, limit)).sum()) for values in chosen)

    best, most = polar.centre, energy(polar.centre)
    step = max(1.0, min(polar.shape) / 16)
    while step >= 0.25:
        beside = [(best[0] + dx * step, best[1] + dy * step) for dx, dy in product((-1, 0, 1), repeat=2) if dx or dy]
        found = [energy(at) for at in beside]
        if max(found) > most:
            best, most = beside[int(np.argmax(found))], max(found)
        else:
            step /= 2
    return replace(polar, centre=best)


def ring_energy(sampled: Values, polar: Polar, limit: float) -> Array:
    """Give the energy of whole rings by radius."""
    rings = agreed(average(sampled, BLOCKS), polar, limit, BLOCKS)
    energy: Array = rings[:, 0] ** 2 * polar.radii
    return energy
