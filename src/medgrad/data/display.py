"""A plane of an image as a radiologist looks at it: chosen, laid upright, and brought to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid

Plane = tuple[Any, ...]
"""An index into the array of an image that gives a flat picture."""


def long_axis(grid: Grid) -> int:
    """Give the axis of a volume that goes along the body, or the last one where that is not known."""
    return next((a for a, letter in enumerate(grid.orientation) if letter in "SI"), 2)


def plane_at(grid: Grid, index: int | None = None) -> tuple[Plane, tuple[int, ...]]:
    """Give a plane across the long axis, the middle one unless an index is given, and the axes of rows and columns."""
    if grid.dims == 2:
        return (slice(None), slice(None)), (0, 1)
    axis = long_axis(grid)
    plane: list[Any] = [slice(None)] * 3
    plane[axis] = grid.shape[axis] // 2 if index is None else index
    first, second = (a for a in range(3) if a != axis)
    return tuple(plane), (first, second) if grid.orientation[first] in "AP" else (second, first)


def upright(flat: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Lay a plane of a volume as radiologists do: the front on top, the patient's right on the left."""
    if grid.dims == 2:
        return flat
    letters = [letter for letter in grid.orientation if letter not in "SI"]
    if letters[0] in "AP":
        flat, letters = flat.swapaxes(0, 1), letters[::-1]
    if letters[0] == "R":
        flat = flat[::-1]
    if letters[1] == "A":
        flat = flat[:, ::-1]
    return flat.swapaxes(0, 1)


def eight_bit(array: NDArray[Any], grid: Grid, plane: Plane) -> NDArray[np.uint8]:
    """Stretch a plane of an array (*grid.shape) or (*grid.shape, channels) to 0 to 255, upright and with its colours."""
    flat = upright(np.nan_to_num(array[plane].astype(np.float64)), grid)
    if flat.ndim == 3 and flat.shape[-1] not in (3,):
        flat = flat[..., 0]
    low, high = np.percentile(flat, [0.5, 99.5])
    if array.dtype == np.uint8:
        low, high = 0.0, 255.0
    return (np.clip((flat - low) / max(high - low, 1e-9), 0, 1) * 255).round().astype(np.uint8)
