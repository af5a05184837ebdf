"""The bias field of magnitude images by N4: a histogram is sharpened, and what that changes is fitted smoothly.

Tustison et al. 2010 (N4ITK), after Sled et al. 1998 (N3). N4 fits the differences by multilevel B-spline approximation,
from few control points to many. Here they are fitted by least squares with a penalty on bending, at one level: what is
smooth and large is found at once, and anatomy is taken for a field less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..errors import SettingError
from ._smooth_spline import Doubles, SmoothSpline, band_rows, count_pieces, cubic_basis, evaluate, multiply_axes

Mask = NDArray[np.bool_]

STIFFNESS = 0.3
"""Weight of the squared second differences of the control points, over the mean weight of one."""
WIENER_NOISE = 0.01
BINS_PER_FWHM = 12
MIN_SHARE = 1e-3
"""Values below this share of the mean do not count: their logarithm is of noise alone."""
RELAXATION = 1.5
"""Each difference is taken so many times, which comes to the same end in fewer steps."""
CONVERGED = 1e-4
"""The field is found when its logarithm moves less than this, as a standard deviation."""
BLOCKS = 1 << 17
"""Elements are averaged in blocks until about so many are left."""
MIN_BLOCKS_PER_PIECE = 8
MOST_NUMBERS = 1 << 25
"""So many numbers the system of equations may have: 256 MB."""
MIN_RANGE = 1e-6
HISTOGRAM_BINS = 256


@dataclass(frozen=True, eq=False)
class BiasField:
    """A smooth positive factor: the control points of its logarithm, bounded to what was found where values counted."""

    control: Doubles
    low: float = 0.0
    high: float = 0.0
    offset: float = 0.0
    log_deviation: float = 0.0
    steps: int = 0

    def factor(self, shape: Sequence[int], spacing: Sequence[float]) -> NDArray[np.float32]:
        """Give the factor on the grid that it was found on."""
        if not self.control.any():
            return np.full(shape, np.exp(self.offset), np.float32)
        bases = bases_of(self.control.shape, shape, spacing, [n * size for n, size in zip(shape, spacing, strict=True)])
        field = evaluate(self.control.astype(np.float32), [basis.astype(np.float32) for basis in bases])
        np.clip(field, self.low, self.high, out=field)
        field += np.float32(self.offset)
        found: NDArray[np.float32] = np.exp(field, out=field)
        return found


def bases_of(
    control: Sequence[int], shape: Sequence[int], spacing: Sequence[float], extent: Sequence[float]
) -> list[Doubles]:
    """Give the basis along each axis of a grid."""
    return [
        cubic_basis(n, size, m - 3, whole) for n, size, m, whole in zip(shape, spacing, control, extent, strict=True)
    ]


def otsu_foreground(values: NDArray[Any], known: Mask) -> Mask:
    """Tell what is above Otsu's threshold (1979), among what is known; all that is, where it has one value."""
    counted = values[known]
    if not counted.size or counted.min() == counted.max():
        return known
    counts, edges = np.histogram(counted, HISTOGRAM_BINS)
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = below[-1] + counts[-1] - below
    sums = np.cumsum(counts * np.arange(HISTOGRAM_BINS, dtype=np.float64))
    between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    found: Mask = known & (values > edges[1 + int(np.argmax(between))])
    return found


