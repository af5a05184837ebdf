"""The Brier score: the mean squared error of probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from ._metric import Figure, Metric
from ._scores import Numbers, as_unweighted, divide_or_nan, figure_by_class, is_binary


def compute_many(
    truth: Numbers, probabilities: Numbers, weights: Numbers, *, names: Sequence[str], exclusive: bool = True
) -> dict[str, Numbers]:
    """Give ``brier/<class>`` and ``brier``: of the positive class, or the sum, or the mean if not exclusive."""
    each = divide_or_nan(weights @ (probabilities - truth) ** 2, weights.sum(axis=1, keepdims=True))
    if is_binary(names, exclusive):
        whole = each[:, -1]
    else:
        whole = each.sum(axis=1) if exclusive else each.mean(axis=1)
    return figure_by_class("brier", each, names, whole)


THIS = Metric(
    input_kind="scores",
    compute=as_unweighted(compute_many),
    compute_many=compute_many,
    figures={
        "brier": Figure(
            "lower",
            "The squared difference between probability and truth, a mean over the cases. Of the positive class "
            "where there are two; summed over the classes where there are more, so that 2 is the worst; averaged "
            "over the classes where several can hold.",
            worst=None,
            bounds=(0.0, 2.0),
        )
    },
)
