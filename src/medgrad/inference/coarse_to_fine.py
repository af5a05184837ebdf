"""Coarse-to-fine sliding window: a coarse first pass finds where labels are, a second pass computes only there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data import Case, Grid, LabelMap
from ..data.grid import matrix_to_tuples
from .array_ops import NUMPY, ArrayOps
from .sliding_window import WindowStart, crop_case, sliding_window, window_starts

MIN_WINDOWS = 20
"""A case of fewer windows is looked at in one pass: there is little to be spared."""
CELL_SIZE = 4
"""What is there is remembered in cells of so many elements along each axis."""
MAX_FIRST_PASS_STRIDE = 8
"""A first pass over fewer elements than every eighth along each axis sees hardly anything."""
MAX_COMPONENTS = 1000
"""More things than that are specks, around which no windows are placed."""
MARGIN = 8
"""A window is looked at again if the first pass found anything in it, or so many elements around it."""


def sliding_window_coarse_to_fine(
    predict_window: Callable[[Case], Any],
    decode: Callable[[Any, Grid], LabelMap],
    case: Case,
    *,
    patch: Sequence[int],
    overlap: float,
    first_pass_stride: int = 1,
    ops: ArrayOps = NUMPY,
    n_blocks: int = 1,
) -> LabelMap:
    """Segment a case by sliding window, and skip windows in which a first pass finds no label.

    Every element that the first pass labels gets the same answer as without skipping, since every window over
    it is computed. An element that only overlapping windows would have labelled, far from all labels of the
    first pass, stays background. If the first pass is ``first_pass_stride``, over every so many-th element along each
    axis, one window is placed around each component that it finds, and several overlap only over components
    larger than a window.
    """
    only_starts = None
    if needs_first_pass(case.grid.shape, patch, overlap, first_pass_stride):
        only_starts = find_window_starts(
            predict_window, decode, case, patch=patch, overlap=overlap, first_pass_stride=first_pass_stride
        )
    return sliding_window(
        predict_window, decode, case, patch=patch, overlap=overlap, ops=ops, only_starts=only_starts, n_blocks=n_blocks
    )


def find_window_starts(
    predict_window: Callable[[Case], Any],
    decode: Callable[[Any, Grid], LabelMap],
    case: Case,
    *,
    patch: Sequence[int],
    overlap: float,
    first_pass_stride: int,
) -> list[WindowStart]:
    """List the windows that a first pass selects; its result is as large as an answer, and is not kept."""
    found = repeat_elements(
        first_pass_mask(predict_window, decode, subsample_case(case, first_pass_stride), patch),
        first_pass_stride,
        case.grid.shape,
    )
    needed = make_window_filter(found, patch)
    selected_starts = [start for start in list_window_starts(found.shape, patch, overlap) if needed(start)]
    return (
        min(starts_around_labels(found, patch, overlap) or selected_starts, selected_starts, key=len)
        if first_pass_stride > 1
        else selected_starts
    )


def needs_first_pass(shape: Sequence[int], patch: Sequence[int], overlap: float, first_pass_stride: int) -> bool:
    """Tell whether a first pass may save time: there are many windows, and it is cheaper than computing all."""
    return count_windows(shape, patch, overlap) >= MIN_WINDOWS and (overlap > 0 or first_pass_stride > 1)


def subsample_case(case: Case, stride: int) -> Case:
    """Subsample the images of a case: every ``stride``-th element along each axis."""
    if stride == 1:
        return case
    dims = case.grid.dims
    shape = [-(-n // stride) for n in case.grid.shape]
    grid = Grid(
        tuple(shape),
        matrix_to_tuples(case.grid.matrix @ np.diag([*[float(stride)] * dims, 1.0])),
        case.grid.has_spacing,
    )
    kept = (slice(None, None, stride),) * dims
    images = {k: replace(v, array=np.ascontiguousarray(v.array[kept]), grid=grid) for k, v in case.images.items()}
    return replace(case, images=images, truth=None, roi=None)


def repeat_elements(mask: NDArray[np.bool_], stride: int, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Repeat each element along each axis, to undo the subsampling."""
    for axis in range(mask.ndim) if stride > 1 else ():
        mask = mask.repeat(stride, axis=axis)
    return mask[tuple(slice(n) for n in shape)]


