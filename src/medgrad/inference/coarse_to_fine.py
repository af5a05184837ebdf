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
from ..data.grid import as_rows
from .array_ops import NUMPY, ArrayOps
from .sliding_window import Start, part, sliding_window, window_starts

LEAST = 20
"""A case of fewer windows is looked at in one pass: there is little to be spared."""
CELL = 4
"""What is there is remembered in cells of so many elements along each axis."""
COARSEST = 8
"""A first pass over fewer elements than every eighth along each axis sees hardly anything."""
MOST_THINGS = 1000
"""More things than that are specks, around which no windows are placed."""
MARGIN = 8
"""A window is looked at again if the first pass found anything in it, or so many elements around it."""


def sliding_window_coarse_to_fine(
    look: Callable[[Case], Any],
    decode: Callable[[Any, Grid], LabelMap],
    case: Case,
    *,
    patch: Sequence[int],
    overlap: float,
    coarse: int = 1,
    ops: ArrayOps = NUMPY,
    blocks: int = 1,
) -> LabelMap:
    """Segment a case by sliding window, and skip windows in which a first pass finds no label.

    Every element that the first pass labels gets the same answer as without skipping, since every window over
    it is computed. An element that only overlapping windows would have labelled, far from all labels of the
    first pass, stays background. If the first pass is ``coarse``, over every so many-th element along each
    axis, one window is placed around each component that it finds, and several overlap only over components
    larger than a window.
    """
    only = None
    if in_two_passes(case.grid.shape, patch, overlap, coarse):
        only = where_to_look(look, decode, case, patch=patch, overlap=overlap, coarse=coarse)
    return sliding_window(look, decode, case, patch=patch, overlap=overlap, ops=ops, only=only, blocks=blocks)


def where_to_look(
    look: Callable[[Case], Any],
    decode: Callable[[Any, Grid], LabelMap],
    case: Case,
    *,
    patch: Sequence[int],
    overlap: float,
    coarse: int,
) -> list[Start]:
    """List the windows that a first pass selects; its result is as large as an answer, and is not kept."""
    found = spread(anywhere(look, decode, strided(case, coarse), patch), coarse, case.grid.shape)
    needed = near(found, patch)
    only = [start for start in every_start(found.shape, patch, overlap) if needed(start)]
    return min(windows_around(found, patch, overlap) or only, only, key=len) if coarse > 1 else only


def in_two_passes(shape: Sequence[int], patch: Sequence[int], overlap: float, coarse: int) -> bool:
    """Tell whether a first pass may save time: there are many windows, and it is cheaper than computing all."""
    return count_of(shape, patch, overlap) >= LEAST and (overlap > 0 or coarse > 1)


