"""Classic denoisers of an image whose noise has deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ._image_step import Values
from ._nonlocal_means import average_neighbours, in_blocks

GAUSSIAN_WIDTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)
"""Deviations of the kernel to choose from, in the smallest spacing."""
RANGE = 2.5
"""Deviation of bilateral weights by the difference of values, in deviations of the noise."""
CONTRAST = 0.7
"""Differences that diffusion keeps, in deviations of the noise."""
EDGE_WIDTH = 0.6
"""Deviation of the Gaussian before edges are looked for, in the smallest spacing."""
DIFFUSION_STEPS = 5
TV_WEIGHT = 0.5
TV_STEPS = 40
WAVELET_LEVELS = 3


def gaussian(values: Values, spacing: Sequence[float]) -> Values:
    """Smooth by the Gaussian of the least expected error, by Stein's estimate (SURE)."""
    best, least = values, 1.0
    for width in GAUSSIAN_WIDTHS:
        sigmas = [width * min(spacing) / s for s in spacing]
        smooth = ndimage.gaussian_filter(values, sigmas, mode="nearest")
        error = float(np.mean((smooth - values) ** 2, dtype=np.float64)) - 1 + 2 * centre_of_kernel(sigmas)
        if error < least:
            best, least = smooth, error
    return best


def centre_of_kernel(sigmas: Sequence[float]) -> float:
    """Give the weight of the element itself in a Gaussian filter."""
    impulse = np.zeros(65)
    impulse[32] = 1
    return float(np.prod([ndimage.gaussian_filter1d(impulse, s)[32] for s in sigmas]))


def median(values: Values, spacing: Sequence[float]) -> Values:
    """Give the median of the elements around, 3 along each axis, or 1 along an axis of slices twice as thick."""
    return ndimage.median_filter(values, [1 if s > 2 * min(spacing) else 3 for s in spacing], mode="nearest")


def bilateral(values: Values, spacing: Sequence[float]) -> Values:
    """Average the elements around by nearness in place and in value (Tomasi and Manduchi 1998)."""
    steps = [s / min(spacing) for s in spacing]
    radius = [min(max(1, round(2 / s)), n - 1) for s, n in zip(steps, values.shape, strict=True)]

    def change(block: Values) -> Values:
        def weigh(here: tuple[slice, ...], there: tuple[slice, ...], shift: tuple[int, ...]) -> Values:
            far = sum((i * s) ** 2 for i, s in zip(shift, steps, strict=True)) / 2
            difference = block[here] - block[there]
            return np.exp(np.float32(-far / 1.5**2) - difference**2 * np.float32(1 / (2 * RANGE**2)))

        return average_neighbours(block, radius, weigh)

    return in_blocks(change, values, radius)


def diffusion(values: Values, spacing: Sequence[float]) -> Values:
    """Diffuse for some steps, less across edges (Perona and Malik 1990). The mean of the image stays.

    Edges are looked for in a smoothed copy (Catte et al. 1992).
    """
    steps = np.array([min(spacing) / s for s in spacing], np.float32)
    pace = np.float32(0.9 / (2 * float((steps**2).sum())))
    found = values
    for _ in range(DIFFUSION_STEPS):
        smooth = ndimage.gaussian_filter(found, EDGE_WIDTH * steps, mode="nearest")
        change = np.zeros_like(found)
        for axis, step in enumerate(steps):
            edges = np.diff(smooth, axis=axis) * (step / np.float32(CONTRAST))
            flow = np.diff(found, axis=axis) * step**2 / (1 + edges**2)
            change += backward_difference(flow, axis)
        found = found + pace * change
    return found


def backward_difference(flow: Values, axis: int) -> Values:
    """Give what flows into each element less what flows out, with nothing across the edges of the image."""
    ends = [(1, 1) if a == axis else (0, 0) for a in range(flow.ndim)]
    difference: Values = np.diff(np.pad(flow, ends), axis=axis)
    return difference


