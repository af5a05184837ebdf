"""Non-maximum suppression of boxes, for arrays of numpy and of torch alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .box_overlap import corners_by_axis, volumes

BLOCK = 256


def nms(boxes: Any, scores: Any, *, overlap: float = 0.5, labels: Any = None, xp: Any = np) -> Any:
    """Give which boxes (n, 2 * dims) are left, best score first, when each suppresses those that overlap it by more.

    With ``labels``, only boxes of one label suppress each other. Of equal scores the earlier box comes first. Memory
    grows with n, not with its square: the best 256 that are left are settled among themselves, and those kept of them
    suppress the rest. ``xp`` is the module that the arrays belong to.

    >>> nms(np.array([[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]]), np.array([0.5, 0.9, 0.1])).tolist()
    [1, 2]
    """
    order = xp.argsort(-scores, stable=True)
    left = SortedBoxes.of(boxes, order, labels, xp)
    kept = [order[:0]]
    with np.errstate(invalid="ignore"):  # nothing over nothing is not a number, and not more than any overlap
        while len(left.index):
            head, left = left.take(slice(BLOCK)), left.take(slice(BLOCK, None))
            head = head.take(unsuppressed(xp.triu(overlapping(head, head, overlap, xp), 1)))
            kept.append(head.index)
            if len(left.index):
                left = left.take(~overlapping(head, left, overlap, xp).any(0))
    return xp.concatenate(kept)


@dataclass(frozen=True)
class SortedBoxes:
    """Boxes from the best score on: their corners (2 * dims, n), their volumes, their labels and their places."""

    corners: Any
    size: Any
    labels: Any
    index: Any

    @classmethod
    def of(cls, boxes: Any, order: Any, labels: Any, xp: Any) -> SortedBoxes:
        ranked = boxes[order]
        return cls(xp.stack([*ranked.T], 0), volumes(ranked, xp), None if labels is None else labels[order], order)

    def take(self, which: Any) -> SortedBoxes:
        """Give some of the boxes, in their order."""
        labels = None if self.labels is None else self.labels[which]
        return SortedBoxes(self.corners[:, which], self.size[which], labels, self.index[which])


def overlapping(rows: SortedBoxes, columns: SortedBoxes, overlap: float, xp: Any) -> Any:
    """Tell which boxes overlap which others by more than is allowed, (rows, columns), with few arrays made anew."""
    low, high = corners_by_axis(rows.corners.T)
    other_low, other_high = corners_by_axis(columns.corners.T)
    shared: Any = None
    for start, end, other_start, other_end in zip(low, high, other_low, other_high, strict=True):
        side = xp.minimum(end[:, None], other_end)
        side -= xp.maximum(start[:, None], other_start)
        xp.clip(side, 0, None, out=side)
        if shared is not None:
            side *= shared
        shared = side
    union = rows.size[:, None] + columns.size
    union -= shared
    shared /= union
    found = shared > overlap
    return found if rows.labels is None or columns.labels is None else found & (rows.labels[:, None] == columns.labels)


def unsuppressed(suppresses: Any) -> Any:
    """Tell which boxes stay where box i, if it stays, suppresses box j > i of ``suppresses`` (n, n).

    That is settled for the first box; each turn settles at least one more, and usually all within a few turns.
    """
    stays, weights = suppresses.any(0) | True, suppresses * 1.0
    while True:
        again = (stays * 1.0) @ weights == 0
        if bool((again == stays).all()):
            return stays
        stays = again
