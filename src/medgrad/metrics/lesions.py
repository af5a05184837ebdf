"""Lesion-wise detection: sensitivity, false positives and F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data.types import LabelMap
from ._labels import Mask, mask_pairs
from ._metric import Figure, Metric, Row
from ._rows import labels_after, weighted_means, weighted_sums
from ._scores import Numbers, divide_or_nan, none_for_nan

MIN_COVERAGE = 0.1
COUNTS = ("count", "found", "answers", "false_positives")


def covered_components(mask: Mask, other: Mask) -> NDArray[np.bool_]:
    """Tell of each connected part of ``mask`` whether at least a tenth of it lies in ``other``.

    >>> covered_components(np.array([1, 1, 0, 1], bool), np.array([1, 0, 0, 0], bool)).tolist()
    [True, False]
    """
    numbered, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    size = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    shared = np.bincount(numbered[other], minlength=count + 1)[1:]
    return shared >= np.maximum(MIN_COVERAGE * size, 1)


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give lesions by count: sensitivity, false positives and F1 of each label, and the counts behind them.

    A lesion is a connected part, diagonals included. One of the truth is found where the answer covers at least a tenth
    of it; one of the answer is false where the truth covers less than a tenth of it.
    """
    row: dict[str, float | None] = {}
    for pair in mask_pairs(truth, answer, region):
        hit, right = covered_components(pair.truth, pair.answer), covered_components(pair.answer, pair.truth)
        counts = (float(len(hit)), float(hit.sum()), float(len(right)), float((~right).sum()))
        row |= {f"lesion_{word}/{pair.label}": v for word, v in zip(COUNTS, counts, strict=True)}
        found = sensitivity_and_f1(pair.label, *(np.array([v]) for v in counts))
        row |= none_for_nan({name: float(v[0]) for name, v in found.items()})
    return row


def sensitivity_and_f1(
    label: str, count: Numbers, found: Numbers, answers: Numbers, false: Numbers
) -> dict[str, Numbers]:
    """Turn counts into shares; nan where there is nothing to find, or nothing at all."""
    sensitivity, precision = (
        np.nan_to_num(divide_or_nan(found, count)),
        np.nan_to_num(divide_or_nan(answers - false, answers)),
    )
    f1 = np.nan_to_num(divide_or_nan(2 * sensitivity * precision, sensitivity + precision))
    return {
        f"lesion_sensitivity/{label}": np.where(count > 0, sensitivity, np.nan),
        f"lesion_f1/{label}": np.where(count + answers > 0, f1, np.nan),
    }


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give sensitivity and F1 over all lesions of a set, and the false positives a case."""
    figures: dict[str, Numbers] = {}
    for label in labels_after(rows, "lesion_count"):
        figures |= sensitivity_and_f1(
            label, *weighted_sums(rows, weights, [f"lesion_{word}" for word in COUNTS], label)
        )
        figures |= weighted_means(rows, weights, [f"lesion_false_positives/{label}"])
    return figures


THIS = Metric(
    input_kind="labels",
    compute=compute,
    pool=pool,
    figures={
        "lesion_sensitivity": Figure(
            "higher",
            "Of all lesions (connected parts) of the truth, the share of which the answer covers at least a tenth.",
        ),
        "lesion_false_positives": Figure(
            "lower",
            "Lesions of the answer, a case, of which the truth covers less than a tenth.",
            worst=None,
            bounds=None,
            unit="a case",
        ),
        "lesion_f1": Figure(
            "higher",
            "The harmonic mean of lesion sensitivity and of the share of the answer's lesions that are true. A set "
            "without any lesion in truth and answer does not count.",
        ),
        "lesion_count": Figure("zero", "Lesions of the truth.", worst=None, bounds=None),
        "lesion_found": Figure("higher", "Lesions of the truth that were found.", bounds=None),
        "lesion_answers": Figure("zero", "Lesions of the answer.", worst=None, bounds=None),
    },
)
