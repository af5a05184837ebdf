"""The expected calibration error: how far stated confidence is from the share that was right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._metric import Figure, Metric
from ._scores import Numbers, as_unweighted, divide_or_nan, mean_ignoring_nan

BINS = 10


def ece(confidence: Numbers, right: Numbers, weights: Numbers, *, bins: int = BINS) -> Numbers:
    """The mean gap between confidence and share right over bins of equal width, (b,); nan without cases."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    member = (place[:, None] == np.arange(bins)).astype(float)
    gaps = np.abs(weights @ (member * (confidence - right)[:, None])).sum(axis=1)
    return divide_or_nan(gaps, weights.sum(axis=1))


def compute_many(
    truth: Numbers, probabilities: Numbers, weights: Numbers, *, names: Sequence[str], exclusive: bool = True
) -> dict[str, Numbers]:
    """Give ``ece`` of the likeliest class; where several can hold, the mean over the classes and ``ece/<class>``."""
    if exclusive and len(names) > 1:
        best = probabilities.argmax(axis=1)
        rows = np.arange(len(truth))
        return {"ece": ece(probabilities[rows, best], truth[rows, best], weights)}
    each = np.stack([ece(probabilities[:, i], truth[:, i], weights) for i in range(len(names))], axis=1)
    return {"ece": mean_ignoring_nan(each), **{f"ece/{name}": each[:, i] for i, name in enumerate(names)}}


THIS = Metric(
    input_kind="scores",
    compute=as_unweighted(compute_many),
    compute_many=compute_many,
    figures={
        "ece": Figure(
            "lower",
            f"The gap between the confidence in the likeliest class and the share that was right, in {BINS} bins of "
            "equal width, weighted by their cases.",
            worst=None,
        )
    },
)