def total_variation(values: Values, spacing: Sequence[float]) -> Values:
    """Minimise squared error plus total variation, by the fast dual projection of Beck and Teboulle (2009)."""
    steps = np.array([min(spacing) / s for s in spacing], np.float32)
    rate = np.float32(1 / (4 * float((steps**2).sum()) * TV_WEIGHT))
    dual = [np.zeros_like(np.diff(values, axis=axis)) for axis in range(values.ndim)]
    ahead, momentum = [d.copy() for d in dual], 1.0

    def primal(field: list[Values]) -> Values:
        found = values.copy()
        for axis, (part, step) in enumerate(zip(field, steps, strict=True)):
            found += np.float32(TV_WEIGHT) * step * backward_difference(part, axis)
        return found

    for _ in range(TV_STEPS):
        found = primal(ahead)
        moved = [ahead[i] + (rate * step) * np.diff(found, axis=i).astype(np.float32) for i, step in enumerate(steps)]
        length = np.zeros_like(values)
        for axis, part in enumerate(moved):
            length[cut_last(axis)] += part**2
        length = np.maximum(np.sqrt(length), 1)
        moved = [part / length[cut_last(axis)] for axis, part in enumerate(moved)]
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        pull = np.float32((momentum - 1) / following)
        ahead = [new + pull * (new - old) for new, old in zip(moved, dual, strict=True)]
        dual, momentum = moved, following
    return primal(dual)


def cut_last(axis: int) -> tuple[slice, ...]:
    """Give the index of all but the last elements along an axis."""
    return (*(slice(None),) * axis, slice(None, -1))


def wavelet(values: Values, spacing: Sequence[float]) -> Values:
    """Shrink the coefficients of an undecimated Haar transform, by the threshold of BayesShrink in every band."""
    thick = [s > 4 * min(spacing) for s in spacing]
    levels = [
        min(int(np.log2(n)), 1 if is_thick else WAVELET_LEVELS) for n, is_thick in zip(values.shape, thick, strict=True)
    ]
    margin = [2**level for level in levels]
    padded = np.pad(values, [(m, m) for m in margin], mode="symmetric")
    return shrink_bands(padded, levels, 0, 1.0)[tuple(slice(m, -m) for m in margin)]


def shrink_bands(values: Values, levels: Sequence[int], level: int, sigma: float) -> Values:
    """Split into bands along each axis that has this level, shrink all but the smoothest, and join them again."""
    axes = [axis for axis, most in enumerate(levels) if level < most]
    if not axes:
        return values
    shift, inner = 2**level, sigma * 0.5 ** (len(axes) / 2)
    bands = [values]
    for axis in axes:
        split = [split_band(band, shift, axis) for band in bands]
        bands = [low for low, _ in split] + [high for _, high in split]
    bands = [shrink_bands(bands[0], levels, level + 1, inner), *[soft_threshold(band, inner) for band in bands[1:]]]
    for axis in reversed(axes):
        half = len(bands) // 2
        bands = [join_bands(*pair, shift, axis) for pair in zip(bands[:half], bands[half:], strict=True)]
    return bands[0]


def split_band(values: Values, shift: int, axis: int) -> tuple[Values, Values]:
    """Give half the sum and half the difference of each element and the one that is ``shift`` before it."""
    half = values * np.float32(0.5)
    other = np.roll(half, shift, axis)
    return half + other, half - other


def join_bands(low: Values, high: Values, shift: int, axis: int) -> Values:
    """Undo ``split_band``: the average of both ways to get each element back.

    >>> values = np.float32([1, 5, 2, 7])
    >>> join_bands(*split_band(values, 1, 0), 1, 0).tolist()
    [1.0, 5.0, 2.0, 7.0]
    """
    return (low + high + np.roll(low - high, -shift, axis)) * np.float32(0.5)


def soft_threshold(band: Values, sigma: float) -> Values:
    """Soft threshold by the noise's variance over the signal's deviation (Chang, Yu and Vetterli 2000)."""
    signal = float(np.mean(band**2, dtype=np.float64)) - sigma**2
    if signal <= 0:
        return np.zeros_like(band)
    threshold = np.float32(sigma**2 / np.sqrt(signal))
    return np.sign(band) * np.maximum(np.abs(band) - threshold, 0)
