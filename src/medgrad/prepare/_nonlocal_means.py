"""Non-local means, guided by a sliding cosine transform whose small coefficients are 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._image_step import Values

THRESHOLD = 2.8
"""Coefficients below so many deviations are 0."""
SIMILARITY = 0.6
"""Deviation of the weight of a neighbour by its difference in the guide, in deviations of the noise."""
MEAN_WEIGHT = 3.0
"""How much a difference of local means counts, against one of elements."""
BLOCK_ELEMENTS = 60_000


def nonlocal_means(values: Values, spacing: Sequence[float]) -> Values:
    """Average each element with those around whose surroundings are alike; the noise has deviation 1.

    Two stages, as Manjon et al. 2012 (ODCT and PRI-NLM3D): hard thresholds in a cosine transform of all overlapping
    patches give a guide, and the weights come from the guide's elements and local means.
    """
    patch, radius = patch_sizes(values.shape), search_radii(values.shape, spacing)
    halo = [p + r for p, r in zip(patch, radius, strict=True)]

    def denoise(block: Values) -> Values:
        guide = threshold_patches(block, patch)
        return average_by_guide(block, guide, radius)

    return in_blocks(denoise, values, halo)


def patch_sizes(shape: Sequence[int]) -> list[int]:
    """Give the size of a patch along each axis: 4 in three dimensions, 8 in two."""
    size = 4 if sum(n >= 4 for n in shape) > 2 else 8
    return [min(size, n) for n in shape]


def search_radii(shape: Sequence[int], spacing: Sequence[float]) -> list[int]:
    """Give how far neighbours are along each axis: 2 elements in three dimensions, 5 in two, fewer along thick slices.

    >>> search_radii((64, 64, 20), (1.0, 1.0, 5.0))
    [2, 2, 1]
    """
    reach = 2 if sum(n >= 4 for n in shape) > 2 else 5
    return [min(max(1, round(reach * min(spacing) / s)), n - 1) for n, s in zip(shape, spacing, strict=True)]


def in_blocks(change: Callable[[Values], Values], values: Values, halo: Sequence[int]) -> Values:
    """Change an image block by block, each with a halo of what lies around in the image."""
    size = max(16, round(BLOCK_ELEMENTS ** (1 / max(1, sum(n > 1 for n in values.shape)))))
    counts = [max(1, round(n / size)) for n in values.shape]
    cuts = [[n * i // c for i in range(c + 1)] for n, c in zip(values.shape, counts, strict=True)]
    changed = np.empty_like(values)
    for at in np.ndindex(*counts):
        edges = [(c[i], c[i + 1]) for c, i in zip(cuts, at, strict=True)]
        starts = [max(0, begin - h) for (begin, _), h in zip(edges, halo, strict=True)]
        outer = tuple(slice(s, end + h) for s, (_, end), h in zip(starts, edges, halo, strict=True))
        inner = tuple(slice(begin - s, end - s) for s, (begin, end) in zip(starts, edges, strict=True))
        changed[tuple(slice(*edge) for edge in edges)] = change(values[outer])[inner]
    return changed


@cache
def cosines(size: int) -> Values:
    """Give the orthonormal matrix of the cosine transform (DCT-II)."""
    frequency = np.arange(size)[:, None]
    matrix = np.cos(np.pi * (np.arange(size) + 0.5) * frequency / size) * np.sqrt(2 / size)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def threshold_patches(values: Values, patch: Sequence[int]) -> Values:
    """Set the small coefficients of every overlapping patch to 0 and average the patches, simple ones with more weight.

    The image is mirrored at its edges.
    """
    margin = [p - 1 for p in patch]
    padded = np.pad(values, [(m, m) for m in margin], mode="symmetric")
    coefficients = transform_patches(padded, patch)
    kept = np.ones(coefficients.shape[1:], np.float32)
    for band in coefficients[1:]:
        is_large = (np.abs(band) > THRESHOLD).astype(np.float32)
        band *= is_large
        kept += is_large
    weights: Values = np.float32(1) / kept
    coefficients *= weights
    denoised: Values = sum_patches(coefficients, patch) / sum_over_patches(weights, patch)
    return denoised[tuple(slice(m, n - m) for m, n in zip(margin, padded.shape, strict=True))]


def transform_patches(values: Values, patch: Sequence[int]) -> Values:
    """Give the cosine transform of every overlapping patch, (coefficients, *patches)."""
    found = values[None]
    for axis, size in enumerate(patch):
        if size > 1:
            moved = np.stack([cut(found, axis + 1, t, size) for t in range(size)])
            found = (cosines(size) @ moved.reshape(size, -1)).reshape(-1, *moved.shape[2:])
    return found


def sum_patches(coefficients: Values, patch: Sequence[int]) -> Values:
    """Transform patches back and add them up where they lie."""
    found = coefficients
    for axis, size in reversed(list(enumerate(patch))):
        if size > 1:
            parts = (cosines(size).T @ found.reshape(size, -1)).reshape(size, -1, *found.shape[1:])
            found = overlap_add(parts, axis + 1)
    return found[0]


def sum_over_patches(weights: Values, patch: Sequence[int]) -> Values:
    """Add up for every element the weights of the patches that hold it."""
    found = weights
    for axis, size in enumerate(patch):
        found = overlap_add([found] * size, axis)
    return found


def overlap_add(parts: Sequence[Values] | Values, axis: int) -> Values:
    """Add parts up, each one element further along an axis than the one before."""
    shape = list(parts[0].shape)
    length = shape[axis]
    shape[axis] += len(parts) - 1
    total = np.zeros(shape, np.float32)
    for start, part in enumerate(parts):
        total[(slice(None),) * axis + (slice(start, start + length),)] += part
    return total


def cut(values: Values, axis: int, start: int, size: int) -> Values:
    """Give what patches of a size hold at one of their places along an axis."""
    end = values.shape[axis] - size + 1 + start
    return values[(slice(None),) * axis + (slice(start, end),)]


def average_by_guide(values: Values, guide: Values, radius: Sequence[int]) -> Values:
    """Average each element with its neighbours, weighted by how alike the guide and its local mean are."""
    mean = ndimage.uniform_filter(guide, 3, mode="nearest")
    fall = np.float32(-1 / (2 * SIMILARITY**2))

    def weigh(here: tuple[slice, ...], there: tuple[slice, ...], _: tuple[int, ...]) -> Values:
        difference = mean[here] - mean[there]
        difference *= difference
        difference *= np.float32(MEAN_WEIGHT)
        nearer = guide[here] - guide[there]
        nearer *= nearer
        difference += nearer
        difference *= fall
        return np.exp(difference, out=difference)

    return average_neighbours(values, radius, weigh)


Weigh = Callable[[tuple[slice, ...], tuple[slice, ...], tuple[int, ...]], Values]


def average_neighbours(values: Values, radius: Sequence[int], weigh: Weigh) -> Values:
    """Average each element with its neighbours by symmetric weights, 1 for itself."""
    total, weights = values.copy(), np.ones_like(values)
    for shift in half_of_shifts(radius):
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, values.shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, values.shape, strict=True))
        if 0 in values[here].shape:
            continue
        weight = weigh(here, there, shift)
        total[here] += weight * values[there]
        total[there] += weight * values[here]
        weights[here] += weight
        weights[there] += weight
    averaged: NDArray[np.float32] = total / weights
    return averaged


def half_of_shifts(radius: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Give one of each pair of opposite shifts within a radius along each axis."""
    for index in np.ndindex(*[2 * r + 1 for r in radius]):
        shift = tuple(i - r for i, r in zip(index, radius, strict=True))
        if shift > (0,) * len(shift):
            yield shift
