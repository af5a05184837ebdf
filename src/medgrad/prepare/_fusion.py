"""Fusion of images on one grid: which of them counts, by scale and by place.

Each function takes layers in one unit and the spacing of their grid in mm, and gives what is to be added to the values
of the first layer, so that equal images come back to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._image_step import Values

Method = Literal["pyramid", "wavelet", "guided", "mean"]
Mask = NDArray[np.bool_]
SPLINE = np.array([1, 4, 6, 4, 1], np.float32) / 16
"""The cubic B-spline, which smooths before every second element is left out."""
MAX_LEVELS = 5
MIN_SIZE = 8
"""An axis is halved while it has at least so many elements."""
ANISOTROPY = 1.5
"""An axis is not halved while its elements are so many times as long as the shortest."""
SHARPNESS = 8
"""Details are weighed by this power of their energy: the larger, the nearer to choosing the strongest alone."""
BASE_SIZE, SALIENCY_WIDTH = 31, 5.0
BASE_FILTER, DETAIL_FILTER = (45, 0.3), (7, 1e-6)
"""Radius, in the shortest side of an element, and regularisation of the guided filters, as Li et al. 2013 set them."""


class Layer(NamedTuple):
    """An image (channels, *shape), where it is known, its weight above 0, and the sides in mm of its own elements."""

    values: Values
    mask: Mask
    weight: float
    sides: Sequence[float]


def mean(layers: Sequence[Layer], spacing: Sequence[float]) -> Values:
    """Average what is known at each element."""
    del spacing
    return mix([layer.values for layer in layers], shares(weighted([layer.mask for layer in layers], layers)))


def pyramid(layers: Sequence[Layer], spacing: Sequence[float]) -> Values:
    """Choose by local energy in each level of a Laplacian pyramid (Burt and Adelson 1983), and average the coarsest.

    Axes of long elements are halved once the others have caught up.
    """
    lows, covers, sizes = [i.values for i in layers], [i.mask.astype(np.float32) for i in layers], list(spacing)
    changes: list[tuple[Values, list[int]]] = []
    while len(changes) < MAX_LEVELS:
        shape, step = lows[0].shape[1:], [min(sizes) / size for size in sizes]
        axes = [axis for axis, n in enumerate(shape) if n >= MIN_SIZE and step[axis] > 1 / ANISOTROPY]
        if not axes:
            break
        coarse = [halve(low, axes) for low in lows]
        details = [low - double(c, shape, axes) for low, c in zip(lows, coarse, strict=True)]
        changes.append((select_strongest(details, covers, layers, gaps_of(step, shape)), axes))
        lows, covers = coarse, [halve(cover[None], axes)[0] for cover in covers]
        sizes = [2 * size if axis in axes else size for axis, size in enumerate(sizes)]
    change = mix(lows, shares(weighted(covers, layers)))
    for detail, axes in reversed(changes):
        change = double(change, detail.shape[1:], axes) + detail
    return change


def wavelet(layers: Sequence[Layer], spacing: Sequence[float]) -> Values:
    """Choose by local energy in each band of an undecimated spline wavelet transform, and average the smoothest.

    A band is what the spline takes away along some axes and leaves along the others, so that all bands add up to the
    image. Axes of long elements are not split before the spline is as wide as they are.
    """
    lows, covers = [layer.values for layer in layers], [layer.mask.astype(np.float32) for layer in layers]
    change = np.zeros_like(lows[0])
    for level in range(MAX_LEVELS):
        gaps = gaps_of([2**level * min(spacing) / size for size in spacing], lows[0].shape[1:])
        if not any(gaps):
            break
        bands = [split_bands(low, gaps) for low in lows]
        for number in range(1, len(bands[0])):
            change += select_strongest([band[number] for band in bands], covers, layers, gaps)
        lows = [band[0] for band in bands]
    return change + mix(lows, shares(weighted(covers, layers)))


def guided(layers: Sequence[Layer], spacing: Sequence[float]) -> Values:
    """Weigh a smooth and a detailed part by maps of the most salient image, smoothed along edges (Li et al. 2013).

    Where an image came from longer elements, all are smoothed to them before they are asked how salient they are: its
    details are smaller because of its elements.
    """
    step = [min(spacing) / size for size in spacing]
    images, masks = [layer.values for layer in layers], [layer.mask for layer in layers]
    smooth = [ndimage.uniform_filter(image, [1, *odd_sizes(BASE_SIZE // 2, step)], mode="mirror") for image in images]
    sides = np.max([layer.sides for layer in layers], axis=0) / np.array(spacing)
    widths = np.where(sides > ANISOTROPY, sides / 2, 0)
    greys = [image.mean(0) for image in images]
    salient = [saliency(ndimage.gaussian_filter(grey, widths, mode="nearest"), step) for grey in greys]
    salient = [s * part for s, part in zip(salient, weighted(masks, layers), strict=True)]
    most = np.maximum.reduce(salient)
    chosen = shares(weighted([(s == most) & mask for s, mask in zip(salient, masks, strict=True)], layers))
    low, high = min(float(i.min()) for i in images), max(float(i.max()) for i in images)
    guides = [(grey - np.float32(low)) / np.float32(max(high - low, 1e-30)) for grey in greys]
    change = np.zeros_like(images[0])
    for (radius, strength), parts in (
        (BASE_FILTER, smooth),
        (DETAIL_FILTER, [image - part for image, part in zip(images, smooth, strict=True)]),
    ):
        maps = [guided_filter(g, c, odd_sizes(radius, step), strength) for g, c in zip(guides, chosen, strict=True)]
        change += mix(parts, shares([np.maximum(m, 0) * mask for m, mask in zip(maps, masks, strict=True)]))
    return change


FUSIONS: Mapping[Method, Callable[[Sequence[Layer], Sequence[float]], Values]] = {
    "pyramid": pyramid,
    "wavelet": wavelet,
    "guided": guided,
    "mean": mean,
}


def weighted(maps: Sequence[NDArray[np.bool_ | np.float32]], layers: Sequence[Layer]) -> list[Values]:
    """Multiply each map by the weight of its layer."""
    return [np.float32(layer.weight) * each for each, layer in zip(maps, layers, strict=True)]


def shares(maps: Sequence[Values]) -> list[Values]:
    """Divide maps, none of them negative, by their sum; where all are 0, the first has all.

    >>> [share.tolist() for share in shares([np.float32([3, 0]), np.float32([1, 0])])]
    [[0.75, 1.0], [0.25, 0.0]]
    """
    whole = np.array(np.sum(maps, axis=0, dtype=np.float32))
    is_empty = whole <= 0
    whole[is_empty] = 1
    return [np.where(is_empty, np.float32(place == 0), each / whole) for place, each in enumerate(maps)]


def mix(parts: Sequence[Values], maps: Sequence[Values]) -> Values:
    """Give the mean of parts, weighted by maps that add up to 1, less the first part: exactly 0 where all are equal."""
    total = np.zeros_like(parts[0])
    for part, share in zip(parts[1:], maps[1:], strict=True):
        total += share * (part - parts[0])
    return total


def select_strongest(
    parts: Sequence[Values], covers: Sequence[Values], layers: Sequence[Layer], gaps: Sequence[int]
) -> Values:
    """Give the details of the largest energy around, less those of the first; ``covers`` tells where each is known."""
    energies: list[Values] = []
    for part, cover, layer in zip(parts, covers, layers, strict=True):
        energy = (part**2).sum(0)
        for axis, gap in enumerate(gaps):
            energy = smooth_with_gaps(energy, axis, gap) if gap else energy
        energies.append(np.float32(layer.weight**2) * np.where(cover > 0.5, energy, np.float32(0)))
    most = np.array(np.maximum.reduce(energies))
    is_flat = most <= 0
    most[is_flat] = 1
    plain = weighted(covers, layers)
    maps = [np.where(is_flat, p, (e / most) ** SHARPNESS) for e, p in zip(energies, plain, strict=True)]
    return mix(parts, shares(maps))


def halve(values: Values, axes: Sequence[int]) -> Values:
    """Smooth (channels, *shape) along axes of the shape, and keep every second element."""
    for axis in axes:
        smooth = ndimage.correlate1d(values, SPLINE, axis + 1, mode="mirror")
        values = smooth[every_second(axis)]
    return values


def double(values: Values, shape: Sequence[int], axes: Sequence[int]) -> Values:
    """Interpolate (channels, *halved) to a shape, along axes of it.

    >>> double(np.float32([[1, 1, 1]]), (5,), [0]).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    for axis in axes:
        wide = np.zeros((*values.shape[: axis + 1], shape[axis], *values.shape[axis + 2 :]), np.float32)
        wide[every_second(axis)] = values
        values = ndimage.correlate1d(wide, 2 * SPLINE, axis + 1, mode="mirror")
    return values


