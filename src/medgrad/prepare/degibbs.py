"""Gibbs ringing taken away by local subvoxel shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from ..errors import SettingError
from ._image_step import Chosen, ImageStep, Values

SHIFTS = 20
"""So many shifts are tried to each side, up to half an element."""
FIRST, WINDOW = 1, 3
"""The variation is that of so many differences, beginning with that of the nearest two neighbours."""
LEAST_FALL = 0.65
"""An element moves where its variation falls to less than this share: that of noise alone falls less."""
THICK = 1.5
"""An axis whose spacing is above so many times the least is that of slices, along which nothing rings."""
LEAST_ELEMENTS = 2 * WINDOW + 4
"""A shorter axis has no room for a variation on both sides."""
BLOCK_ELEMENTS = 1 << 17


@dataclass(frozen=True)
class Degibbs(ImageStep):
    """Resample each element where the sinc of sharp edges crosses zero, and interpolate back: no ringing is left.

    Every line is shifted by up to half an element to each side; an element takes the shift of the least variation
    to its left or right. ``axes`` are those along which it rings, by default all whose spacing is at most 1.5 times
    the least, which leaves out thick slices. ``zero_filled`` is how many times more elements an axis has than were
    acquired: 2 where the scanner has doubled the matrix.

    Kellner et al., MRM 2016; of three axes each takes its share of the frequencies (Bautista et al., ISMRM 2021).
    """

    axes: tuple[int, ...] = ()
    zero_filled: int = 1

    def __post_init__(self) -> None:
        if not all(type(a) is int and -3 <= a < 3 for a in self.axes):
            raise SettingError(
                f"'axes' of degibbs are numbers from -3 to 2, such as 0,1, but they are {list(self.axes)}."
            )
        if type(self.zero_filled) is not int or not 1 <= self.zero_filled <= 8:
            raise SettingError(
                f"'zero_filled' of degibbs is a whole number from 1 to 8, but it is {self.zero_filled!r}."
            )

    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        wanted = self.axes or thin_axes(spacing)
        if any(not -values.ndim <= a < values.ndim for a in wanted):
            raise SettingError(
                f"'axes' of degibbs are {list(wanted)}, but the image has {values.ndim} axes. Name other axes."
            )
        long = [
            a for a in sorted({a % values.ndim for a in wanted}) if values.shape[a] >= LEAST_ELEMENTS * self.zero_filled
        ]
        found: Chosen = {"along": ",".join(map(str, long))}
        return (remove_ringing(values, long, self.zero_filled) if long else values), found


def thin_axes(spacing: Sequence[float]) -> list[int]:
    """Give the axes that are not those of thick slices.

    >>> thin_axes((1.0, 1.0, 3.0)), thin_axes((1.0, 1.0, 1.2))
    ([0, 1], [0, 1, 2])
    """
    return [axis for axis, size in enumerate(spacing) if size <= THICK * min(spacing)]


def remove_ringing(values: Values, axes: Sequence[int], stride: int = 1) -> Values:
    """Split an image by the direction of its frequencies, and take the ringing of each part along its axis away.

    The image is mirrored at its edges, so that opposite ones do not meet.
    """
    spectrum = fft.dctn(values, axes=axes)
    changed = np.zeros_like(values)
    for axis, share in zip(axes, frequency_shares(values.shape, axes), strict=True):
        part: Values = fft.idctn(spectrum * share, axes=axes)
        changed += np.moveaxis(shift_lines(np.moveaxis(part, axis, -1), stride), -1, axis)
    return changed


def frequency_shares(shape: Sequence[int], axes: Sequence[int]) -> list[Values]:
    """Give the share of every frequency that belongs to each axis: all along it, none at the edge along another.

    Kellner et al. 2016, equation 3: the product of 1 + cos over the other axes. They add up to 1.
    """
    waves = []
    for axis in axes:
        wave = 1 + np.cos(np.pi * np.arange(shape[axis]) / shape[axis])
        waves.append(wave.reshape([-1 if a == axis else 1 for a in range(len(shape))]))
    inverse = [1 / wave for wave in waves]
    total = sum(inverse[1:], start=inverse[0])
    return [(each / total).astype(np.float32) for each in inverse]


def shift_lines(lines: Values, stride: int = 1) -> Values:
    """Shift every line of the last axis, element by element, to where its variation is least, and back linearly."""
    n = lines.shape[-1]
    flat = np.ascontiguousarray(lines).reshape(-1, n)
    step = max(1, BLOCK_ELEMENTS // n)
    changed = np.empty_like(flat)
    for at in range(0, len(flat), step):
        block = flat[at : at + step]
        changed[at : at + step] = shift_block(np.concatenate([block, block[:, ::-1]], axis=1), stride)[:, :n]
    return changed.reshape(lines.shape)


def shift_block(lines: Values, stride: int) -> Values:
    """Shift a block of (lines, elements), of which the last is a neighbour of the first."""
    spectrum, frequency = fft.rfft(lines), fft.rfftfreq(lines.shape[-1])
    chosen, least = lines.copy(), np.float32(LEAST_FALL) * least_variation(lines, stride)
    for shift in sorted(np.arange(-SHIFTS, SHIFTS + 1) / (2 * SHIFTS), key=abs)[1:]:
        phase = np.exp(2j * np.pi * stride * shift * frequency).astype(np.complex64)
        moved: Values = fft.irfft(spectrum * phase, lines.shape[-1])
        variation = least_variation(moved, stride)
        is_better = variation < least
        beside = np.roll(moved, stride if shift > 0 else -stride, -1)
        weight = np.float32(abs(shift))
        np.copyto(chosen, (1 - weight) * moved + weight * beside, where=is_better)
        np.copyto(least, variation, where=is_better)
    return chosen


def least_variation(lines: Values, stride: int) -> Values:
    """Give the total variation to the left or to the right of each element, the lesser.

    It is that from the nearest neighbour on: what lies between it and the element is the edge.
    """
    steps = np.abs(lines - np.roll(lines, -stride, -1))
    whole = steps + np.roll(steps, -stride, -1)
    for far in range(2, WINDOW):
        whole += np.roll(steps, -far * stride, -1)
    return np.minimum(np.roll(whole, (FIRST + WINDOW) * stride, -1), np.roll(whole, -FIRST * stride, -1))


THIS = Degibbs
