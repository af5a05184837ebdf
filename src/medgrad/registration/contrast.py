"""Match the contrast of two aligned images by an intensity mapping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .image_pyramid import GreyImage, coarser, scene

LEVELS = 32
ELEMENTS = {2: 10_000, 3: 8_000}


def in_one_contrast(fixed: GreyImage, moving: GreyImage, matrix: NDArray[np.float64]) -> tuple[GreyImage, GreyImage]:
    """Map the intensities of one image to the contrast of the other: the one that the other explains better.

    A curve that maps two intensities to one cannot be undone, so the correlation ratio is computed both ways
    (Roche and others 1998).
    """
    batch = scene(fixed, moving, coarser(fixed.grid, ELEMENTS[fixed.grid.dims]), [matrix])
    known = batch.target["weight"][0] > 0
    still, seen = (batch.target[k][0][known].double() for k in ("fixed", "moving"))
    of_fixed, by_moving = curve(seen, still)
    of_moving, by_fixed = curve(still, seen)
    if of_fixed >= of_moving:
        return fixed, redrawn(moving, by_moving)
    return redrawn(fixed, by_fixed), moving


def curve(given: Tensor, wanted: Tensor) -> tuple[float, NDArray[np.float64]]:
    """Fit the mean of the target at each source intensity; give the correlation ratio and the curve."""
    at = (given * (LEVELS - 1)).round().long().clamp(0, LEVELS - 1)
    counts = torch.bincount(at, minlength=LEVELS)
    means = torch.bincount(at, wanted, minlength=LEVELS) / counts.clamp_min(1)
    left = (wanted - means[at]).square().mean() / wanted.var().clamp_min(1e-9)
    there = counts.numpy() > 0
    levels = np.arange(LEVELS)
    return float(1 - left), np.interp(levels, levels[there], means.numpy()[there])


def redrawn(picture: GreyImage, means: NDArray[np.float64]) -> GreyImage:
    """Replace each intensity by its mean on a curve."""
    array = np.interp(picture.array, np.linspace(0, 1, LEVELS), means).astype(np.float32)
    return replace(picture, array=array)
