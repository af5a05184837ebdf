"""Pixels that were right and wrong, counted over all cases together."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.types import LabelMap
from ._labels import pairs
from ._metric import F1, SPECIFICITY, Figure, Metric, Row

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
        row |= shares(pair.label, *counts)
    return row


def shares(label: str, tp: float, fp: float, fn: float, tn: float) -> dict[str, float | None]:
    """Turn counts into shares; None where there is nothing to share."""
    return {
        f"f1/{label}": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        f"sensitivity/{label}": tp / (tp + fn) if tp + fn else None,
        f"specificity/{label}": tn / (tn + fp) if tn + fp else None,
    }


def pool(rows: Sequence[Row]) -> dict[str, float | None]:
    """Give the shares over the pixels of all cases together, so that a case counts by its size."""
    labels = dict.fromkeys(n.split("/", 1)[1] for row in rows for n in row if n.startswith("true_positives/"))
    figures: dict[str, float | None] = {}
    for label in labels:
        tp, fp, fn, tn = (sum(row.get(f"{word}/{label}") or 0.0 for row in rows) for word in COUNTS)
        figures |= shares(label, tp, fp, fn, tn)
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
