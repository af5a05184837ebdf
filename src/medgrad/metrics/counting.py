"""Box counts above a score threshold: sensitivity, precision, false positives, counting error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.box_overlap import iou
from ..data.types import Boxes, LabelMap
from ._boxes import OBJECTS, Numbers, found_by_label, hits
from ._metric import Figure, Metric, Row
from ._rows import labels_with, means, sums
from ._scores import none_for_nan, ratio

SURE = 0.5
LEAST = {2: 0.5, 3: 0.1}
COUNTS = ("objects", "boxes_said", "boxes_right")


def compute(truth: Boxes, answer: Boxes, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give the counts of each label in a case, and the figures made of them."""
    row: dict[str, float | None] = {}
    for found in found_by_label(truth, answer, region):
        said = found.answer[found.scores >= SURE]
        right = int(hits(iou(said, found.truth), [LEAST[said.shape[1] // 2]]).sum())
        counts = [float(v) for v in (len(found.truth), len(said), right)]
        row |= {f"{word}/{found.label}": v for word, v in zip(COUNTS, counts, strict=True)}
        row[f"box_false_positives/{found.label}"] = counts[1] - counts[2]
        row[f"count_error/{found.label}"] = abs(counts[1] - counts[0])
        shared = shares(found.label, *(np.array([v]) for v in counts))
        row |= none_for_nan({name: float(v[0]) for name, v in shared.items()})
    return row


def shares(label: str, objects: Numbers, said: Numbers, right: Numbers) -> dict[str, Numbers]:
    """Turn counts into shares; nan where there is nothing to find, or nothing said."""
    return {f"box_sensitivity/{label}": ratio(right, objects), f"box_precision/{label}": ratio(right, said)}


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give sensitivity and precision over all objects of a set, and false positives and counting error a case."""
    figures: dict[str, Numbers] = {}
    for label in labels_with(rows, "boxes_said"):
        figures |= shares(label, *sums(rows, weights, COUNTS, label))
        figures |= means(rows, weights, [f"box_false_positives/{label}", f"count_error/{label}"])
    return figures


HOW = (
    f"Answers with a score of at least {SURE:g} count. Each, from the best score on, finds the free object of its "
    f"label that it overlaps most, if their intersection over union is at least {LEAST[2]:g} (in 3D, {LEAST[3]:g})."
)

THIS = Metric(
    on="boxes",
    compute=compute,
    pool=pool,
    figures={
        "box_sensitivity": Figure("higher", f"Of all objects, the share that is found. {HOW}"),
        "box_precision": Figure("higher", f"Of all answers, the share that finds an object. {HOW}"),
        "box_false_positives": Figure(
            "lower", f"Answers that find no object, a case. {HOW}", worst=None, bounds=None, unit="a case"
        ),
        "count_error": Figure(
            "lower",
            f"How far the number of answers with a score of at least {SURE:g} is from that of objects, either way, the "
            "mean over the cases.",
            worst=None,
            bounds=None,
            unit="a case",
        ),
        "objects": OBJECTS,
        "boxes_said": Figure("zero", f"Answers with a score of at least {SURE:g}.", worst=None, bounds=None),
        "boxes_right": Figure("higher", "Answers of these that find an object.", bounds=None),
    },
)
