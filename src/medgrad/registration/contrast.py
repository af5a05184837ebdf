"""Match the contrast of two aligned images by an intensity mapping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .image_pyramid import GreyImage, coarser_grid, make_pair_batch

INTENSITY_LEVELS = 32
MAX_ELEMENTS = {2: 10_000, 3: 8_000}


def match_contrast(fixed: GreyImage, moving: GreyImage, matrix: NDArray[np.float64]) -> tuple[GreyImage, GreyImage]:
    """Map the intensities of one image to the contrast of the other: the one that the other explains better.

    A curve that maps two intensities to one cannot be undone, so the correlation ratio is computed both ways
    (Roche and others 1998).
    """
    batch = make_pair_batch(fixed, moving, coarser_grid(fixed.grid, MAX_ELEMENTS[fixed.grid.dims]), [matrix])
    known = batch.target["weight"][0] > 0
    still, seen = (batch.target[k][0][known].double() for k in ("fixed", "moving"))
    of_fixed, by_moving = fit_intensity_curve(seen, still)
    of_moving, by_fixed = fit_intensity_curve(still, seen)
    if of_fixed >= of_moving:
        return fixed, map_intensities(moving, by_moving)
    return map_intensities(fixed, by_fixed), moving


def fit_intensity_curve(source: Tensor, target: Tensor) -> tuple[float, NDArray[np.float64]]:
    """Fit the mean of the target at each source intensity; give the correlation ratio and the curve."""
    at = (source * (INTENSITY_LEVELS - 1)).round().long().clamp(0, INTENSITY_LEVELS - 1)
    counts = torch.bincount(at, minlength=INTENSITY_LEVELS)
    means = torch.bincount(at, target, minlength=INTENSITY_LEVELS) / counts.clamp_min(1)
    left = (target - means[at]).square().mean() / target.var().clamp_min(1e-9)
    there = counts.numpy() > 0
    levels = np.arange(INTENSITY_LEVELS)
    return float(1 - left), np.interp(levels, levels[there], means.numpy()[there])


def map_intensities(image: GreyImage, means: NDArray[np.float64]) -> GreyImage:
    """Replace each intensity by its mean on a curve."""
    array = np.interp(image.array, np.linspace(0, 1, INTENSITY_LEVELS), means).astype(np.float32)
    return replace(image, array=array)
