"""Boxes as numbers: cut at edges, thinned where they overlap, put together from windows, scored as they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Boxes, Grid
from ..data.types import map_boxes
from ..trust import likelihood


def nms(
    corners: NDArray[Any], scores: NDArray[Any], *, overlap: float = 0.5, labels: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Give which boxes (n, 2 * dims) are left, best score first, when each suppresses those that overlap it by more.

    With ``labels``, only boxes of one label suppress each other. Of equal scores the earlier box comes first.

    >>> nms(np.array([[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]]), np.array([0.5, 0.9, 0.1])).tolist()
    [1, 2]
    """
    waits = np.argsort(-np.asarray(scores), kind="stable")
    kept = []
    while len(waits):
        best, waits = waits[0], waits[1:]
        kept.append(int(best))
        clash = iou(corners[best], corners[waits]) > overlap
        if labels is not None:
            clash &= labels[waits] == labels[best]
        waits = waits[~clash]
    return np.array(kept, np.int64)


def iou(one: NDArray[Any], many: NDArray[Any]) -> NDArray[Any]:
    """Give intersection over union of a box (2 * dims) with each of many (n, 2 * dims); nothing shares nothing.

    >>> iou(np.array([0.0, 0, 2, 2]), np.array([[1.0, 0, 2, 2], [5, 5, 6, 6]])).tolist()
    [0.5, 0.0]
    """
    dims = len(one) // 2
    low, high = np.maximum(one[:dims], many[:, :dims]), np.minimum(one[dims:], many[:, dims:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    union = volumes(one[None]) + volumes(many) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def volumes(corners: NDArray[Any]) -> NDArray[Any]:
    """Give the area or the volume of boxes (n, 2 * dims), 0 for those that are empty."""
    dims = corners.shape[1] // 2
    return np.asarray(np.maximum(corners[:, dims:] - corners[:, :dims], 0).prod(axis=1))


def calibrated(
    scores: NDArray[np.float64], labels: NDArray[np.int64], *, slopes: Sequence[float], shifts: Sequence[float]
) -> NDArray[np.float64]:
    """Give scores as what they were found to mean, by a slope and a shift a class; without any, as they are."""
    if not len(slopes):
        return scores
    new = scores.copy()
    for kind, (slope, shift) in enumerate(zip(slopes, shifts, strict=True)):
        new[labels == kind] = likelihood.applied(scores[labels == kind], slope, shift)
    return new


def clip(corners: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """Cut boxes, in elements, at the edges of an image."""
    return np.asarray(np.clip(corners, -0.5, np.tile(np.array(shape) - 0.5, 2)))


def drop_truncated(boxes: Boxes, window: Grid, grid: Grid) -> Boxes:
    """Leave out the boxes that end at an edge of a window which is not one of the image."""
    dims = grid.dims
    begin = grid.index(window.world(np.zeros(dims))).round()
    size = np.array(window.shape)
    at = map_boxes(boxes.corners, window.index)
    ends_low = (at[:, :dims] <= 0.5) & (begin > 0)
    ends_high = (at[:, dims:] >= size - 1.5) & (begin + size < np.array(grid.shape))
    too_large = (at[:, dims:] - at[:, :dims]) > size / 2
    return take(boxes, np.flatnonzero(~((ends_low | ends_high) & ~too_large).any(axis=1)))


def joined(boxes: Sequence[Boxes]) -> Boxes:
    """Put answers one after another."""
    return Boxes(
        np.concatenate([b.corners for b in boxes]),
        np.concatenate([b.labels for b in boxes]),
        np.concatenate([b.scores if b.scores is not None else np.ones(len(b.corners)) for b in boxes]),
        boxes[0].names,
    )


def take(boxes: Boxes, chosen: NDArray[np.int64]) -> Boxes:
    """Give some of the boxes."""
    scores = None if boxes.scores is None else boxes.scores[chosen]
    return replace(boxes, corners=boxes.corners[chosen], labels=boxes.labels[chosen], scores=scores)
