"""Average precision: precision over all thresholds, each weighted by the recall that it adds."""

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


def average_precision(scores: Numbers, truth: Numbers, weights: Numbers) -> Numbers:
    """The sum over thresholds of precision times the step in recall; nan without positives or without negatives."""
    positive, negative = weights_by_score(scores, truth, weights, descending=True)
    found, false = positive.cumsum(axis=1), negative.cumsum(axis=1)
    precision = np.nan_to_num(divide_or_nan(found, found + false))
    area = divide_or_nan((positive * precision).sum(axis=1), positive.sum(axis=1))
    return np.where(negative.sum(axis=1) > 0, area, np.nan)


def compute_many(
    truth: Numbers, probabilities: Numbers, weights: Numbers, *, names: Sequence[str], exclusive: bool = True
) -> dict[str, Numbers]:
    """Give ``average_precision/<class>`` and ``average_precision``: of the positive class, or the mean."""
    each = [average_precision(probabilities[:, i], truth[:, i], weights) for i in range(len(names))]
    values = np.stack(each, axis=1)
    whole = values[:, -1] if is_binary(names, exclusive) else mean_ignoring_nan(values)
    return figure_by_class("average_precision", values, names, whole)


THIS = Metric(
    input_kind="scores",
    compute=as_unweighted(compute_many),
    compute_many=compute_many,
    figures={
        "average_precision": Figure(
            "higher",
            "Precision over all thresholds, each weighted by the recall that it adds. Of the positive class where "
            "there are two, else the mean over the classes.",
            worst=None,
            rank_only=True,
        )
    },
)
