"""Reorient volumes to common axis directions, without resampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Case, Grid, Image, LabelMap
from ..data.grid import AXIS_CODES, matrix_to_tuples, nearest_axes
from ._step import Memo, Step, map_images


@dataclass(frozen=True)
class Reorient(Step):
    """``to`` names where each axis points, such as ``RAS``. A flat picture stays as it is."""

    to: str = "RAS"

    def apply(self, case: Case) -> tuple[Case, Memo]:
        made = map_images(case, self.reorient_array, self.reorient_array) if case.grid.dims == 3 else case
        return made, Memo(case.grid)

    def reorient_array(self, image: Any) -> Any:
        """Turn an image or a label map."""
        order, flips = axis_permutation(image.grid, self.to)
        return permute_and_flip(image, order, flips, reoriented_grid(image.grid, order, flips))

    def undo_labels(self, labels: LabelMap, memo: Memo) -> LabelMap:
        return self.turned_back(labels, memo.grid)

    def undo_grid(self, image: Image, memo: Memo) -> Image:
        return self.turned_back(image, memo.grid)

    def turned_back(self, thing: Any, before: Grid) -> Any:
        """Turn an image or a label map back onto the grid that it came from."""
        if before.dims != 3:
            return thing
        order, flips = axis_permutation(before, self.to)
        back = [order.index(a) for a in range(3)]
        return permute_and_flip(thing, back, [flips[b] for b in back], before, flip_first=True)


def axis_permutation(grid: Grid, orientation: str) -> tuple[list[int], list[bool]]:
    """Tell which axis of the grid becomes each new axis, and whether it is mirrored."""
    here = nearest_axes(grid.directions)
    order, flips = [], []
    for letter in orientation:
        world = next(w for w, pair in enumerate(AXIS_CODES) if letter in pair)
        axis = next(a for a, (w, _) in enumerate(here) if w == world)
        order.append(axis)
        flips.append((here[axis][1] > 0) != (letter == AXIS_CODES[world][1]))
    return order, flips


def reoriented_grid(grid: Grid, order: list[int], flips: list[bool]) -> Grid:
    """Give the grid on which the turned array lies: every element stays where it was in the patient."""
    shape = [grid.shape[a] for a in order]
    index = np.zeros((4, 4))
    index[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        index[old, new] = -1 if flip else 1
        index[old, 3] = grid.shape[old] - 1 if flip else 0
    return Grid(tuple(shape), matrix_to_tuples(grid.matrix @ index), grid.has_spacing)


def permute_and_flip(image: Any, order: list[int], flips: list[bool], grid: Grid, *, flip_first: bool = False) -> Any:
    """Transpose and mirror an array that stands on a grid; a trailing channel axis stays last."""
    array = image.array
    axes = [*order, *range(3, array.ndim)]
    if flip_first:
        source_flips = [False] * 3
        for new, old in enumerate(order):
            source_flips[old] = flips[new]
        array = np.flip(array, tuple(a for a in range(3) if source_flips[a])).transpose(axes)
    else:
        array = np.flip(array.transpose(axes), tuple(a for a in range(3) if flips[a]))
    return replace(image, array=np.ascontiguousarray(array), grid=grid)


THIS = Reorient
