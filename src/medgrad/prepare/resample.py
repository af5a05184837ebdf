"""Bring every case to the same spacing, and every image of a case to the same grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data import Case, Grid, Image, LabelMap
from ..data.grid import matrix_to_tuples
from ._step import Memo, Step, map_images


@dataclass(frozen=True)
class Resample(Step):
    """``spacing`` in mm along the axes of the array, 0 where an axis keeps its own; empty keeps all.

    Images are interpolated by splines of ``order``, labels linearly, each label for itself, and the largest share wins.
    """

    spacing: tuple[float, ...] = ()
    order: int = 3

    def apply(self, case: Case) -> tuple[Case, Memo]:
        grid = self.target_grid(case.grid)
        made = map_images(
            case, lambda i: resample_image(i, grid, order=self.order), lambda labels: resample_labels(labels, grid)
        )
        return made, Memo(case.grid)

    def target_grid(self, grid: Grid) -> Grid:
        """Give the grid of the wanted spacing that covers the same part of the patient."""
        if not self.spacing:
            return grid
        if len(self.spacing) != grid.dims:
            raise ValueError(f"A spacing of {len(self.spacing)} axes does not fit an image of {grid.dims}.")
        wanted = [w or s for w, s in zip(self.spacing, grid.spacing, strict=True)]
        shape = [max(1, round(n * s / w)) for n, s, w in zip(grid.shape, grid.spacing, wanted, strict=True)]
        return rescale_grid(grid, shape)

    def undo_labels(self, labels: LabelMap, memo: Memo) -> LabelMap:
        return resample_labels(labels, memo.grid)

    def undo_grid(self, image: Image, memo: Memo) -> Image:
        return resample_image(image, memo.grid, order=1)


def rescale_grid(grid: Grid, shape: Sequence[int]) -> Grid:
    """Cover the same part of the patient with another number of elements along each axis."""
    n = grid.dims
    ratio = np.array(grid.shape) / np.array(shape)
    index = np.eye(n + 1)
    index[:n, :n] = np.diag(ratio)
    index[:n, n] = (ratio - 1) / 2
    return Grid(tuple(shape), matrix_to_tuples(grid.matrix @ index), grid.has_spacing)


def index_transform(source: Grid, target: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the matrix and the offset from indices of the target to indices of the source."""
    n = source.dims
    whole = np.linalg.inv(source.matrix) @ target.matrix
    return whole[:n, :n], whole[:n, n]


def resample_image(image: Image, grid: Grid, *, order: int = 3) -> Image:
    """Interpolate an image on another grid; outside it, its nearest edge goes on."""
    if image.grid.is_close(grid, tolerance_mm=1e-4):
        return replace(image, grid=grid)
    planes = [interpolate_by_slabs(p, image.grid, grid, order=order) for p in image.channels_first]
    array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
    return replace(image, array=array, grid=grid)


def interpolate_by_slabs(plane: NDArray[Any], source: Grid, target: Grid, *, order: int) -> NDArray[np.float32]:
    """Interpolate one array; a large one slab by slab along its target's longest axis, which takes little memory.

    Each slab is made from the part of the source that reaches into it, with a margin beyond which a spline of order 3
    counts for less than a ten-millionth.
    """
    if max(plane.size, int(np.prod(target.shape))) <= MAX_ELEMENTS:
        return interpolate_array(plane.astype(np.float32), source, target, order=order)
    whole = np.empty(target.shape, np.float32)
    axis = int(np.argmax(target.shape))
    margin = [SPLINE_MARGIN + ceil(BLUR_TRUNCATE * w) for w in blur_widths(index_transform(source, target)[0])]
    step = slab_thickness(source, target, axis, margin)
    for first in range(0, target.shape[axis], step):
        slab = slab_grid(target, axis, first, step)
        box = source_box(source, slab, margin)
        own = source.crop([s.start for s in box], [s.stop - s.start for s in box])
        where = (*[slice(None)] * axis, slice(first, first + step))
        whole[where] = interpolate_array(plane[box].astype(np.float32), own, slab, order=order)
    return whole


