"""Average precision of boxes, as COCO computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.box_overlap import iou
from ..data.types import Boxes, LabelMap
from ._boxes import OBJECT_COUNT, Numbers, boxes_by_label, format_scores, match_at_thresholds, parse_scores
from ._metric import Figure, Metric, Row
from ._rows import labels_after, weighted_sums
from ._scores import divide_or_nan, mean_ignoring_nan, none_for_nan

COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
IOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, *COCO_THRESHOLDS.tolist())
REPORTED_THRESHOLDS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.75")
THRESHOLD_NAMES = [f"{level:.2g}" for level in IOU_THRESHOLDS]
RECALLS = np.linspace(0, 1, 101)
MAX_ANSWERS = 1000


def compute(truth: Boxes, answer: Boxes, *, region: LabelMap | None = None) -> dict[str, float | str | None]:
    """Give the row of a case: its objects, the scores with what they hit, and the figures of the case by itself."""
    row: dict[str, float | str | None] = {}
    for found in boxes_by_label(truth, answer, region):
        hit = match_at_thresholds(iou(found.answer[:MAX_ANSWERS], found.truth), IOU_THRESHOLDS)
        row[f"objects/{found.label}"] = float(len(found.truth))
        row[f"prob/{found.label}"] = format_scores(found.scores[:MAX_ANSWERS], [format_hits(h) for h in hit])
    figures = pool([row], np.ones((1, 1)))
    return {**row, **none_for_nan({name: float(v[0]) for name, v in figures.items()})}


def format_hits(hit: NDArray[np.bool_]) -> str:
    """Format at which IoU thresholds an answer hits: the highest, or each of them where they are not consecutive.

    >>> format_hits(np.arange(14) < 5), format_hits(np.zeros(14, bool))
    ('0.5', '0')
    """
    n = int(hit.sum())
    if not n:
        return "0"
    return (
        THRESHOLD_NAMES[n - 1]
        if hit[:n].all()
        else "+".join(w for w, h in zip(THRESHOLD_NAMES, hit.tolist(), strict=True) if h) + "+"
    )


def parse_hits(word: str) -> list[bool]:
    """Read what ``format_hits`` wrote.

    >>> sum(parse_hits("0.5")), sum(parse_hits("0.1+0.3+")), sum(parse_hits("0"))
    (5, 2, 0)
    """
    if word == "0":
        return [False] * len(THRESHOLD_NAMES)
    if word.endswith("+"):
        return [w in word.split("+") for w in THRESHOLD_NAMES]
    return [i <= THRESHOLD_NAMES.index(word) for i in range(len(THRESHOLD_NAMES))]


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give the average precision of each label over all cases, and the mean over the labels that have objects."""
    labels = labels_after(rows, "prob")
    if not labels:
        return {}
    each = np.stack([average_precisions(rows, weights, label) for label in labels])  # (labels, b, levels)
    figures: dict[str, Numbers] = {}
    for word in REPORTED_THRESHOLDS:
        at = each[:, :, THRESHOLD_NAMES.index(word)]
        figures |= {f"ap@{word}/{label}": at[i] for i, label in enumerate(labels)}
        figures[f"map@{word}"] = mean_ignoring_nan(at.T)
    whole = each[:, :, -len(COCO_THRESHOLDS) :].mean(axis=2)
    figures |= {f"ap/{label}": whole[i] for i, label in enumerate(labels)}
    return {**figures, "map": mean_ignoring_nan(whole.T)}


def average_precisions(rows: Sequence[Row], weights: Numbers, label: str) -> Numbers:
    """Give the average precision of one label at each level, (b, levels); nan where there is no object."""
    (objects,) = weighted_sums(rows, weights, ["objects"], label)
    said = parse_scores(rows, f"prob/{label}")
    known, which = np.unique(said.words, return_inverse=True)
    hit = np.array([parse_hits(str(w)) for w in known], bool).reshape(-1, len(THRESHOLD_NAMES))[which]
    count = weights[:, said.row].cumsum(axis=1)
    found = [
        interpolated_precision(hit[:, i], count, weights, said.row, said.last, objects)
        for i in range(len(THRESHOLD_NAMES))
    ]
    return np.where(objects[:, None] > 0, np.stack(found, axis=1), np.nan)


def interpolated_precision(
    hit: NDArray[np.bool_],
    count: Numbers,
    weights: Numbers,
    rows: NDArray[np.int64],
    last: NDArray[np.int64],
    objects: Numbers,
) -> Numbers:
    """Average over 101 recalls the best precision at that recall or a higher one, (b,).

    ``count`` (b, answers) counts answers from the best on. Only answers that hit are looked at: between them precision
    falls and recall stays.
    """
    at = np.flatnonzero(hit)
    if not len(at):
        return np.zeros(len(weights))
    ends = np.flatnonzero(np.r_[last[at][1:] != last[at][:-1], True])  # the last hit of each score
    right = weights[:, rows[at]].cumsum(axis=1)[:, ends]
    best = np.nan_to_num(divide_or_nan(right, count[:, last[at][ends]]))
    best = np.maximum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    recall = np.nan_to_num(divide_or_nan(right, np.broadcast_to(objects[:, None], right.shape)))
    return np.array([b[np.searchsorted(r, RECALLS)].mean() for b, r in zip(best, recall, strict=True)])


MATCHING_RULE = (
    f"Answers are taken from the best score on, at most {MAX_ANSWERS} of a label a case; each finds the "
    "free object of its "
    "label that it overlaps most, if their intersection over union is at least"
)
AP_DEFINITION = "The mean precision over 101 recalls of one label, as COCO counts it, all cases together."

THIS = Metric(
    input_kind="boxes",
    compute=compute,
    pool=pool,
    figures={
        **{
            f"ap@{w}": Figure("higher", f"{AP_DEFINITION} {MATCHING_RULE} {w}.", rank_only=True)
            for w in REPORTED_THRESHOLDS
        },
        **{
            f"map@{w}": Figure(
                "higher", f"The mean of ap@{w} over the labels that have objects. {MATCHING_RULE} {w}.", rank_only=True
            )
            for w in REPORTED_THRESHOLDS
        },
        "ap": Figure(
            "higher", f"{AP_DEFINITION} {MATCHING_RULE} 0.5, 0.55, ... 0.95; the mean over these ten.", rank_only=True
        ),
        "map": Figure(
            "higher",
            f"The mean of ap over the labels that have objects. {MATCHING_RULE} 0.5, 0.55, ... 0.95.",
            rank_only=True,
        ),
        "objects": OBJECT_COUNT,
        "prob": Figure(
            "zero",
            "The score of each answer of the label, and the overlap up to which it finds an object.",
            worst=None,
            bounds=None,
        ),
    },
)
