"""FROC: sensitivity at given false positives a case, and their mean (CPM)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.types import Boxes, LabelMap
from ._boxes import OBJECT_COUNT, LabelBoxes, Numbers, boxes_by_label, format_scores, parse_scores
from ._metric import Figure, Metric, Row
from ._rows import labels_after, weighted_sums
from ._scores import divide_or_nan, mean_ignoring_nan, none_for_nan

FALSE_POSITIVE_RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)
NOT_COUNTED = "-"


def compute(truth: Boxes, answer: Boxes, *, region: LabelMap | None = None) -> dict[str, float | str | None]:
    """Give the row of a case: its objects, the scores with how many objects each finds, and the figures of the case."""
    row: dict[str, float | str | None] = {}
    for found in boxes_by_label(truth, answer, region):
        row[f"objects/{found.label}"] = float(len(found.truth))
        row[f"froc/{found.label}"] = format_scores(found.scores, format_matches(found))
    figures = pool([row], np.ones((1, 1)))
    return {**row, **none_for_nan({name: float(v[0]) for name, v in figures.items()})}


def format_matches(found: LabelBoxes) -> list[str]:
    """Format how many objects each answer is the best one to find; ``-`` where better answers have found all."""
    dims = found.truth.shape[1] // 2
    sides = found.truth[:, dims:] - found.truth[:, :dims]
    centre, said = (b[:, :dims] + b[:, dims:] for b in (found.truth, found.answer))  # both doubled
    away = np.sqrt(((said[:, None] - centre) ** 2).sum(axis=2)) / 2
    near = away < sides.mean(axis=1) / 2  # (answers, objects)
    first = (near & (near.cumsum(axis=0) == 1)).sum(axis=1)
    return [
        NOT_COUNTED if n == 0 and any_near else str(n) for n, any_near in zip(first.tolist(), near.any(1), strict=True)
    ]


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give the sensitivity of each label at each rate of false positives a case, and their means."""
    labels = labels_after(rows, "froc")
    if not labels:
        return {}
    figures: dict[str, Numbers] = {}
    each = {label: sensitivity_at_rates(rows, weights, label) for label in labels}  # (b, rates)
    for label, found in each.items():
        figures |= {f"sensitivity@{rate:g}fp/{label}": found[:, i] for i, rate in enumerate(FALSE_POSITIVE_RATES)}
        figures[f"cpm/{label}"] = found.mean(axis=1)
    return {**figures, "cpm": mean_ignoring_nan(np.stack([figures[f"cpm/{label}"] for label in labels], axis=1))}


def sensitivity_at_rates(rows: Sequence[Row], weights: Numbers, label: str) -> Numbers:
    """Give the sensitivity at each rate, (b, rates); nan where there is no object.

    The curve goes straight between two scores; answers of one score are one step.
    """
    (objects,) = weighted_sums(rows, weights, ["objects"], label)
    said = parse_scores(rows, f"froc/{label}")
    hits = np.array([0 if w == NOT_COUNTED else int(w) for w in said.words.tolist()], float)
    ends = np.unique(said.last)
    mine = weights[:, said.row]
    start = np.zeros((len(weights), 1))
    found = np.concatenate([start, (mine * hits).cumsum(axis=1)[:, ends]], axis=1)
    false = np.concatenate([start, (mine * (said.words == "0")).cumsum(axis=1)[:, ends]], axis=1)
    rate = divide_or_nan(false, np.broadcast_to(weights.sum(axis=1, keepdims=True), false.shape))
    share = divide_or_nan(found, np.broadcast_to(objects[:, None], found.shape))
    return np.array([np.interp(FALSE_POSITIVE_RATES, r, s) for r, s in zip(rate, share, strict=True)]).reshape(
        -1, len(FALSE_POSITIVE_RATES)
    )


MATCHING_RULE = (
    "An answer finds an object of its label if its centre lies nearer to the object's centre than its radius (half of "
    "its mean extent); further answers to an object that was found count neither way (the rules of LUNA16)."
)

THIS = Metric(
    input_kind="boxes",
    compute=compute,
    pool=pool,
    figures={
        **{
            f"sensitivity@{rate:g}fp": Figure(
                "higher",
                f"Of all objects, the share found at {rate:g} false positives a case. {MATCHING_RULE}",
                rank_only=True,
            )
            for rate in FALSE_POSITIVE_RATES
        },
        "cpm": Figure(
            "higher",
            "The mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case (the competition performance "
            f"metric); without a label, the mean over the labels that have objects. {MATCHING_RULE}",
            rank_only=True,
        ),
        "objects": OBJECT_COUNT,
        "froc": Figure(
            "zero",
            "The score of each answer of the label, and how many objects it finds that no better one does; a dash "
            "where better ones have found them.",
            worst=None,
            bounds=None,
        ),
    },
)
