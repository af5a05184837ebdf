"""How far two answers about one case agree, in one figure a kind of answer and those behind it.

``labels``  the share of elements with another label (of all, and of those that either calls foreground)
``chances`` the largest difference between two probabilities
``boxes``   the share of boxes without a partner: of the same class, overlapping by ``SAME``; and the largest difference
            of partners' scores

``off`` is the first of these: 0 where both say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data import Boxes, LabelMap, Scores
from ..boxes import iou

SAME = 0.9
"""Boxes that overlap by so much are one."""

TOLERANCE = {
    "float32": {"logits": 0.001, "chances": 0.001, "boxes": 0.01},
    "int8": {"logits": 0.01, "chances": 0.05, "boxes": 0.05},
}
"""How far off the answers of an artefact may be, by its precision and what its network gives.

Of boxes it is more, since of two that overlap by just about what suppresses one, the last digit decides.
"""


@dataclass(frozen=True)
class Agreement:
    """How far answers are off, on how many cases, and the figures behind it."""

    off: float
    cases: int
    figures: Mapping[str, float]

    @property
    def words(self) -> str:
        """The figures in a few words."""
        return ", ".join(f"{name} {value:.6g}" for name, value in self.figures.items())

    def as_dict(self) -> dict[str, Any]:
        """Give what a file can hold."""
        return {"off": self.off, "cases": self.cases, **self.figures}


def agreement(pairs: Sequence[tuple[Any, Any]]) -> Agreement:
    """Say how far pairs of answers, each about one case, agree together."""
    if not pairs:
        raise ValueError("There are no answers that could agree.")
    first = pairs[0][0]
    if isinstance(first, LabelMap):
        return labels_agree(pairs)
    if isinstance(first, Scores):
        largest = max(float(np.abs(a.values - b.values).max()) for a, b in pairs)
        return Agreement(largest, len(pairs), {"largest_difference": largest})
    return boxes_agree(pairs)


def labels_agree(pairs: Sequence[tuple[LabelMap, LabelMap]]) -> Agreement:
    """Count the elements that have one label, of all and of those that either side calls foreground.

    >>> from ...data import Grid
    >>> a, b = (LabelMap(np.array([values]), Grid.of((1, 4))) for values in ([0, 0, 1, 1], [0, 0, 1, 0]))
    >>> dict(labels_agree([(a, b)]).figures)
    {'equal': 0.75, 'equal_foreground': 0.5}
    """
    total = same = union = same_union = 0
    for a, b in pairs:
        equal, either = a.array == b.array, (a.array > 0) | (b.array > 0)
        total, same = total + equal.size, same + int(equal.sum())
        union, same_union = union + int(either.sum()), same_union + int(equal[either].sum())
    figures = {"equal": same / total, "equal_foreground": same_union / union if union else 1.0}
    return Agreement(1 - figures["equal"], len(pairs), figures)


def boxes_agree(pairs: Sequence[tuple[Boxes, Boxes]]) -> Agreement:
    """Count the boxes that have a partner on the other side; each is the partner of one."""
    boxes = matched = 0
    largest = 0.0
    for a, b in pairs:
        boxes += len(a.labels) + len(b.labels)
        free = np.ones(len(b.labels), bool)
        sure_a, sure_b = (np.ones(len(x.labels)) if x.scores is None else x.scores for x in (a, b))
        for number in range(len(a.labels)):
            shared = np.where(free & (b.labels == a.labels[number]), iou(a.corners[number], b.corners), -1.0)
            if len(shared) and shared.max() >= SAME:
                partner = int(shared.argmax())
                free[partner] = False
                matched += 2
                largest = max(largest, abs(float(sure_a[number] - sure_b[partner])))
    share = matched / boxes if boxes else 1.0
    return Agreement(1 - share, len(pairs), {"matched": share, "largest_score_difference": largest})