def first_pass_mask(
    predict_window: Callable[[Case], Any], decode: Callable[[Any, Grid], LabelMap], case: Case, patch: Sequence[int]
) -> NDArray[np.bool_]:
    """Run the first pass: mark each element that any window labels, without blending and almost without overlap."""
    shape, size = case.grid.shape, [max(p, 1) for p in patch]
    before = [(max(s, p) - s) // 2 for s, p in zip(shape, size, strict=True)]
    found = np.zeros(shape, np.bool_)
    for start in list_window_starts(shape, size, 0.0):
        corner = [a - b for a, b in zip(start, before, strict=True)]
        box = crop_case(case, corner, size)
        labels = decode(predict_window(box), box.grid).array
        where = tuple(slice(max(0, a), a + p) for a, p in zip(corner, size, strict=True))
        inside = tuple(slice(max(0, -a), max(0, -a) + n) for a, n in zip(corner, found[where].shape, strict=True))
        found[where] |= labels[inside] != 0
    return found


def count_windows(shape: Sequence[int], patch: Sequence[int], overlap: float) -> int:
    """Count the windows over a case."""
    return int(np.prod([len(window_starts(s, p, overlap)) for s, p in zip(shape, patch, strict=True)]))


def list_window_starts(shape: Sequence[int], patch: Sequence[int], overlap: float) -> list[WindowStart]:
    """List the starts of the windows over a case."""
    return [*product(*[window_starts(max(s, p), p, overlap) for s, p in zip(shape, patch, strict=True)])]


def make_window_filter(
    labels: NDArray[Any], patch: Sequence[int], margin: int = MARGIN
) -> Callable[[WindowStart], bool]:
    """Return a function that tells whether a window has any label in or near it, by cumulative sums over cells."""
    cells = reduce_to_cells(labels)
    cumulative_counts = np.zeros([n + 1 for n in cells.shape], np.int64)
    cumulative_counts[(slice(1, None),) * labels.ndim] = cells
    for axis in range(labels.ndim):
        np.cumsum(cumulative_counts, axis=axis, out=cumulative_counts)
    before = [(max(s, p) - s) // 2 for s, p in zip(labels.shape, patch, strict=True)]

    def has_label_near(start: WindowStart) -> bool:
        ends = [
            (max(0, a - b - margin) // CELL_SIZE, -(-min(n, a - b + p + margin) // CELL_SIZE))
            for a, b, p, n in zip(start, before, patch, labels.shape, strict=True)
        ]
        found = 0
        for corner in product((0, 1), repeat=labels.ndim):
            sign = (-1) ** (labels.ndim - sum(corner))
            found += sign * int(cumulative_counts[tuple(e[c] for e, c in zip(ends, corner, strict=True))])
        return found > 0

    return has_label_near


def reduce_to_cells(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Reduce a label map to cells: true where a cell contains any label."""
    cells = labels
    for axis, size in enumerate(labels.shape):
        cells = np.logical_or.reduceat(cells, np.arange(0, size, CELL_SIZE), axis=axis)
    return np.asarray(cells)


def starts_around_labels(labels: NDArray[Any], patch: Sequence[int], overlap: float) -> list[WindowStart]:
    """Place windows around the labels: one over components that fit into it together, several over a larger one.

    Empty where there are too many components.
    """
    room = [max(s, p) for s, p in zip(labels.shape, patch, strict=True)]
    before = [(r - s) // 2 for r, s in zip(room, labels.shape, strict=True)]
    needed = make_window_filter(labels, patch, 0)
    found: set[tuple[int, ...]] = set()
    for box in merge_bounds(component_bounds(labels), patch):
        axes: list[list[int]] = []
        for (low, high), size, length, added in zip(box, patch, room, before, strict=True):
            first, last = low + added, high + added
            if last - first <= size:
                starts = [first - (size - last + first) // 2]
            else:
                starts = [first + start for start in window_starts(last - first, size, overlap)]
            axes.append([min(max(start, 0), length - size) for start in starts])
        found |= {start for start in product(*axes) if needed(start)}
    return [*sorted(found)]


Bounds = tuple[tuple[int, int], ...]


def component_bounds(labels: NDArray[Any]) -> list[Bounds]:
    """Return the bounds of each connected component, with a margin; empty where there are too many."""
    cells = reduce_to_cells(labels)
    things, many = ndimage.label(cells, np.ones((3,) * cells.ndim, bool))
    if many > MAX_COMPONENTS:
        return []
    return [
        tuple(
            (max(0, s.start * CELL_SIZE - MARGIN), min(n, s.stop * CELL_SIZE + MARGIN))
            for s, n in zip(where, labels.shape, strict=True)
        )
        for where in ndimage.find_objects(things)
    ]


def merge_bounds(boxes: Sequence[Bounds], patch: Sequence[int]) -> list[Bounds]:
    """Merge bounds as long as their union fits into a window.

    >>> merge_bounds([((0, 4),), ((5, 8),), ((20, 30),)], [8])
    [((0, 8),), ((20, 30),)]
    """
    found: list[Bounds] = []
    for box in sorted(boxes):
        for i, other in enumerate(found):
            both = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(box, other, strict=True))
            if all(high - low <= size for (low, high), size in zip(both, patch, strict=True)):
                found[i] = both
                break
        else:
            found.append(box)
    return found
