"""A plane of an image as a radiologist looks at it: chosen, laid upright, brought to 8 bits, and written as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid

Plane = tuple[Any, ...]
"""An index into the array of an image that gives a flat picture."""

MAX_PICTURE_SIZE = 512
MAX_TABLE_ROWS = 20
LABEL_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""The colours of the labels 1, 2, ..., told apart by people who are colour-blind too. Okabe and Ito, 2008."""


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


def eight_bit(
    array: NDArray[Any], grid: Grid, plane: Plane, window: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Stretch a plane of an array (*grid.shape) or (*grid.shape, channels) to 0 to 255, upright, with its colours.

    The ``window`` is its own unless one is given.
    """
    flat = flat_plane(array, grid, plane)
    low, high = window or plane_window(array, grid, plane)
    return (np.clip((flat - low) / max(high - low, 1e-9), 0, 1) * 255).round().astype(np.uint8)


def flat_plane(array: NDArray[Any], grid: Grid, plane: Plane) -> NDArray[np.float64]:
    """Give a plane of an array, upright: its colours where it has three channels, else the first."""
    flat = upright(np.nan_to_num(array[plane].astype(np.float64)), grid)
    return flat[..., 0] if flat.ndim == 3 and flat.shape[-1] not in (3,) else flat


def plane_window(array: NDArray[Any], grid: Grid, plane: Plane) -> tuple[float, float]:
    """Give the values of a plane that become black and white: its percentiles 0.5 and 99.5, or all of 8 bits."""
    if array.dtype == np.uint8:
        return 0.0, 255.0
    low, high = np.percentile(flat_plane(array, grid, plane), [0.5, 99.5])
    return float(low), float(high)


def fullest_plane(mask: NDArray[Any], axis: int) -> int | None:
    """Give the index of the plane across an axis that has the most elements above 0; None where there are none.

    >>> fullest_plane(np.array([[0, 0], [1, 1], [0, 1]]), 0)
    1
    """
    if not mask.any():
        return None
    return int((mask > 0).sum(axis=tuple(a for a in range(mask.ndim) if a != axis)).argmax())


def label_colours(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Give the colour of each label, (*labels.shape, 3): the background is black, and after the last colour they recur.

    >>> label_colours(np.array([0, 1, 8])).tolist()
    [[0, 0, 0], [230, 159, 0], [230, 159, 0]]
    """
    colours = np.array(LABEL_COLOURS, np.uint8)[(labels.astype(np.int64) - 1) % len(LABEL_COLOURS)]
    colours[labels == 0] = 0
    return colours


def image_png(array: NDArray[Any], grid: Grid) -> bytes | None:
    """Give the middle plane of an image as PNG; None for a row of numbers, which is no picture."""
    if grid.dims not in (2, 3) or 0 in array.shape:
        return None
    plane, axes = plane_at(grid)
    return to_png(eight_bit(array, grid, plane), [grid.spacing[a] for a in axes])


def labels_png(array: NDArray[Any], grid: Grid) -> bytes | None:
    """Give the plane with the most labelled elements as PNG, a colour a label; None where it is no picture."""
    if grid.dims not in (2, 3) or 0 in array.shape:
        return None
    plane, axes = plane_at(grid, fullest_plane(array, long_axis(grid)) if grid.dims == 3 else None)
    return to_png(label_colours(upright(array[plane], grid)), [grid.spacing[a] for a in axes], is_smooth=False)


def to_png(picture: NDArray[np.uint8], spacing: Sequence[float], *, is_smooth: bool = True) -> bytes:
    """Give a picture (rows, columns) or (rows, columns, 3) as PNG with square pixels, no longer than MAX_PICTURE_SIZE.

    ``spacing`` is that of rows and columns. Labels must not be smooth: a colour between two is that of a third.
    """
    from PIL import Image as Pillow

    finest = min(spacing)
    height, width = (n * s / finest for n, s in zip(picture.shape, spacing, strict=False))
    scale = min(1.0, MAX_PICTURE_SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = Pillow.Resampling.BILINEAR if is_smooth else Pillow.Resampling.NEAREST
    out = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(picture)).resize(size, way).save(out, "PNG")
    return out.getvalue()


def small_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Give a table in HTML that a notebook shows; after ``MAX_TABLE_ROWS`` rows it says how many more there are.

    >>> small_table(["class"], [["a < b"]])
    '<table><thead><tr><th>class</th></tr></thead><tbody><tr><td>a &lt; b</td></tr></tbody></table>'
    """
    every = list(rows)
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in every[:MAX_TABLE_ROWS]]
    if len(every) > MAX_TABLE_ROWS:
        lines.append(f'<td colspan="{len(head)}">and {len(every) - MAX_TABLE_ROWS} more</td>')
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