def image_memory_bytes(source: Grid, target: Grid) -> int:
    """Estimate the peak memory of resampling one channel, in bytes, without input and output."""
    if source.is_close(target, tolerance_mm=1e-4):
        return 0
    if max(int(np.prod(source.shape)), int(np.prod(target.shape))) <= MAX_ELEMENTS:
        return IMAGE_BYTES * int(np.prod(source.shape))
    axis = int(np.argmax(target.shape))
    margin = [SPLINE_MARGIN + ceil(BLUR_TRUNCATE * w) for w in blur_widths(index_transform(source, target)[0])]
    slab = slab_grid(target, axis, 0, slab_thickness(source, target, axis, margin))
    slab = slab_grid(target, axis, (target.shape[axis] - slab.shape[axis]) // 2, slab.shape[axis])
    box = source_box(source, slab, margin)
    return IMAGE_BYTES * int(np.prod([s.stop - s.start for s in box])) + 4 * int(np.prod(slab.shape))


def labels_memory_bytes(source: Grid, target: Grid) -> int:
    """Estimate the peak memory of resampling labels, in bytes, without input and output."""
    if source.is_close(target, tolerance_mm=1e-4):
        return 0
    planes = max(1, MAX_ELEMENTS // max(1, int(np.prod(target.shape[1:]))))
    margin = [1 + ceil(BLUR_TRUNCATE * w) for w in blur_widths(index_transform(source, target)[0])]
    slab = slab_grid(target, 0, max(0, (target.shape[0] - planes) // 2), planes)
    box = source_box(source, slab, margin) if planes < target.shape[0] else tuple(slice(0, n) for n in source.shape)
    return LABEL_BYTES * (int(np.prod([s.stop - s.start for s in box])) + 2 * int(np.prod(slab.shape)))


def slab_thickness(source: Grid, target: Grid, axis: int, margin: Sequence[int]) -> int:
    """Choose the thickness of slabs: as the memory limit allows, but not so thin that they are all margin."""
    step = target.shape[axis]
    while step > 2 * SPLINE_MARGIN:
        slab = slab_grid(target, axis, (target.shape[axis] - step) // 2, step)
        box = source_box(source, slab, margin)
        if max(int(np.prod([s.stop - s.start for s in box])), int(np.prod(slab.shape))) <= MAX_ELEMENTS:
            break
        step = ceil(step / 2)
    return step


def slab_grid(grid: Grid, axis: int, first: int, step: int) -> Grid:
    """Give the slab of a grid along an axis."""
    begin, shape = [0] * grid.dims, list(grid.shape)
    begin[axis], shape[axis] = first, min(step, grid.shape[axis] - first)
    return grid.crop(begin, shape)


def source_box(source: Grid, target: Grid, margin: Sequence[int]) -> tuple[slice, ...]:
    """Give the box of source elements that a target grid is interpolated from, with a margin."""
    corners = np.array(list(product(*[(0, n - 1) for n in target.shape])))
    at = source.to_index(target.to_world(corners))
    low = np.floor(at.min(axis=0)).astype(int) - margin
    high = np.ceil(at.max(axis=0)).astype(int) + 1 + np.array(margin)
    ends = zip(low.tolist(), high.tolist(), source.shape, strict=True)
    return tuple(slice(min(max(0, a), n - 1), max(1, min(n, b))) for a, b, n in ends)


def resample_labels(labels: LabelMap, grid: Grid) -> LabelMap:
    """Interpolate a label map on another grid: of all labels, the one with the largest share.

    Each label is only looked at where it lies, slab by slab, so that many labels of a large volume take little time and
    memory. The background's share is what the others leave; beyond the edge, where labels end, it is what lies there.
    """
    if labels.grid.is_close(grid, tolerance_mm=1e-4):
        return replace(labels, grid=grid)
    resampled = np.zeros(grid.shape, labels.array.dtype)
    margin = [1 + ceil(BLUR_TRUNCATE * w) for w in blur_widths(index_transform(labels.grid, grid)[0])]
    boxes = label_boxes(labels.array, margin)
    planes = max(1, MAX_ELEMENTS // max(1, int(np.prod(grid.shape[1:]))))
    for first in range(0, grid.shape[0], planes):
        begin, shape = [first, *[0] * (grid.dims - 1)], [min(planes, grid.shape[0] - first), *grid.shape[1:]]
        slab = grid.crop(begin, shape)
        best, taken = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for value, whole in boxes.items():
            box, where = whole, target_box(labels.grid, slab, whole)
            if any(s.stop <= s.start for s in where):
                continue
            here = slab.crop([s.start for s in where], [s.stop - s.start for s in where])
            if planes < grid.shape[0]:
                box = intersect_boxes(box, source_box(labels.grid, here, margin))
            if any(s.stop <= s.start for s in box):
                continue
            own = labels.grid.crop([s.start for s in box], [s.stop - s.start for s in box])
            plane = (labels.array[box] == value).astype(np.float32)
            share = interpolate_array(plane, own, here, order=1, extend_edge=False)
            taken[where] += interpolate_array(plane, own, here, order=1) if extends_beyond(labels.grid, here) else share
            wins = share > best[where]
            resampled[first : first + planes][where][wins] = value
            best[where][wins] = share[wins]
        resampled[first : first + planes][best <= 1 - taken + TIE_TOLERANCE] = 0
    return replace(labels, array=resampled, grid=grid)


MAX_ELEMENTS = 1 << 24
"""So many elements are interpolated at a time."""
IMAGE_BYTES, LABEL_BYTES = 24, 10
"""So many bytes an element of the source are in use while it is interpolated: a copy, smoothed, padded, in float64."""
SPLINE_MARGIN = 16
"""A spline of order 3 is told to so many elements around by one of them."""


TIE_TOLERANCE = 1e-5
"""A label and the background have equal shares if they differ by less, and it is background."""
BLUR_TRUNCATE = 4
"""A blur reaches so many times its width."""


def label_boxes(array: NDArray[Any], margin: Sequence[int]) -> dict[int, tuple[slice, ...]]:
    """Give the box around each label but 0, wider by so many elements, beyond which nothing is seen of it."""
    values = np.unique(array)
    if len(values) and values[0] >= 0 and values[-1] < 1 << 16:
        found = dict(enumerate(ndimage.find_objects(array), 1))
    else:
        found = {int(v): ndimage.find_objects((array == v).astype(np.uint8))[0] for v in values if v}
    return {
        value: tuple(
            slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(box, margin, array.shape, strict=True)
        )
        for value, box in found.items()
        if box is not None
    }


def intersect_boxes(one: Sequence[slice], other: Sequence[slice]) -> tuple[slice, ...]:
    """Give what two boxes have in common; it ends before it begins where that is nothing."""
    return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))


def extends_beyond(source: Grid, target: Grid) -> bool:
    """Tell whether a target grid extends beyond the source, where edge values are repeated."""
    corners = np.array(list(product(*[(0, n - 1) for n in target.shape])))
    at = source.to_index(target.to_world(corners))
    return bool((at < 0).any() or (at > np.array(source.shape) - 1).any())


def target_box(source: Grid, target: Grid, box: Sequence[slice]) -> tuple[slice, ...]:
    """Give the box of target elements that a box of the source contributes to."""
    corners = np.array(list(product(*[(s.start - 1.0, float(s.stop)) for s in box])))
    at = target.to_index(source.to_world(corners))
    low = np.clip(np.floor(at.min(axis=0)).astype(int), 0, target.shape)
    high = np.clip(np.ceil(at.max(axis=0)).astype(int) + 1, 0, target.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def blur_widths(matrix: NDArray[np.float64]) -> list[float]:
    """Give the width of the smoothing before downsampling, along each axis; 0 where the grid is rotated."""
    diagonal = np.diag(matrix)
    if not np.allclose(matrix, np.diag(diagonal), atol=1e-9):
        return [0.0] * len(diagonal)
    return [max(0.0, (abs(d) - 1) / 2) for d in diagonal]


def interpolate_array(
    plane: NDArray[np.float32], source: Grid, target: Grid, *, order: int, extend_edge: bool = True
) -> NDArray[np.float32]:
    """Interpolate one array; where it shrinks, it is smoothed first. Outside, the edge goes on, or there is 0."""
    matrix, offset = index_transform(source, target)
    mode = "nearest" if extend_edge else "constant"
    if np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-9):
        diagonal = np.diag(matrix)
        widths = blur_widths(matrix)
        if any(w > 0.05 for w in widths):
            plane = ndimage.gaussian_filter(plane, widths, mode="nearest", truncate=BLUR_TRUNCATE)
        return ndimage.affine_transform(plane, diagonal, offset, target.shape, order=order, mode=mode)
    return ndimage.affine_transform(plane, matrix, offset, target.shape, order=order, mode=mode)


THIS = Resample
