"""Crop the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Grid, Image, LabelMap
from ._step import Memo, Step, map_images


@dataclass(frozen=True)
class Crop(Step):
    """Keep the box in which any image is above ``threshold``, with ``margin`` elements around it."""

    threshold: float = 0.0
    margin: int = 2

    def apply(self, case: Case) -> tuple[Case, Memo]:
        inside = np.zeros(case.grid.shape, bool)
        for image in case.images.values():
            for plane in image.channels_first:
                inside |= plane > self.threshold
        start, stop = bounding_box(inside, margin=self.margin)
        shape = [b - a for a, b in zip(start, stop, strict=True)]
        made = map_images(case, lambda i: crop_box(i, start, shape), lambda labels: crop_box(labels, start, shape))
        return made, Memo(case.grid)

    def undo_labels(self, labels: LabelMap, memo: Memo) -> LabelMap:
        return padded(labels, memo.grid)

    def undo_grid(self, image: Image, memo: Memo) -> Image:
        return padded(image, memo.grid)


def padded(thing: Any, before: Grid) -> Any:
    """Lay what was cut out back into the whole, with 0 around it."""
    start = [-round(v) for v in thing.grid.to_index(before.to_world(np.zeros(before.dims)))]
    return crop_box(thing, [-s for s in start], before.shape, grid=before)


def bounding_box(mask: NDArray[np.bool_], *, margin: int = 0) -> tuple[list[int], list[int]]:
    """Give the first and one past the last index along each axis of what is true; the whole if nothing is."""
    start, stop = [], []
    for axis, size in enumerate(mask.shape):
        line = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        start.append(max(0, int(line[0]) - margin) if line.size else 0)
        stop.append(min(size, int(line[-1]) + 1 + margin) if line.size else size)
    return start, stop


def crop_box(
    image: Any, start: Sequence[int], shape: Sequence[int], *, grid: Grid | None = None, fill: float = 0
) -> Any:
    """Cut a box out of an image or a label map; what lies outside it is ``fill``."""
    array = image.array
    take, place = [], []
    for first, size, whole in zip(start, shape, array.shape, strict=False):
        a, b = max(0, first), min(whole, first + size)
        take.append(slice(a, max(a, b)))
        place.append(slice(a - first, max(a, b) - first))
    inner = array[tuple(take)]
    if inner.shape[: len(shape)] != tuple(shape):
        whole_array = np.full((*shape, *array.shape[len(shape) :]), fill, array.dtype)
        whole_array[tuple(place)] = inner
        inner = whole_array
    return replace(image, array=inner, grid=grid or image.grid.crop(start, shape))


THIS = Crop
