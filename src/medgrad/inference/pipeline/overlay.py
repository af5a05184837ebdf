"""A plane of an image as a person looks at it, and what was found drawn into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data import Boxes, Case, Image, LabelMap
from ...data.types import map_boxes

SHOWN = 0.3
"""How sure a box must be to be drawn."""


def write_overlay(path: Path, case: Case, said: Boxes) -> Path:
    """Write a PNG of an image (of a volume, the plane with the most boxes) with the boxes that were found in it."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    image = next(iter(case.images.values()))
    found = sure(said)
    plane, axes = best_plane(image, found)
    flat = eight_bit(image, plane)
    rows, columns = (image.grid.spacing[a] / min(image.grid.spacing) for a in axes)
    picture = Pillow.fromarray(flat).convert("RGB")
    picture = picture.resize((round(flat.shape[1] * columns), round(flat.shape[0] * rows)))
    pen = ImageDraw.Draw(picture)
    for top, left, bottom, right in ((boxes_in(found, image, plane) + 0.5) * [rows, columns, rows, columns]).tolist():
        pen.rectangle((left, top, right, bottom), outline=(255, 196, 0), width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def sure(boxes: Boxes) -> Boxes:
    """Give the boxes that are at least as sure as ``SHOWN``."""
    if boxes.scores is None:
        return boxes
    kept = boxes.scores >= SHOWN
    return replace(boxes, corners=boxes.corners[kept], labels=boxes.labels[kept], scores=boxes.scores[kept])


def boxes_in(boxes: Boxes, image: Image, plane: tuple[Any, ...]) -> NDArray[np.float64]:
    """Give the boxes that a plane cuts, (n, 4): lower row and column, then upper, as the plane is shown."""
    corners = map_boxes(boxes.corners, image.grid.index)
    dims = image.grid.dims
    axes = [a for a in range(dims) if isinstance(plane[a], slice)]
    for axis in set(range(dims)) - set(axes):
        corners = corners[(corners[:, axis] <= plane[axis]) & (plane[axis] <= corners[:, axis + dims])]
    places = np.indices([image.grid.shape[a] for a in axes])
    shown = np.stack([upright(p, image) for p in places])
    flat = corners[:, [*axes, *(a + dims for a in axes)]]
    from_row = int(shown[0][0, 0] == shown[0][-1, 0])  # 1: what is shown downwards is the second of the axes
    order = [from_row, 1 - from_row]
    ends = []
    for down, axis in enumerate(order):
        line = shown[axis][:, 0] if down == 0 else shown[axis][0]
        low, high = flat[:, axis], flat[:, axis + 2]
        backwards = len(line) > 1 and line[0] > line[-1]
        ends.append((line[0] - high, line[0] - low) if backwards else (low, high))
    return np.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], axis=1)


def best_plane(image: Image, truth: Any) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Choose the plane with the most labels, or the middle one; across the body's long axis where it is known."""
    if image.grid.dims == 2:
        return (slice(None), slice(None)), (0, 1)
    axis = next((a for a, letter in enumerate(image.grid.orientation) if letter in "SI"), 2)
    rest = tuple(a for a in range(3) if a != axis)
    if isinstance(truth, Boxes) and len(truth.corners):
        ends = map_boxes(truth.corners, image.grid.index)[:, [axis, axis + 3]]
        middles = ends.mean(axis=1)
        index = int(middles[((ends[:, :1] <= middles) & (middles <= ends[:, 1:])).sum(axis=0).argmax()].round())
    elif isinstance(truth, LabelMap) and truth.array.any():
        index = int((truth.array > 0).sum(axis=rest).argmax())
    else:
        index = image.grid.shape[axis] // 2
    plane: list[Any] = [slice(None)] * 3
    plane[axis] = index
    return tuple(plane), rest[::-1]


def upright(flat: NDArray[Any], image: Image) -> NDArray[Any]:
    """Lay a plane of a volume as radiologists do: the front on top, the patient's right on the left."""
    if image.grid.dims == 2:
        return flat
    axes = [a for a, letter in enumerate(image.grid.orientation) if letter not in "SI"]
    letters = [image.grid.orientation[a] for a in axes]
    if letters[0] in "AP":
        flat, letters = flat.swapaxes(0, 1), letters[::-1]
    if letters[0] == "R":
        flat = flat[::-1]
    if letters[1] == "A":
        flat = flat[:, ::-1]
    return flat.swapaxes(0, 1)


def eight_bit(image: Image, plane: tuple[Any, ...]) -> NDArray[np.uint8]:
    """Stretch a plane to 0 to 255, colours kept, and shrink it if it is large."""
    flat = np.nan_to_num(image.array[plane].astype(np.float64))
    flat = upright(flat, image)
    if flat.ndim == 3 and flat.shape[-1] not in (3,):
        flat = flat[..., 0]
    low, high = np.percentile(flat, [0.5, 99.5])
    if image.array.dtype == np.uint8:
        low, high = 0.0, 255.0
    return (np.clip((flat - low) / max(high - low, 1e-9), 0, 1) * 255).round().astype(np.uint8)
