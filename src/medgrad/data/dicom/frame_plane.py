"""The plane of one frame on a grid: sample an array along it, or paste a mask into the array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import Frame

AxisAndSign = tuple[int, int]
AxisAlignment = tuple[NDArray[np.int64], AxisAndSign, AxisAndSign]


@dataclass(frozen=True)
class Plane:
    """A frame, and the function from its (row, column) to voxels of a grid."""

    frame: Frame
    to_voxels: Callable[[NDArray[Any]], NDArray[np.int64]]

    @cached_property
    def axis_alignment(self) -> AxisAlignment | None:
        """The voxel of the first pixel, and the grid axis and sign (1 or -1) that rows and columns follow.

        None if they do not. None also where a frame is one pixel high or wide. As three corners lie within half a
        voxel of the grid, so does all between them.
        """
        rows, columns = self.frame.shape
        if rows < 2 or columns < 2:
            return None
        first, down, right = self.to_voxels(np.array([[0, 0], [rows - 1, 0], [0, columns - 1]]))
        ways = []
        for way, count in ((down - first, rows), (right - first, columns)):
            axis = int(np.abs(way).argmax())
            if abs(way[axis]) != count - 1 or np.count_nonzero(way) != 1:
                return None
            ways.append((axis, int(np.sign(way[axis]))))
        return None if ways[0][0] == ways[1][0] else (first, ways[0], ways[1])

    def sample(self, array: NDArray[Any]) -> NDArray[Any]:
        """Sample an array (*grid.shape, ...) at each pixel, (rows, columns, ...); 0 beyond the grid."""
        found = np.zeros((*self.frame.shape, *array.shape[3:]), array.dtype)
        if self.axis_alignment:
            here, there = self.aligned_views(array, (0, 0), self.frame.shape)
            found[here] = there
            return found
        rows, columns = self.frame.shape
        every = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
        place = np.asarray(self.to_voxels(every.reshape(-1, 2))).reshape(rows, columns, 3)
        inside = ((place >= 0) & (place < array.shape[:3])).all(axis=-1)
        found[inside] = array[tuple(place[inside].T)]
        return found

    def paste(self, array: NDArray[Any], patch: NDArray[Any], corner: tuple[int, int]) -> tuple[int, int]:
        """Paste the nonzero values of a patch of the frame into an array.

        ``corner`` is the (row, column) of the patch's first pixel. Gives how many values overwrite another, and
        how many lie outside the array.
        """
        if self.axis_alignment:
            here, before = self.aligned_views(array, corner, patch.shape)
            values = patch[here]
            outside = np.count_nonzero(patch) - np.count_nonzero(values)
            hides = (before > 0) & (values > 0) & (before != values)
            np.copyto(before, values, where=values > 0)
            return int(hides.sum()), int(outside)
        marked = np.argwhere(patch)
        values = patch[tuple(marked.T)]
        place = self.to_voxels(marked + corner)
        inside = ((place >= 0) & (place < array.shape)).all(axis=1)
        where = tuple(place[inside].T)
        before = array[where]
        array[where] = values[inside]
        return int(((before > 0) & (before != values[inside])).sum()), int((~inside).sum())

    def aligned_views(
        self, array: NDArray[Any], corner: tuple[int, int], shape: tuple[int, ...]
    ) -> tuple[tuple[slice, slice], NDArray[Any]]:
        """Give the part of a patch that lies on the array, and the matching view of the array, oriented alike."""
        assert self.axis_alignment is not None
        first, down, right = self.axis_alignment
        level = 3 - down[0] - right[0]
        beyond = not 0 <= first[level] < array.shape[level]
        parts: list[slice | int] = [0 if beyond else int(first[level])] * 3
        here = []
        for (axis, sign), skipped, count in zip((down, right), corner, shape, strict=False):
            start = int(first[axis]) + sign * skipped
            last = array.shape[axis] - 1 - start if sign > 0 else start
            a, b = max(last + 1 - array.shape[axis], 0), 0 if beyond else min(last + 1, count)
            here.append(slice(a, max(a, b)))
            ends = (start + sign * a, start + sign * (b - 1))
            parts[axis] = slice(min(ends), max(ends) + 1) if a < b else slice(0, 0)
        flips = tuple(slice(None, None, sign) for _, sign in sorted((down, right)))
        there = array[tuple(parts)][flips]
        return (here[0], here[1]), there if down[0] < right[0] else np.swapaxes(there, 0, 1)
