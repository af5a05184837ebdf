"""The pixel confusion matrix over all cases: F1, sensitivity, specificity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.types import LabelMap
from ._labels import pairs
from ._metric import F1, SPECIFICITY, Figure, Metric, Row
from ._rows import labels_with, sums
from ._scores import Numbers, none_for_nan, ratio

COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give the counts of each label inside the region, and the case's own F1, sensitivity and specificity."""
    inside = int((region.array != 0).sum()) if region is not None else truth.array.size
    row: dict[str, float | None] = {}
    for pair in pairs(truth, answer, region):
        both = int((pair.truth & pair.answer).sum())
        extra, missed = int(pair.answer.sum()) - both, int(pair.truth.sum()) - both
        counts = (float(both), float(extra), float(missed), float(inside - both - extra - missed))
        row |= {f"{word}/{pair.label}": v for word, v in zip(COUNTS, counts, strict=True)}
        found = shares(pair.label, *(np.array([v]) for v in counts))
        row |= none_for_nan({name: float(v[0]) for name, v in found.items()})
    return row


def shares(label: str, tp: Numbers, fp: Numbers, fn: Numbers, tn: Numbers) -> dict[str, Numbers]:
    """Turn counts into shares; nan where there is nothing to share."""
    return {
        f"f1/{label}": ratio(2 * tp, 2 * tp + fp + fn),
        f"sensitivity/{label}": ratio(tp, tp + fn),
        f"specificity/{label}": ratio(tn, tn + fp),
    }


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give the shares over the pixels of all cases together, so that a case counts by its size."""
    figures: dict[str, Numbers] = {}
    for label in labels_with(rows, COUNTS[0]):
        figures |= shares(label, *sums(rows, weights, COUNTS, label))
    return figures


def count(says: str) -> Figure:
    """Describe a number of pixels."""
    return Figure("zero", says, worst=None, unit="px", bounds=None)


THIS = Metric(
    on="labels",
    compute=compute,
    pool=pool,
    figures={
        "f1": F1,
        "sensitivity": Figure(
            "higher", "The share of the truth's pixels that the answer has, over all cases together."
        ),
        "specificity": SPECIFICITY,
        "true_positives": count("Pixels that truth and answer have."),
        "false_positives": count("Pixels that just the answer has."),
        "false_negatives": count("Pixels that just the truth has."),
        "true_negatives": count("Pixels that neither has."),
    },
)
