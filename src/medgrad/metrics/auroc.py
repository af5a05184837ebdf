"""The area under the receiver operating characteristic: how well scores rank positives above negatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._metric import Figure, Metric
from ._scores import (
    Numbers,
    as_unweighted,
    divide_or_nan,
    figure_by_class,
    is_binary,
    mean_ignoring_nan,
    weights_by_score,
)


def auroc(scores: Numbers, truth: Numbers, weights: Numbers) -> Numbers:
    """The chance that a positive scores above a negative, ties by half, (b,); nan where either is absent."""
    positive, negative = weights_by_score(scores, truth, weights)
    below = negative.cumsum(axis=1) - negative
    return divide_or_nan((positive * (below + negative / 2)).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def compute_many(
    truth: Numbers, probabilities: Numbers, weights: Numbers, *, names: Sequence[str], exclusive: bool = True
) -> dict[str, Numbers]:
    """Give ``auroc/<class>``, one class against the rest, and ``auroc``: of the positive class, or the mean."""
    each = np.stack([auroc(probabilities[:, i], truth[:, i], weights) for i in range(len(names))], axis=1)
    return figure_by_class(
        "auroc", each, names, each[:, -1] if is_binary(names, exclusive) else mean_ignoring_nan(each)
    )


THIS = Metric(
    input_kind="scores",
    compute=as_unweighted(compute_many),
    compute_many=compute_many,
    figures={
        "auroc": Figure(
            "higher",
            "The chance that a case of the class scores above one that is not, ties by half. Of the positive class "
            "where there are two, else the mean over the classes, each against the rest.",
            worst=None,
            rank_only=True,
        )
    },
)
