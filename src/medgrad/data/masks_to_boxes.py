"""Convert masks to bounding boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .types import Boxes, LabelMap, map_boxes


def instances_to_boxes(labels: LabelMap, names: Mapping[int, str]) -> Boxes:
    """Give the bounding box of each object of an instance map, all with the first label of ``names``.

    A map with a single value does not separate its objects: then each connected component is one.
    """
    array = labels.array
    if len(np.unique(array[array > 0])) < 2:
        array = connected_components(array > 0)
    return components_to_boxes(labels, array, np.zeros(int(array.max(initial=0)), np.int64), names)


def labels_to_boxes(labels: LabelMap) -> Boxes:
    """Give the bounding box of each connected component (diagonals included) of each label.

    >>> from .grid import Grid
    >>> found = labels_to_boxes(LabelMap(np.array([[1, 1, 0, 2]]), Grid.from_shape((1, 4)), {1: "a", 2: "b"}))
    >>> found.corners.tolist(), found.labels.tolist()
    ([[-0.5, -0.5, 0.5, 1.5], [-0.5, 2.5, 0.5, 3.5]], [0, 1])
    """
    numbered = np.zeros(labels.array.shape, np.int64)
    label_of_part: list[int] = []
    for kind, value in enumerate(sorted(labels.names)):
        parts = connected_components(labels.array == value)
        numbered[parts > 0] = parts[parts > 0] + len(label_of_part)
        label_of_part += [kind] * int(parts.max(initial=0))
    names = {kind: labels.names[value] for kind, value in enumerate(sorted(labels.names))}
    return components_to_boxes(labels, numbered, np.array(label_of_part, np.int64), names)


def connected_components(mask: NDArray[Any]) -> NDArray[Any]:
    """Number the connected components of a mask."""
    numbered, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    return np.asarray(numbered)


def components_to_boxes(
    labels: LabelMap, numbered: NDArray[Any], label_of_number: NDArray[Any], names: Mapping[int, str]
) -> Boxes:
    """Give the bounding box of each number in an array; ``label_of_number`` has the label of each number from 1 on."""
    corners, found = [], []
    for number, place in enumerate(ndimage.find_objects(numbered)):
        if place is not None:
            corners.append([*(s.start - 0.5 for s in place), *(s.stop - 0.5 for s in place)])
            found.append(label_of_number[number])
    dims = labels.grid.dims
    world = map_boxes(np.array(corners, float).reshape(-1, 2 * dims), labels.grid.to_world)
    return Boxes(world, np.array(found, np.int64), None, names)