def every_second(axis: int) -> tuple[slice, ...]:
    """Give the index of every second element along an axis of the shape of (channels, *shape)."""
    return (*(slice(None),) * (axis + 1), slice(None, None, 2))


def split_bands(values: Values, gaps: Sequence[int]) -> list[Values]:
    """Split (channels, *shape) into bands along each axis that has a gap, the smoothest first; they add up to it."""
    bands = [values]
    for axis, gap in enumerate(gaps):
        if gap:
            smooth = [smooth_with_gaps(band, axis + 1, gap) for band in bands]
            bands = smooth + [band - low for band, low in zip(bands, smooth, strict=True)]
    return bands


def gaps_of(step: Sequence[float], shape: Sequence[int]) -> list[int]:
    """Give the gap between coefficients of the spline along each axis: 0 where a step is short, or the axis.

    >>> gaps_of((2, 0.4, 2), (64, 64, 5))
    [2, 0, 0]
    """
    return [round(s) if 4 * round(s) < n else 0 for s, n in zip(step, shape, strict=True)]


def smooth_with_gaps(values: Values, axis: int, gap: int) -> Values:
    """Smooth by the spline along an axis, with so many elements from one of its coefficients to the next.

    >>> smooth_with_gaps(np.float32([0, 0, 0, 0, 16, 0, 0, 0, 0, 0]), 0, 2).tolist()
    [2.0, 0.0, 4.0, 0.0, 6.0, 0.0, 4.0, 0.0, 1.0, 0.0]
    """
    n = values.shape[axis]
    padded = np.pad(values, [(2 * gap, 2 * gap) if a == axis else (0, 0) for a in range(values.ndim)], mode="reflect")
    moved = np.moveaxis(padded, axis, 0)
    smooth = SPLINE[2] * moved[2 * gap : 2 * gap + n]
    for place in (0, 1):
        pair = moved[place * gap : place * gap + n] + moved[(4 - place) * gap : (4 - place) * gap + n]
        smooth += SPLINE[place] * pair
    return np.moveaxis(smooth, 0, axis)


