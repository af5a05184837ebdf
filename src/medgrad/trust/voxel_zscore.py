"""The plain z-score of an image: how many standard deviations each element lies from the mean of normal images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
LEAST_SHARE = 0.1
"""An element varies by at least this share of the deviation of all: where all images are padded, it is 0."""
LEAST_IMAGES = 5
"""Of fewer images nothing is said of a single element."""
ALIKE = 0.25
"""An image is cropped like the others where no axis is longer or shorter than the median by more than this share."""


@dataclass(frozen=True)
class VoxelZScore:
    """Mean and standard deviation of all values of normal images, one a channel, and of each element.

    Those of elements (channels, *shape) are there where most images have about one shape, so that their middles may
    lie at one place.
    """

    overall_mean: Values
    overall_deviation: Values
    mean: Values | None = None
    deviation: Values | None = None

    def of(self, image: Values) -> Values:
        """Give the z-score of each element of an image (channels, *shape), its middle on the middle of the others.

        An element that lies outside of these is held to the values of all.
        """
        broad = (-1, *[1] * (image.ndim - 1))
        overall_mean, overall_deviation = self.overall_mean.reshape(broad), self.overall_deviation.reshape(broad)
        found = (image - overall_mean) / overall_deviation
        if self.mean is None or self.deviation is None or not is_alike(image.shape[1:], self.mean.shape[1:]):
            return np.asarray(found)
        here, there = align_middles(image.shape, self.mean.shape)
        found[here] = (image[here] - self.mean[there]) / self.deviation[there]
        return np.asarray(found)


def fit_voxel_zscore(images: Iterable[Values], shapes: Sequence[Sequence[int]]) -> VoxelZScore:
    """Fit it to normal images (channels, *shape) of the given shapes, in one pass over them.

    >>> images = [np.full((1, 2), value) for value in (0.0, 0.0, 1.0, 2.0, 2.0)]
    >>> fit_voxel_zscore(images, [(2,)] * 5).of(np.full((1, 2), 2.0)).tolist()
    [[1.0, 1.0]]
    """
    middle = [int(v) for v in np.median(np.array(shapes), axis=0)] if len(shapes) else []
    alike = sum(is_alike(shape, middle) for shape in shapes)
    has_elements = alike >= max(LEAST_IMAGES, len(shapes) / 2)
    numbers, sums, squares = 0, np.zeros(1), np.zeros(1)
    count: Values = np.zeros(1)
    total, total_squares = count, count
    for image in images:
        axes, values = tuple(range(1, image.ndim)), image.astype(np.float64)
        if not numbers and has_elements:
            count, total, total_squares = (np.zeros((len(values), *middle)) for _ in range(3))
        numbers += values[0].size
        sums, squares = sums + values.sum(axis=axes), squares + (values**2).sum(axis=axes)
        if has_elements and is_alike(values.shape[1:], middle):
            here, there = align_middles(values.shape, total.shape)
            count[there] += 1
            total[there] += values[here]
            total_squares[there] += values[here] ** 2
    if not numbers:
        raise ValueError("There are no images whose values could be learned.")
    mean = sums / numbers
    deviation = np.sqrt(np.maximum(squares / numbers - mean**2, 1e-12))
    if not has_elements:
        return VoxelZScore(mean, deviation)
    broad = (-1, *[1] * len(middle))
    each = total / np.maximum(count, 1)
    spread = np.sqrt(np.maximum(total_squares - count * each**2, 0.0) / np.maximum(count - 1, 1))
    is_known = count >= LEAST_IMAGES
    spread = np.maximum(spread, LEAST_SHARE * deviation.reshape(broad))
    return VoxelZScore(
        mean,
        deviation,
        np.where(is_known, each, mean.reshape(broad)),
        np.where(is_known, spread, deviation.reshape(broad)),
    )


def is_alike(shape: Sequence[int], middle: Sequence[int]) -> bool:
    """Tell whether a shape is about that of the middle.

    >>> is_alike((36, 60), (40, 50)), is_alike((40, 100), (40, 50))
    (True, False)
    """
    return len(shape) == len(middle) and all(abs(s - m) <= ALIKE * m for s, m in zip(shape, middle, strict=True))


def align_middles(shape: Sequence[int], other: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Give what two arrays (channels, *shape) share where their middles lie on each other, as a part of each.

    >>> align_middles((1, 5), (1, 3))
    ((slice(0, 1, None), slice(1, 4, None)), (slice(0, 1, None), slice(0, 3, None)))
    """
    parts = [(max(0, (a - b) // 2), max(0, (b - a) // 2), min(a, b)) for a, b in zip(shape, other, strict=True)]
    return tuple(slice(a, a + n) for a, _, n in parts), tuple(slice(b, b + n) for _, b, n in parts)
