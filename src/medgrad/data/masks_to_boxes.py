"""Convert masks to bounding boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .types import Boxes, LabelMap, map_boxes


def boxes_of_objects(labels: LabelMap, names: Mapping[int, str]) -> Boxes:
    """Give the bounding box of each object of an instance map, all with the first label of ``names``.

    A map with a single value does not separate its objects: then each connected component is one.
    """
    array = labels.array
    if len(np.unique(array[array > 0])) < 2:
        array = parts_of(array > 0)
    return boxes_at(labels, array, np.zeros(int(array.max(initial=0)), np.int64), names)


def boxes_of_labels(labels: LabelMap) -> Boxes:
    """Give the bounding box of each connected component (diagonals included) of each label.

    >>> from .grid import Grid
    >>> found = boxes_of_labels(LabelMap(np.array([[1, 1, 0, 2]]), Grid.of((1, 4)), {1: "a", 2: "b"}))
    >>> found.corners.tolist(), found.labels.tolist()
    ([[-0.5, -0.5, 0.5, 1.5], [-0.5, 2.5, 0.5, 3.5]], [0, 1])
    """
    whole = np.zeros(labels.array.shape, np.int64)
    kinds: list[int] = []
    for kind, value in enumerate(sorted(labels.names)):
        parts = parts_of(labels.array == value)
        whole[parts > 0] = parts[parts > 0] + len(kinds)
        kinds += [kind] * int(parts.max(initial=0))
    names = {kind: labels.names[value] for kind, value in enumerate(sorted(labels.names))}
    return boxes_at(labels, whole, np.array(kinds, np.int64), names)


def parts_of(mask: NDArray[Any]) -> NDArray[Any]:
    """Number the connected components of a mask."""
    numbered, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    return np.asarray(numbered)


def boxes_at(labels: LabelMap, numbered: NDArray[Any], kinds: NDArray[Any], names: Mapping[int, str]) -> Boxes:
    """Give the bounding box of each number in an array; ``kinds`` has the label of each number from 1 on."""
    corners, found = [], []
    for number, place in enumerate(ndimage.find_objects(numbered)):
        if place is not None:
            corners.append([*(s.start - 0.5 for s in place), *(s.stop - 0.5 for s in place)])
            found.append(kinds[number])
    dims = labels.grid.dims
    world = map_boxes(np.array(corners, float).reshape(-1, 2 * dims), labels.grid.world)
    return Boxes(world, np.array(found, np.int64), None, names)
