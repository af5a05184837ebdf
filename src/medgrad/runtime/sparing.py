"""Two passes over a large case: one without overlap that finds where anything is, one with it that looks only there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Grid, LabelMap
from .windows import NUMBERS, Arrays, Needed, part, stitched, window_starts

LEAST = 20
"""A case of fewer windows is looked at in one pass: there is little to be spared."""
CELL = 4
"""What is there is remembered in cells of so many elements along each axis."""
MARGIN = 8
"""A window is looked at again if the first pass found anything in it, or so many elements around it."""


def labelled(
    look: Callable[[Case], Any],
    decode: Callable[[Any, Grid], LabelMap],
    case: Case,
    *,
    patch: Sequence[int],
    overlap: float,
    arrays: Arrays = NUMBERS,
    blocks: int = 1,
) -> LabelMap:
    """Label a case by overlapping windows, and leave out those of which a first pass shows that nothing is there.

    Every element that the first pass labels gets the same answer as if no window had been left out, since every window
    over it is looked at. One that only overlapping windows would have labelled, far from all that the first pass
    found, stays background.
    """
    if count_of(case.grid.shape, patch, overlap) < LEAST or overlap <= 0:
        return stitched(look, decode, case, patch=patch, overlap=overlap, arrays=arrays, blocks=blocks)
    needed = near(anywhere(look, decode, case, patch), patch)
    return stitched(look, decode, case, patch=patch, overlap=overlap, arrays=arrays, needed=needed, blocks=blocks)


def anywhere(
    look: Callable[[Case], Any], decode: Callable[[Any, Grid], LabelMap], case: Case, patch: Sequence[int]
) -> NDArray[np.bool_]:
    """Tell of each element whether any window gives it a label, of windows that hardly overlap and are not blended."""
    shape, size = case.grid.shape, [max(p, 1) for p in patch]
    starts = [window_starts(max(s, p), p, 0.0) for s, p in zip(shape, size, strict=True)]
    before = [(max(s, p) - s) // 2 for s, p in zip(shape, size, strict=True)]
    found = np.zeros(shape, np.bool_)
    for start in product(*starts):
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


def near(labels: NDArray[Any], patch: Sequence[int]) -> Needed:
    """Tell of windows whether there is any label in or near them, by sums over cells that are made once."""
    cells = labels != 0
    for axis, size in enumerate(labels.shape):
        cells = np.logical_or.reduceat(cells, np.arange(0, size, CELL), axis=axis)
    there = np.zeros([n + 1 for n in cells.shape], np.int64)
    there[(slice(1, None),) * labels.ndim] = cells
    for axis in range(labels.ndim):
        np.cumsum(there, axis=axis, out=there)
    before = [(max(s, p) - s) // 2 for s, p in zip(labels.shape, patch, strict=True)]

    def needed(start: Sequence[int]) -> bool:
        ends = [
            (max(0, a - b - MARGIN) // CELL, -(-min(n, a - b + p + MARGIN) // CELL))
            for a, b, p, n in zip(start, before, patch, labels.shape, strict=True)
        ]
        found = 0
        for corner in product((0, 1), repeat=labels.ndim):
            sign = (-1) ** (labels.ndim - sum(corner))
            found += sign * int(there[tuple(e[c] for e, c in zip(ends, corner, strict=True))])
        return found > 0

    return needed
