"""The pixel confusion matrix over all cases: F1, sensitivity, specificity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.types import LabelMap
from ._labels import mask_pairs
from ._metric import F1, SPECIFICITY, Figure, Metric, Row
from ._rows import labels_after, weighted_sums
from ._scores import Numbers, divide_or_nan, none_for_nan

COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give the counts of each label inside the region, and the case's own F1, sensitivity and specificity."""
    inside = int((region.array != 0).sum()) if region is not None else truth.array.size
    row: dict[str, float | None] = {}
    for pair in mask_pairs(truth, answer, region):
        both = int((pair.truth & pair.answer).sum())
        extra, missed = int(pair.answer.sum()) - both, int(pair.truth.sum()) - both
        counts = (float(both), float(extra), float(missed), float(inside - both - extra - missed))
        row |= {f"{word}/{pair.label}": v for word, v in zip(COUNTS, counts, strict=True)}
        found = f1_sensitivity_specificity(pair.label, *(np.array([v]) for v in counts))
        row |= none_for_nan({name: float(v[0]) for name, v in found.items()})
    return row


def f1_sensitivity_specificity(label: str, tp: Numbers, fp: Numbers, fn: Numbers, tn: Numbers) -> dict[str, Numbers]:
    """Turn counts into shares; nan where there is nothing to share."""
    return {
        f"f1/{label}": divide_or_nan(2 * tp, 2 * tp + fp + fn),
        f"sensitivity/{label}": divide_or_nan(tp, tp + fn),
        f"specificity/{label}": divide_or_nan(tn, tn + fp),
    }


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give the shares over the pixels of all cases together, so that a case counts by its size."""
    figures: dict[str, Numbers] = {}
    for label in labels_after(rows, COUNTS[0]):
        figures |= f1_sensitivity_specificity(label, *weighted_sums(rows, weights, COUNTS, label))
    return figures


def pixel_count_figure(definition: str) -> Figure:
    """Describe a number of pixels."""
    return Figure("zero", definition, worst=None, unit="px", bounds=None)


THIS = Metric(
    input_kind="labels",
    compute=compute,
    pool=pool,
    figures={
        "f1": F1,
        "sensitivity": Figure(
            "higher", "The share of the truth's pixels that the answer has, over all cases together."
        ),
        "specificity": SPECIFICITY,
        "true_positives": pixel_count_figure("Pixels that truth and answer have."),
        "false_positives": pixel_count_figure("Pixels that just the answer has."),
        "false_negatives": pixel_count_figure("Pixels that just the truth has."),
        "true_negatives": pixel_count_figure("Pixels that neither has."),
    },
)
