"""What a network said, as the answer that the task would give: the same decoding, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Boxes, Grid, Image, LabelMap, Scores
from ..data.types import map_boxes
from .boxes import calibrated, clip, drop_truncated, joined, nms, take

CANDIDATES = 10
"""Of so many times the boxes that are kept, the likeliest are thinned."""


def labels(logits: NDArray[Any], grid: Grid, task: Mapping[str, Any]) -> LabelMap:
    """Give the likeliest label of every element, of logits (classes, *shape)."""
    return LabelMap(largest(logits), grid, dict(enumerate(task["labels"], 1)))


def largest(planes: NDArray[Any]) -> NDArray[Any]:
    """Tell which of planes (n, *shape) is the largest at each element, the first of equal ones.

    One plane after another is held to the largest so far, which is several times faster than ``argmax``: that takes
    one element after another, through all planes.

    >>> largest(np.array([[0.0, 3.0, 1.0], [2.0, 3.0, -1.0]])).tolist()
    [1, 0, 0]
    """
    best = planes[0].copy()
    found = np.zeros(best.shape, np.uint8 if len(planes) <= 256 else np.int32)
    over = np.empty(best.shape, np.bool_)
    for number in range(1, len(planes)):
        np.greater(planes[number], best, out=over)
        np.maximum(planes[number], best, out=best)
        np.maximum(found, over * found.dtype.type(number), out=found)
    return found


def probabilities(logits: NDArray[Any], grid: Grid, task: Mapping[str, Any]) -> Image:
    """Give how likely each label is, (*shape, labels), of logits (classes, *shape)."""
    shares = np.exp(logits - logits.max(axis=0), dtype=np.float32)
    shares /= shares.sum(axis=0)
    return Image(np.moveaxis(shares[1:], 0, -1), grid, "other", {"labels": tuple(task["labels"])})


def likeliest(said: Image) -> LabelMap:
    """Give the likeliest label of every element, of chances (*shape, labels).

    >>> grid = Grid.of((1, 3))
    >>> likeliest(Image(np.array([[[0.2, 0.1], [0.2, 0.5], [0.4, 0.3]]]), grid, None, {"labels": "ab"})).array.tolist()
    [[0, 2, 1]]
    """
    planes = said.planes
    best = planes.argmax(axis=0) + 1
    found = np.where(planes.max(axis=0) > 1 - planes.sum(axis=0), best, 0)
    kind = np.uint8 if len(planes) < 255 else np.int32
    return LabelMap(found.astype(kind), said.grid, dict(enumerate(said.tags["labels"], 1)))


def scores(chances: NDArray[Any], task: Mapping[str, Any]) -> Scores:
    """Give probabilities (classes,); where just one class can hold, they sum to 1 to the last digit."""
    values = chances.astype(np.float64)
    return Scores(values / values.sum() if task["exclusive"] else values, tuple(task["labels"]), task["exclusive"])


def boxes(corners: NDArray[Any], chances: NDArray[Any], grid: Grid, task: Mapping[str, Any]) -> Boxes:
    """Give the boxes that are left of candidates (n, 2 * dims) with chances (n, classes), in the patient's space."""
    where, kinds = np.nonzero(chances > task["least"])
    best = np.argsort(-chances[where, kinds], kind="stable")[: CANDIDATES * task["kept"]]
    where, kinds = where[best], kinds[best].astype(np.int64)
    found, sure = corners[where], chances[where, kinds]
    chosen = nms(found, sure, overlap=task["overlap"], labels=kinds)[: task["kept"]]
    world = map_boxes(clip(found[chosen].astype(np.float64), grid.shape), grid.world)
    told = calibrated(sure[chosen].astype(np.float64), kinds[chosen], slopes=task["slopes"], shifts=task["shifts"])
    return Boxes(world, kinds[chosen], told, dict(enumerate(task["labels"])))


def gathered(answers: Sequence[Boxes], windows: Sequence[Grid], grid: Grid, task: Mapping[str, Any]) -> Boxes:
    """Put the boxes of overlapping windows of an image together, once."""
    if len(answers) == 1:
        return answers[0]
    every = joined([drop_truncated(a, w, grid) for a, w in zip(answers, windows, strict=True)])
    assert every.scores is not None
    at = map_boxes(every.corners, grid.index)
    return take(every, nms(at, every.scores, overlap=task["overlap"], labels=every.labels)[: task["kept"]])
