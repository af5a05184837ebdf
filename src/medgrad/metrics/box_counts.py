"""Box counts above a score threshold: sensitivity, precision, false positives, counting error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.box_overlap import iou
from ..data.types import Boxes, LabelMap
from ._boxes import OBJECT_COUNT, Numbers, boxes_by_label, match_at_thresholds
from ._metric import Figure, Metric, Row
from ._rows import labels_after, weighted_means, weighted_sums
from ._scores import divide_or_nan, none_for_nan

MIN_SCORE = 0.5
MIN_IOU = {2: 0.5, 3: 0.1}
COUNTS = ("objects", "boxes_answered", "boxes_right")


def compute(truth: Boxes, answer: Boxes, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give the counts of each label in a case, and the figures made of them."""
    row: dict[str, float | None] = {}
    for found in boxes_by_label(truth, answer, region):
        said = found.answer[found.scores >= MIN_SCORE]
        right = int(match_at_thresholds(iou(said, found.truth), [MIN_IOU[said.shape[1] // 2]]).sum())
        counts = [float(v) for v in (len(found.truth), len(said), right)]
        row |= {f"{word}/{found.label}": v for word, v in zip(COUNTS, counts, strict=True)}
        row[f"box_false_positives/{found.label}"] = counts[1] - counts[2]
        row[f"count_error/{found.label}"] = abs(counts[1] - counts[0])
        shared = sensitivity_and_precision(found.label, *(np.array([v]) for v in counts))
        row |= none_for_nan({name: float(v[0]) for name, v in shared.items()})
    return row


def sensitivity_and_precision(label: str, objects: Numbers, answered: Numbers, right: Numbers) -> dict[str, Numbers]:
    """Turn counts into shares; nan where there is nothing to find, or nothing said."""
    return {
        f"box_sensitivity/{label}": divide_or_nan(right, objects),
        f"box_precision/{label}": divide_or_nan(right, answered),
    }


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give sensitivity and precision over all objects of a set, and false positives and counting error a case."""
    figures: dict[str, Numbers] = {}
    for label in labels_after(rows, "boxes_answered"):
        figures |= sensitivity_and_precision(label, *weighted_sums(rows, weights, COUNTS, label))
        figures |= weighted_means(rows, weights, [f"box_false_positives/{label}", f"count_error/{label}"])
    return figures


MATCHING_RULE = (
    f"Answers with a score of at least {MIN_SCORE:g} count. Each, from the best score on, finds the free object of its "
    f"label that it overlaps most, if their intersection over union is at least {MIN_IOU[2]:g} (in 3D, {MIN_IOU[3]:g})."
)

THIS = Metric(
    input_kind="boxes",
    compute=compute,
    pool=pool,
    figures={
        "box_sensitivity": Figure("higher", f"Of all objects, the share that is found. {MATCHING_RULE}"),
        "box_precision": Figure("higher", f"Of all answers, the share that finds an object. {MATCHING_RULE}"),
        "box_false_positives": Figure(
            "lower", f"Answers that find no object, a case. {MATCHING_RULE}", worst=None, bounds=None, unit="a case"
        ),
        "count_error": Figure(
            "lower",
            f"How far the number of answers with a score of at least {MIN_SCORE:g} is from that of "
            "objects, either way, the "
            "mean over the cases.",
            worst=None,
            bounds=None,
            unit="a case",
        ),
        "objects": OBJECT_COUNT,
        "boxes_answered": Figure("zero", f"Answers with a score of at least {MIN_SCORE:g}.", worst=None, bounds=None),
        "boxes_right": Figure("higher", "Answers of these that find an object.", bounds=None),
    },
)
