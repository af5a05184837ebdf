"""Noise of an image: its estimate, and transforms after which it is Gaussian with a deviation of 1 everywhere."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from ._image_step import Values

Noise = Literal["gaussian", "rician", "poisson"]
NOISES: tuple[Noise, ...] = ("gaussian", "rician", "poisson")
Doubles = NDArray[np.float64]

SHARPEST_AXES = 3
FLATTEST = 0.5
"""The share of the elements, those of the least slope, on which the noise is estimated."""
MAD_OF_GAUSSIAN = 0.6744897501960817
TRUNCATION = 2.5
"""Residuals beyond so many deviations are edges, not noise."""


def estimate_sigma(values: Values, noise: Noise = "gaussian") -> float:
    """Estimate the deviation of white noise from second differences along every axis, which structure hardly has.

    The median absolute deviation, refined by a truncated deviation; a background of one value does not count. Under
    Rician noise it is that of the two parts of the complex signal, found as a fixed point (Koay and Basser 2006);
    under Poisson noise it is that of a value of 1, so 1 for counts. 0 where there is no noise. Noise that is correlated
    between neighbours is underestimated.

    >>> noise = np.random.default_rng(0).normal(0, 5, (40, 40)).astype(np.float32)
    >>> round(estimate_sigma(noise + np.arange(40, dtype=np.float32)))
    5
    """
    axes = [axis for axis, size in enumerate(values.shape) if size >= 3][-SHARPEST_AXES:]
    if not axes:
        return 0.0
    inner = tuple(slice(1, -1) if axis in axes else slice(None) for axis in range(values.ndim))
    residual = values
    for axis in axes:
        residual = second_difference(residual, axis)
    residual = residual / np.float32(6 ** (len(axes) / 2))
    counted = ~is_background(values, axes)[inner]
    smooth = ndimage.uniform_filter(values, [3 if axis in axes else 1 for axis in range(values.ndim)], mode="nearest")
    if noise == "poisson":  # few counts are no Gaussian
        counted &= smooth[inner] > values.mean()
    slope = np.sum([np.abs(central_difference(smooth, axis))[inner] for axis in axes], axis=0)
    if not counted.any():
        return 0.0
    counted &= slope <= np.quantile(slope[counted], FLATTEST)
    residual = residual[counted]
    if noise == "gaussian":
        return truncated_deviation(residual)
    if noise == "poisson":
        return truncated_deviation(residual / np.sqrt(smooth[inner][counted]))
    width = 5 if len(axes) == SHARPEST_AXES else 7
    mean = ndimage.uniform_filter(values, [width if axis in axes else 1 for axis in range(values.ndim)], mode="nearest")
    mean = np.minimum(mean, smooth)[inner][counted]  # near an edge the smaller one is nearer to the truth
    return rician_fixed_point(residual, mean, averaged=width ** len(axes))


def rician_fixed_point(residual: Values, mean: Values, *, averaged: int) -> float:
    """Find the sigma at which residuals, each divided by the deviation that its mean lets expect, have deviation 1.

    A mean of so many elements that is not clearly above that of no signal counts as that of no signal.
    """
    table = rician_table()
    clear = table.means[0] + 2 * table.deviations[0] / np.sqrt(averaged)
    sigma = truncated_deviation(residual)
    for _ in range(50):
        if sigma <= 0:
            return 0.0
        level = mean / np.float32(sigma)
        expected = np.interp(np.where(level < clear, 0, level), table.means, table.deviations)
        before, sigma = sigma, truncated_deviation((residual / expected).astype(np.float32))
        if abs(sigma - before) < 1e-4 * before:
            break
    return sigma


def second_difference(values: Values, axis: int) -> Values:
    """Give each element twice less its two neighbours along an axis; two elements shorter."""
    size = values.shape[axis]
    left, middle, right = (np.take(values, range(i, size - 2 + i), axis) for i in range(3))
    return 2 * middle - left - right


def central_difference(values: Values, axis: int) -> Values:
    """Give the element after less the one before along an axis, in the same shape."""
    return ndimage.correlate1d(values, [-1, 0, 1], axis, mode="nearest")


def is_background(values: Values, axes: list[int]) -> NDArray[np.bool_]:
    """Tell where an element and all its neighbours have the lowest value of the image."""
    reach = np.ones([3 if axis in axes else 1 for axis in range(values.ndim)], bool)
    return ndimage.binary_erosion(values == values.min(), reach, border_value=1)


def truncated_deviation(residual: Values) -> float:
    """Give the deviation of a Gaussian, whatever edges are among its draws."""
    size = np.abs(residual)
    sigma = float(np.median(size)) / MAD_OF_GAUSSIAN
    limit = TRUNCATION
    density = np.exp(-(limit**2) / 2) / np.sqrt(2 * np.pi)
    share = 1 - 2 * limit * density / (2 * special.ndtr(limit) - 1)
    for _ in range(4):
        within = size[size <= limit * sigma]
        if not within.size or sigma == 0:
            break
        sigma = float(np.sqrt(np.mean(within.astype(np.float64) ** 2) / share))
    return sigma


class RicianTable(NamedTuple):
    """Rician noise of sigma 1 by the signal: mean, deviation, the stabilised mean and what it is on average."""

    signals: Doubles
    means: Doubles
    deviations: Doubles
    stabilised: Doubles
    averages: Doubles


@cache
def rician_table() -> RicianTable:
    """Tabulate Rician noise, and the transform whose derivative is one over the deviation (Foi 2011)."""
    signals = np.concatenate([np.linspace(0, 6, 601), np.linspace(6.05, 60, 1080)])
    means = rician_mean(signals)
    deviations = np.sqrt(2 + signals**2 - means**2)
    slopes = [(a + b) / 2 for a, b in pairwise(1 / deviations)]
    stabilised = np.concatenate([[0.0], np.cumsum(np.diff(means) * slopes)])
    table = RicianTable(signals, means, deviations, stabilised, stabilised)
    drawn = np.maximum(signals[:, None] + np.linspace(-8, 8, 401), 0)
    density = drawn * np.exp(-((drawn - signals[:, None]) ** 2) / 2) * special.ive(0, drawn * signals[:, None])
    averages = (density * stabilise_rician(drawn, table)).sum(1) / density.sum(1)
    return table._replace(averages=np.maximum.accumulate(averages))


def rician_mean(signals: Doubles) -> Doubles:
    """Give the mean of Rician noise of sigma 1, by Bessel functions."""
    half = signals**2 / 4
    return np.sqrt(np.pi / 2) * ((1 + 2 * half) * special.ive(0, half) + 2 * half * special.ive(1, half))


def stabilise_rician(values: Doubles, table: RicianTable) -> Doubles:
    """Stabilise magnitudes in units of sigma; straight on below and above the table."""
    below = table.stabilised[0] + (values - table.means[0]) / table.deviations[0]
    above = table.stabilised[-1] + values - table.means[-1]
    inside = np.interp(values, table.means, table.stabilised)
    return np.where(values < table.means[0], below, np.where(values > table.means[-1], above, inside))


def stabilise(values: Values, noise: Noise, sigma: float) -> Values:
    """Transform values so that their noise has deviation 1."""
    if noise == "gaussian":
        return values / np.float32(sigma)
    if noise == "poisson":
        return 2 * np.sqrt(np.maximum(values / np.float32(sigma**2), 0) + np.float32(0.375))  # Anscombe 1948
    return stabilise_rician(np.maximum(values / sigma, 0), rician_table()).astype(np.float32)


def restore_signal(stabilised: Values, noise: Noise, sigma: float) -> Values:
    """Give the signal whose noisy values, stabilised, have this average: the exact unbiased inverse.

    That of Rician noise takes the bias from the signal too (Foi 2011); that of Poisson noise is Makitalo and Foi's
    closed form (2011).
    """
    if noise == "gaussian":
        return stabilised * np.float32(sigma)
    if noise == "poisson":
        d = np.maximum(stabilised, np.float32(2 * np.sqrt(0.375))).astype(np.float64)
        signal = d**2 / 4 + np.sqrt(1.5) / 4 / d - 11 / 8 / d**2 + 5 * np.sqrt(1.5) / 8 / d**3 - 1 / 8
        return (np.maximum(signal, 0) * sigma**2).astype(np.float32)
    table = rician_table()
    inside = np.interp(stabilised, table.averages, table.signals)
    above = table.signals[-1] + stabilised - table.averages[-1]
    return (sigma * np.where(stabilised > table.averages[-1], above, inside)).astype(np.float32)
