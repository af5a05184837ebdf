"""Planted copies: images that hide which one they were made from, to test what searches for copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Numbers = NDArray[np.floating[Any]]


def plant_copy(
    image: Numbers,
    rng: np.random.Generator,
    *,
    noise: float = 0.25,
    gamma: float = 1.4,
    shift: float = 3,
    flips: bool = True,
) -> NDArray[np.float32]:
    """Make a copy of an image, flipped and shifted at random, with other intensities and Gaussian noise.

    ``noise`` is in standard deviations of the image. The exponent lies between 1 over ``gamma`` and ``gamma``, the
    shift is at most ``shift`` elements along each axis (whole ones, if it is whole), and what comes in at a border
    repeats it.

    >>> plant_copy(np.eye(8), np.random.default_rng(0)).shape
    (8, 8)
    """
    values = np.asarray(image, np.float32)
    low, high = float(values.min()), float(values.max())
    values = (values - low) / max(high - low, 1e-30)
    spread = float(values.std())
    values = values ** np.exp(rng.uniform(-1, 1) * np.log(gamma))
    if flips:
        values = np.flip(values, tuple(axis for axis in range(values.ndim) if rng.random() < 0.5))
    if isinstance(shift, int):
        values = ndimage.shift(values, rng.integers(-shift, shift + 1, values.ndim), order=0, mode="nearest")
    else:
        values = ndimage.shift(values, rng.uniform(-shift, shift, values.ndim), order=1, mode="nearest")
    values = values + rng.normal(0, noise * spread, values.shape)
    return (values * rng.uniform(0.5, 2) + rng.uniform(-1, 1)).astype(np.float32)
