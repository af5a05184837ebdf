"""What an answered image differs by: its power by frequency, and means and deviations by region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Numbers = NDArray[np.float64]
BANDS = 16
"""The frequencies, from 0 to half a cycle an element, fall into so many bands."""
SMOOTHING = 1.5
"""Regions are told by values smoothed by a Gaussian of so many elements."""
REGIONS = ("dark", "middle", "bright")


def power_by_frequency(values: Numbers) -> Numbers:
    """Give the mean power (BANDS,) in bands of frequency, of an image, its mean left out; nan in a band without any.

    The power of white noise is its variance in every band.

    >>> noise = np.random.default_rng(0).normal(0, 2, (64, 64))
    >>> bool(np.all(abs(power_by_frequency(noise)[2:] - 4) < 1.5))
    True
    """
    power = np.abs(np.fft.fftn(values)) ** 2 / values.size
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in values.shape), indexing="ij")
    frequency = np.sqrt(np.sum(np.square(axes), axis=0))
    band = np.floor(frequency * 2 * BANDS).astype(int)
    kept = (band < BANDS) & (frequency > 0)
    counts = np.bincount(band[kept], minlength=BANDS)
    sums = np.bincount(band[kept], power[kept], minlength=BANDS)
    return np.divide(sums, counts, out=np.full(BANDS, np.nan), where=counts > 0)


def mean_power(images: Sequence[Numbers], scales: Sequence[float]) -> list[float | None]:
    """Give the mean power of images by frequency, each as a share of the square of its scale; None in an empty band."""
    found = [power_by_frequency(image) / max(scale, 1e-12) ** 2 for image, scale in zip(images, scales, strict=True)]
    counted = [[v for v in band if np.isfinite(v)] for band in np.transpose(found)]
    return [float(np.mean(band)) if band else None for band in counted]


def flat_regions(truth: Numbers) -> dict[str, NDArray[np.bool_]]:
    """Give where an image is flat (half of it), parted into thirds by how bright it is.

    >>> ramp = np.linspace(0, 90, 90)[:, None].repeat(30, 1)
    >>> dark, middle, bright = (ramp[region].mean() for region in flat_regions(ramp).values())
    >>> bool(dark < middle < bright)
    True
    """
    smooth = ndimage.gaussian_filter(truth, SMOOTHING, mode="nearest")
    slope = np.sqrt(np.sum([np.gradient(smooth, axis=a) ** 2 for a in range(truth.ndim) if truth.shape[a] > 1], axis=0))
    is_flat = slope <= np.median(slope)
    low, high = np.quantile(smooth[is_flat], (1 / 3, 2 / 3))
    parts = (smooth < low, (smooth >= low) & (smooth <= high), smooth > high)
    return {name: is_flat & part for name, part in zip(REGIONS, parts, strict=True)}


def region_figures(truth: Numbers, images: Mapping[str, Numbers]) -> dict[str, dict[str, float]]:
    """Give the mean of the truth in each flat region, and of each image its mean and its deviation from the truth.

    The deviation is the standard deviation of the difference: noise, and what was changed.
    """
    found = {}
    for name, inside in flat_regions(truth).items():
        if inside.any():
            figures = {"truth": float(truth[inside].mean())}
            for whose, image in images.items():
                figures |= {whose: float(image[inside].mean()), f"{whose} noise": float((image - truth)[inside].std())}
            found[name] = figures
    return found