def estimate_field(
    values: NDArray[Any], counted: Mask, spacing: Sequence[float], *, knots: float, fwhm: float, iterations: int
) -> BiasField:
    """Find the field of positive values where they are counted; ``knots`` is the spacing of control points in mm.

    The factor is such that the mean of what is counted stays.
    """
    extent = [n * size for n, size in zip(values.shape, spacing, strict=True)]
    shape = [min(count_pieces(whole, knots), max(1, n // 2)) + 3 for n, whole in zip(values.shape, extent, strict=True)]
    check_size(shape, knots)
    if not counted.any():
        return BiasField(np.zeros(shape))
    mean = float(np.mean(values, where=counted, dtype=np.float64))
    counted = counted & (values > MIN_SHARE * mean)
    edges = block_edges(values.shape, spacing, shape)
    means, weights = average_blocks(values / mean, counted, edges)
    sizes = [size * edge for size, edge in zip(spacing, edges, strict=True)]
    return sharpen_and_fit(
        means, weights, bases_of(shape, means.shape, sizes, extent), fwhm=fwhm, iterations=iterations
    )


def check_size(shape: Sequence[int], knots: float) -> None:
    """Raise if there are so many control points that their equations take too much memory."""
    numbers = band_rows(shape) * math.prod(shape)
    if numbers > MOST_NUMBERS:
        enough = math.ceil(knots * (numbers / MOST_NUMBERS) ** 0.25)
        raise SettingError(
            f"'spacing_mm' of debias is {knots:g}, which makes {math.prod(shape)} control points in this image, more "
            f"than can be solved for. Say a larger one, such as {enough}."
        )


def block_edges(shape: Sequence[int], spacing: Sequence[float], control: Sequence[int]) -> list[int]:
    """Give how many elements a block has along each axis: about as long along all of them, and many a piece."""
    extent = [n * size for n, size in zip(shape, spacing, strict=True)]
    edge = (math.prod(extent) / BLOCKS) ** (1 / len(shape))
    longest = [whole / (m - 3) / MIN_BLOCKS_PER_PIECE for whole, m in zip(extent, control, strict=True)]
    return [
        max(1, min(n, int(min(edge, most) / size + 0.5))) for n, size, most in zip(shape, spacing, longest, strict=True)
    ]


def average_blocks(values: NDArray[Any], counted: Mask, edges: Sequence[int]) -> tuple[Doubles, Doubles]:
    """Give the mean of what is counted in each block, 1 where nothing is, and the share that is."""
    owners = [
        np.arange(n)[:, None] // edge == np.arange(-(-n // edge)) for n, edge in zip(values.shape, edges, strict=True)
    ]
    adders = [owner.astype(np.float32) for owner in owners]
    sums = multiply_axes(np.where(counted, values, 0).astype(np.float32), adders)
    counts = multiply_axes(counted.astype(np.float32), adders)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), 1).astype(np.float64)
    return means, counts.astype(np.float64) / math.prod(edges)


def sharpen_and_fit(
    means: Doubles, weights: Doubles, bases: Sequence[Doubles], *, fwhm: float, iterations: int
) -> BiasField:
    """Sharpen the histogram of the logarithm less the field and fit what that takes away, until the field stays."""
    is_counted = weights > 0
    logs, share = np.log(means[is_counted]), weights[is_counted]
    control, field, steps = np.zeros([basis.shape[1] for basis in bases]), np.zeros_like(logs), 0
    if np.ptp(logs) < MIN_RANGE:
        return BiasField(control)
    spline, difference = SmoothSpline(bases, weights, STIFFNESS), np.zeros_like(means)
    while steps < iterations:
        steps += 1
        flat = logs - field
        difference[is_counted] = flat - expected_values(flat, share, fwhm)
        step = RELAXATION * spline.fit(difference)
        control += step
        moved = evaluate(step, bases)[is_counted]
        field += moved
        if deviation(moved, share) < CONVERGED:
            break
    values = np.exp(logs)
    offset = math.log(float(share @ (values / np.exp(field))) / float(share @ values))
    return BiasField(control, float(field.min()), float(field.max()), offset, deviation(field, share), steps)


def deviation(values: Doubles, weights: Doubles) -> float:
    """Give the weighted standard deviation."""
    mean = float(weights @ values) / float(weights.sum())
    return math.sqrt(float(weights @ (values - mean) ** 2) / float(weights.sum()))


def expected_values(logs: Doubles, weights: Doubles, fwhm: float) -> Doubles:
    """Give the expected logarithm without a field of each logarithm with one, by deconvolving their histogram.

    The field is taken to be distributed as a Gaussian of this full width at half of its height (Sled et al. 1998).
    """
    low, width = float(logs.min()), fwhm / BINS_PER_FWHM
    at = (logs - low) / width
    lower = at.astype(np.intp)
    rest = at - lower
    bins = int(lower.max()) + 2
    counts = np.bincount(lower, weights * (1 - rest), bins) + np.bincount(lower + 1, weights * rest, bins)
    margin = 2 * BINS_PER_FWHM
    padded = fft.next_fast_len(bins + 2 * margin, real=True)
    frequencies = fft.rfftfreq(padded)
    gaussian = np.exp(-2 * (np.pi * frequencies * BINS_PER_FWHM) ** 2 / (8 * math.log(2)))
    whole = np.zeros(padded)
    whole[margin : margin + bins] = counts
    sharp = fft.irfft(fft.rfft(whole) * gaussian / (gaussian**2 + WIENER_NOISE), padded)
    sharp = np.maximum(sharp, 0)
    places = low + width * (np.arange(padded) - margin)
    above, below = (fft.irfft(fft.rfft(part) * gaussian, padded) for part in (sharp * places, sharp))
    is_known = below > 1e-9 * below.max()
    expected = np.where(is_known, above / np.where(is_known, below, 1), places)
    expected = expected[margin : margin + bins]
    found: Doubles = expected[lower] * (1 - rest) + expected[lower + 1] * rest
    return found
