"""Intersection over union of boxes, for arrays of numpy and of torch alike.

Boxes are (..., 2 * dims): the lower corner, then the upper. An empty box has no volume and shares nothing. ``xp`` is
the module that the arrays belong to. Everything is computed axis by axis, so that no (n, m, axes) array is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Corners = tuple[list[Any], list[Any]]
"""The lower corners of boxes and their upper ones, an array an axis."""


def volumes(boxes: Any, xp: Any = np) -> Any:
    """Give the area or the volume of boxes (..., 2 * dims), 0 for those that are empty.

    >>> volumes(np.array([[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 0.0, 5.0]])).tolist()
    [6.0, 0.0]
    """
    low, high = corners_by_axis(boxes)
    return product_of_sides(low, high, xp)


def iou(a: Any, b: Any, xp: Any = np) -> Any:
    """Give intersection over union of all boxes a (..., n, 2 * dims) with all b (..., m, 2 * dims), (..., n, m).

    >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])).tolist()
    [[0.5, 0.0]]
    """
    shared, union = intersection_and_union(corners_by_axis(a[..., :, None, :]), corners_by_axis(b[..., None, :, :]), xp)
    return shared / xp.where(union > 0, union, 1.0)


def intersection_and_union(a: Corners, b: Corners, xp: Any = np) -> tuple[Any, Any]:
    """Give what boxes a share with the boxes b at the same places, and what both fill together."""
    (low_a, high_a), (low_b, high_b) = a, b
    low = [xp.maximum(p, q) for p, q in zip(low_a, low_b, strict=True)]
    high = [xp.minimum(p, q) for p, q in zip(high_a, high_b, strict=True)]
    shared = product_of_sides(low, high, xp)
    return shared, product_of_sides(low_a, high_a, xp) + product_of_sides(low_b, high_b, xp) - shared


def corners_by_axis(boxes: Any) -> Corners:
    """Split boxes into their lower and their upper corners, an array an axis."""
    dims = boxes.shape[-1] // 2
    return [boxes[..., axis] for axis in range(dims)], [boxes[..., axis + dims] for axis in range(dims)]


def product_of_sides(low: list[Any], high: list[Any], xp: Any = np) -> Any:
    """Multiply the lengths of the sides; a side that ends before it begins has the length 0."""
    product: Any = None
    for start, end in zip(low, high, strict=True):
        side = xp.clip(end - start, 0, None)
        product = side if product is None else product * side
    return product
