"""Dice: how much of truth and answer is shared."""

from __future__ import annotations

from ..data.types import LabelMap
from ._labels import MaskPair, judge_each_label, mask_pairs
from ._metric import Figure, Metric


def dice(pair: MaskPair) -> float | None:
    """Twice the overlap over the sum of both sizes; None if both are empty, 0 if one is."""
    total = int(pair.truth.sum()) + int(pair.answer.sum())
    return 2 * int((pair.truth & pair.answer).sum()) / total if total else None


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``dice/<label>``, ``dice/mean`` and ``empty_agreed/<label>``.

    A label that neither truth nor answer has does not count for Dice: there is nothing to overlap, and both 0 and 1
    would be a guess (Maier-Hein and others 2024, Metrics Reloaded). Such a case counts in ``empty_agreed``: 1 where the
    label is absent from both, 0 where the answer found what is not there, None where the truth has the label.
    """
    row = judge_each_label("dice", dice, truth, answer, region)
    for pair in mask_pairs(truth, answer, region):
        absent = not pair.truth.any()
        row[f"empty_agreed/{pair.label}"] = float(not pair.answer.any()) if absent else None
    return row


THIS = Metric(
    input_kind="labels",
    compute=compute,
    figures={
        "dice": Figure(
            "higher",
            "Twice the overlap of truth and answer over the sum of their sizes. A case in which both are empty does "
            "not count; one in which just one is empty counts as 0.",
        ),
        "empty_agreed": Figure(
            "higher",
            "Of the cases in which the truth is empty, the share in which the answer is empty too.",
        ),
    },
)