def odd_sizes(radius: float, step: Sequence[float]) -> list[int]:
    """Give the sides of a box of this radius, in elements; ``step`` is the shortest side over that of each axis.

    >>> odd_sizes(7, (1, 0.2))
    [15, 3]
    """
    return [2 * round(radius * s) + 1 for s in step]


def saliency(values: Values, step: Sequence[float]) -> Values:
    """Give the size of the Laplacian of one channel, smoothed by a Gaussian."""
    curvature = np.zeros_like(values)
    for axis, s in enumerate(step):
        curvature += np.float32(s * s) * ndimage.correlate1d(values, [1, -2, 1], axis, mode="nearest")
    widths = [SALIENCY_WIDTH * s for s in step]
    smooth: Values = ndimage.gaussian_filter(np.abs(curvature), widths, mode="nearest", truncate=1.0)
    return smooth


def guided_filter(guide: Values, values: Values, sizes: Sequence[int], strength: float) -> Values:
    """Smooth values as a linear function of a guide in each box (He, Sun and Tang 2010, eq. 5, 6 and 8)."""

    def box(each: Values) -> Values:
        averaged: Values = ndimage.uniform_filter(each, sizes, mode="mirror")
        return averaged

    of_guide, of_values = box(guide), box(values)
    variance = np.maximum(box(guide * guide) - of_guide**2, 0)
    slope = (box(guide * values) - of_guide * of_values) / (variance + np.float32(strength))
    return box(slope) * guide + box(of_values - slope * of_guide)
