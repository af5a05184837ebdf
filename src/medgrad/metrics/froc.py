"""FROC: sensitivity at given false positives a case, and their mean (CPM)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.types import Boxes, LabelMap
from ._boxes import OBJECTS, Found, Numbers, found_by_label, read_back, written
from ._metric import Figure, Metric, Row
from ._rows import labels_with, sums
from ._scores import mean_of_known, none_for_nan, ratio

RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)
NEITHER = "-"


def compute(truth: Boxes, answer: Boxes, *, region: LabelMap | None = None) -> dict[str, float | str | None]:
    """Give the row of a case: its objects, the scores with how many objects each finds, and the figures of the case."""
    row: dict[str, float | str | None] = {}
    for found in found_by_label(truth, answer, region):
        row[f"objects/{found.label}"] = float(len(found.truth))
        row[f"met/{found.label}"] = written(found.scores, words_of(found))
    figures = pool([row], np.ones((1, 1)))
    return {**row, **none_for_nan({name: float(v[0]) for name, v in figures.items()})}


def words_of(found: Found) -> list[str]:
    """Format how many objects each answer is the best one to find; ``-`` where better answers have found all."""
    dims = found.truth.shape[1] // 2
    sides = found.truth[:, dims:] - found.truth[:, :dims]
    centre, said = (b[:, :dims] + b[:, dims:] for b in (found.truth, found.answer))  # both doubled
    away = np.sqrt(((said[:, None] - centre) ** 2).sum(axis=2)) / 2
    near = away < sides.mean(axis=1) / 2  # (answers, objects)
    first = (near & (near.cumsum(axis=0) == 1)).sum(axis=1)
    return [NEITHER if n == 0 and any_near else str(n) for n, any_near in zip(first.tolist(), near.any(1), strict=True)]


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give the sensitivity of each label at each rate of false positives a case, and their means."""
    labels = labels_with(rows, "met")
    if not labels:
        return {}
    figures: dict[str, Numbers] = {}
    each = {label: sensitivities(rows, weights, label) for label in labels}  # (b, rates)
    for label, found in each.items():
        figures |= {f"sensitivity@{rate:g}fp/{label}": found[:, i] for i, rate in enumerate(RATES)}
        figures[f"cpm/{label}"] = found.mean(axis=1)
    return {**figures, "cpm": mean_of_known(np.stack([figures[f"cpm/{label}"] for label in labels], axis=1))}


def sensitivities(rows: Sequence[Row], weights: Numbers, label: str) -> Numbers:
    """Give the sensitivity at each rate, (b, rates); nan where there is no object.

    The curve goes straight between two scores; answers of one score are one step.
    """
    (objects,) = sums(rows, weights, ["objects"], label)
    said = read_back(rows, f"met/{label}")
    hits = np.array([0 if w == NEITHER else int(w) for w in said.words.tolist()], float)
    ends = np.unique(said.last)
    mine = weights[:, said.row]
    start = np.zeros((len(weights), 1))
    found = np.concatenate([start, (mine * hits).cumsum(axis=1)[:, ends]], axis=1)
    false = np.concatenate([start, (mine * (said.words == "0")).cumsum(axis=1)[:, ends]], axis=1)
    rate = ratio(false, np.broadcast_to(weights.sum(axis=1, keepdims=True), false.shape))
    share = ratio(found, np.broadcast_to(objects[:, None], found.shape))
    return np.array([np.interp(RATES, r, s) for r, s in zip(rate, share, strict=True)]).reshape(-1, len(RATES))


WHERE = (
    "An answer finds an object of its label if its centre lies nearer to the object's centre than its radius (half of "
    "its mean extent); further answers to an object that was found count neither way (the rules of LUNA16)."
)

THIS = Metric(
    on="boxes",
    compute=compute,
    pool=pool,
    figures={
        **{
            f"sensitivity@{rate:g}fp": Figure(
                "higher",
                f"Of all objects, the share found at {rate:g} false positives a case. {WHERE}",
                by_order=True,
            )
            for rate in RATES
        },
        "cpm": Figure(
            "higher",
            "The mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case (the competition performance "
            f"metric); without a label, the mean over the labels that have objects. {WHERE}",
            by_order=True,
        ),
        "objects": OBJECTS,
        "met": Figure(
            "zero",
            "The score of each answer of the label, and how many objects it finds that no better one does; a dash "
            "where better ones have found them.",
            worst=None,
            bounds=None,
        ),
    },
)