def strided(case: Case, by: int) -> Case:
    """Subsample the images of a case: every ``by``-th element along each axis."""
    if by == 1:
        return case
    dims = case.grid.dims
    shape = [-(-n // by) for n in case.grid.shape]
    grid = Grid(tuple(shape), as_rows(case.grid.matrix @ np.diag([*[float(by)] * dims, 1.0])), case.grid.measured)
    kept = (slice(None, None, by),) * dims
    images = {k: replace(v, array=np.ascontiguousarray(v.array[kept]), grid=grid) for k, v in case.images.items()}
    return replace(case, images=images, truth=None, region=None)


def spread(found: NDArray[np.bool_], by: int, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Repeat each element along each axis, to undo the subsampling."""
    for axis in range(found.ndim) if by > 1 else ():
        found = found.repeat(by, axis=axis)
    return found[tuple(slice(n) for n in shape)]


def anywhere(
    look: Callable[[Case], Any], decode: Callable[[Any, Grid], LabelMap], case: Case, patch: Sequence[int]
) -> NDArray[np.bool_]:
    """Run the first pass: mark each element that any window labels, without blending and almost without overlap."""
    shape, size = case.grid.shape, [max(p, 1) for p in patch]
    before = [(max(s, p) - s) // 2 for s, p in zip(shape, size, strict=True)]
    found = np.zeros(shape, np.bool_)
    for start in every_start(shape, size, 0.0):
        corner = [a - b for a, b in zip(start, before, strict=True)]
        box = part(case, corner, size)
        labels = decode(look(box), box.grid).array
        where = tuple(slice(max(0, a), a + p) for a, p in zip(corner, size, strict=True))
        inside = tuple(slice(max(0, -a), max(0, -a) + n) for a, n in zip(corner, found[where].shape, strict=True))
        found[where] |= labels[inside] != 0
    return found


def count_of(shape: Sequence[int], patch: Sequence[int], overlap: float) -> int:
    """Count the windows over a case."""
    return int(np.prod([len(window_starts(s, p, overlap)) for s, p in zip(shape, patch, strict=True)]))


def every_start(shape: Sequence[int], patch: Sequence[int], overlap: float) -> list[Start]:
    """List the starts of the windows over a case."""
    return [*product(*[window_starts(max(s, p), p, overlap) for s, p in zip(shape, patch, strict=True)])]


def near(labels: NDArray[Any], patch: Sequence[int], margin: int = MARGIN) -> Callable[[Start], bool]:
    """Return a function that tells whether a window has any label in or near it, by cumulative sums over cells."""
    cells = in_cells(labels)
    there = np.zeros([n + 1 for n in cells.shape], np.int64)
    there[(slice(1, None),) * labels.ndim] = cells
    for axis in range(labels.ndim):
        np.cumsum(there, axis=axis, out=there)
    before = [(max(s, p) - s) // 2 for s, p in zip(labels.shape, patch, strict=True)]

    def needed(start: Start) -> bool:
        ends = [
            (max(0, a - b - margin) // CELL, -(-min(n, a - b + p + margin) // CELL))
            for a, b, p, n in zip(start, before, patch, labels.shape, strict=True)
        ]
        found = 0
        for corner in product((0, 1), repeat=labels.ndim):
            sign = (-1) ** (labels.ndim - sum(corner))
            found += sign * int(there[tuple(e[c] for e, c in zip(ends, corner, strict=True))])
        return found > 0

    return needed


def in_cells(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Reduce a label map to cells: true where a cell contains any label."""
    cells = labels
    for axis, size in enumerate(labels.shape):
        cells = np.logical_or.reduceat(cells, np.arange(0, size, CELL), axis=axis)
    return np.asarray(cells)


def windows_around(labels: NDArray[Any], patch: Sequence[int], overlap: float) -> list[Start]:
    """Place windows around the labels: one over components that fit into it together, several over a larger one.

    Empty where there are too many components.
    """
    room = [max(s, p) for s, p in zip(labels.shape, patch, strict=True)]
    before = [(r - s) // 2 for r, s in zip(room, labels.shape, strict=True)]
    needed = near(labels, patch, 0)
    found: set[tuple[int, ...]] = set()
    for box in merged(boxes_around(labels), patch):
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


Box = tuple[tuple[int, int], ...]


def boxes_around(labels: NDArray[Any]) -> list[Box]:
    """Return the bounds of each connected component, with a margin; empty where there are too many."""
    cells = in_cells(labels)
    things, many = ndimage.label(cells, np.ones((3,) * cells.ndim, bool))
    if many > MOST_THINGS:
        return []
    return [
        tuple(
            (max(0, s.start * CELL - MARGIN), min(n, s.stop * CELL + MARGIN))
            for s, n in zip(where, labels.shape, strict=True)
        )
        for where in ndimage.find_objects(things)
    ]


def merged(boxes: Sequence[Box], patch: Sequence[int]) -> list[Box]:
    """Merge bounds as long as their union fits into a window.

    >>> merged([((0, 4),), ((5, 8),), ((20, 30),)], [8])
    [((0, 8),), ((20, 30),)]
    """
    found: list[Box] = []
    for box in sorted(boxes):
        for i, other in enumerate(found):
            both = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(box, other, strict=True))
            if all(high - low <= size for (low, high), size in zip(both, patch, strict=True)):
                found[i] = both
                break
        else:
            found.append(box)
    return found
