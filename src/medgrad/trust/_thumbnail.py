"""Thumbnails and perceptual hashes of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

THUMBNAIL_SIDE = {1: 256, 2: 64, 3: 24}
HASH_SIDE = {1: 256, 2: 16, 3: 8}


@lru_cache(maxsize=256)
def _resize_matrix(old: int, new: int) -> NDArray[np.float32]:
    """Give the (new, old) matrix that shrinks by areas or grows by straight lines."""
    if old >= new:
        edges = np.linspace(0, old, new + 1)
        cells = np.arange(old)
        matrix = np.clip(np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells), 0, 1)
        return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
    places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(places).astype(int)
    matrix = np.zeros((new, old))
    matrix[np.arange(new), low] += 1 - (places - low)
    matrix[np.arange(new), np.minimum(low + 1, old - 1)] += places - low
    return matrix.astype(np.float32)


def resize_array(array: NDArray[np.generic], side: int) -> NDArray[np.float32]:
    """Bring every axis to ``side`` elements, by areas where it shrinks."""
    return _multiply_axes(array, [_resize_matrix(old, side) for old in array.shape])


def _multiply_axes(array: NDArray[np.generic], matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Multiply each axis by its (new, old) matrix."""
    found = np.asarray(array, np.float32)
    for place, matrix in enumerate(matrices):
        shape = (*found.shape[1:], len(matrix))  # the axis in front goes to the end, until each was in front
        found = (found.reshape(array.shape[place], -1).T @ matrix.T).reshape(shape)
    return found


def to_grey(array: NDArray[np.generic], dims: int) -> NDArray[np.generic]:
    """Give one value an element: the channel if all are equal, else their mean; NaN and infinity become 0."""
    if array.ndim > dims:
        first = array[..., 0]
        same = all(np.array_equal(array[..., c], first) for c in range(1, array.shape[-1]))
        array = first if same else array.astype(np.float32).mean(axis=-1)
    if array.dtype.kind == "c":
        array = np.abs(array)
    return array if array.dtype.kind != "f" or np.isfinite(array).all() else np.nan_to_num(array, posinf=0, neginf=0)


def make_thumbnail(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Shrink to 64 x 64 (or 24 x 24 x 24) in 256 steps from the 0.5 to the 99.5 percentile; 0 if it is constant."""
    small = resize_array(array, THUMBNAIL_SIDE[array.ndim])
    low, high = np.percentile(small, (0.5, 99.5))
    if high <= low:
        low, high = float(small.min()), float(small.max())
    if high - low <= 1e-6 * max(abs(float(high)), abs(float(low)), 1e-30):
        return np.zeros(small.shape, np.uint8)
    return np.round(np.clip((small - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def normalise_local_contrast(thumb: NDArray[np.generic], *, grain: float = 0.05) -> NDArray[np.float32]:
    """Normalise local contrast: remove slow shading, fine grain and contrast; mean 0.

    ``grain`` is the size of the structures that are kept, as a share of the side. Contrast is made even from
    place to place, so that the edge of a field of view or a burnt-in mark counts no more than what lies around
    it.
    """
    image = thumb.astype(np.float32)
    size = image.shape[0] * grain
    band = _blur_image(image, size / 4) - _blur_image(image, size)
    strength = np.sqrt(_blur_image(band * band, 1.5 * size))
    band = band / (strength + 0.1 * band.std() + 1e-6)
    return (band - band.mean()).astype(np.float32)


def _blur_image(image: NDArray[np.float32], size: float) -> NDArray[np.float32]:
    return _multiply_axes(image, [_blur_matrix(side, size) for side in image.shape])


@lru_cache(maxsize=256)
def _blur_matrix(side: int, size: float) -> NDArray[np.float32]:
    """Give the (side, side) matrix that blurs an axis: on pictures so small it is ten times as fast as a filter."""
    matrix = ndimage.gaussian_filter1d(np.eye(side), size, axis=0, mode="nearest")
    return np.asarray(matrix, np.float32)


def perceptual_bits(thumb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Give 256 (or 512) yes-or-no values: where the picture is brighter than around."""
    band = resize_array(normalise_local_contrast(thumb, grain=0.1), HASH_SIDE[thumb.ndim]).ravel()
    return band > np.median(band)
