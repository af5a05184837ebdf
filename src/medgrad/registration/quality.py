"""Check whether two registered images belong together: shifting one must make them less alike."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from .. import registry
from .image_pyramid import GreyImage, coarser_grid, make_pair_batch

MAX_ELEMENTS = {2: 4_000, 3: 4_000}
SHIFTS = (-0.25, 0.0, 0.25)
"""In shares of the image's length along each axis."""
SIMILARITY = "mind"
MAX_RATIO = 0.95
"""The images as they were laid are at most so much as unlike as the best of the shifted ones."""


def shifted_error_ratio(fixed: GreyImage, moving: GreyImage, matrix: NDArray[np.float64]) -> float:
    """Give the dissimilarity as registered over the lowest dissimilarity of shifted images."""
    measure = registry.find("losses.similarity", SIMILARITY)()
    grid = coarser_grid(fixed.grid, MAX_ELEMENTS[fixed.grid.dims])
    target = make_pair_batch(fixed, moving, grid, [matrix]).target
    still, seen, weight = (
        measure.compute_descriptor(target["fixed"]),
        measure.compute_descriptor(target["moving"]),
        target["weight"],
    )
    laid, least = masked_mse(still, seen, weight), float("inf")
    for shares in product(SHIFTS, repeat=grid.dims):
        by = [round(s * n) for s, n in zip(shares, grid.shape, strict=True)]
        if any(by):
            here, there = overlap_slices(by, grid.shape), overlap_slices([-b for b in by], grid.shape)
            least = min(least, masked_mse(still[here], seen[there], weight[here] * weight[there]))
    return laid / max(least, 1e-12) if laid < float("inf") else 1.0


def masked_mse(fixed: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor) -> float:
    """Give the mean squared difference where both are known; infinite where that is less than a tenth."""
    whole = float(weight.sum())
    if whole < 0.1 * weight.numel():
        return float("inf")
    return float(((fixed - moving).square().mean(1, keepdim=True) * weight).sum() / whole)


def overlap_slices(shift: list[int], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Give the slices of an image that still overlap another after a shift."""
    return (slice(None), slice(None), *[slice(max(b, 0), s + min(b, 0)) for b, s in zip(shift, shape, strict=True)])
