"""Intersection over union, also named the Jaccard index."""

from __future__ import annotations

from ..data.types import LabelMap
from ._labels import MaskPair, judge_each_label
from ._metric import Figure, Metric


def iou(pair: MaskPair) -> float | None:
    """The overlap over the union; None if both are empty, 0 if one is."""
    union = int((pair.truth | pair.answer).sum())
    return int((pair.truth & pair.answer).sum()) / union if union else None


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``iou/<label>`` and ``iou/mean``; a label that is absent from truth and answer does not count."""
    return judge_each_label("iou", iou, truth, answer, region)


THIS = Metric(
    input_kind="labels",
    compute=compute,
    figures={
        "iou": Figure(
            "higher",
            "The overlap of truth and answer over their union. A case in which both are empty does not count; one in "
            "which just one is empty counts as 0.",
        )
    },
)
