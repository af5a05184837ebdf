"""Shared by the classification metrics: checks, resampling weights, and None for undefined figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Many = Callable[..., dict[str, Numbers]]


def check_probabilities(truth: Numbers, probabilities: Numbers, names: Sequence[str], exclusive: bool) -> None:
    """Raise unless both are (n, k) with a column a name, truths are 0 or 1, and probabilities lie between."""
    if truth.ndim != 2 or truth.shape != probabilities.shape or truth.shape[1] != len(names):
        raise ValueError(
            f"Truth {truth.shape} and probabilities {probabilities.shape} must both be (cases, {len(names)}): "
            "one column for each name."
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("The truth of a class is 0 or 1, but other values came.")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("Probabilities lie between 0 and 1, but other values came. Give probabilities, not logits.")
    if exclusive and truth.shape[1] > 1 and not (truth.sum(axis=1) == 1).all():
        raise ValueError("Of exclusive classes just one holds for each case. Set exclusive=False where several can.")


def as_unweighted(many: Many) -> Callable[..., dict[str, float | None]]:
    """Turn a function over resampling weights into one over the set itself, with None for undefined figures."""

    def compute(
        truth: Numbers, probabilities: Numbers, *, names: Sequence[str], exclusive: bool = True
    ) -> dict[str, float | None]:
        truth, probabilities = np.asarray(truth, float), np.asarray(probabilities, float)
        check_probabilities(truth, probabilities, names, exclusive)
        found = many(truth, probabilities, np.ones((1, len(truth))), names=names, exclusive=exclusive)
        return none_for_nan({name: float(values[0]) for name, values in found.items()})

    return compute


def none_for_nan(row: Mapping[str, float]) -> dict[str, float | None]:
    """Give None for each number that is not one.

    >>> none_for_nan({"auroc": float("nan")})
    {'auroc': None}
    """
    return {name: None if math.isnan(value) else value for name, value in row.items()}


def divide_or_nan(numerator: Numbers, denominator: Numbers) -> Numbers:
    """Divide, and give nan where the divisor is 0."""
    return np.divide(
        numerator, denominator, out=np.full(np.broadcast(numerator, denominator).shape, np.nan), where=denominator != 0
    )


def mean_ignoring_nan(values: Numbers) -> Numbers:
    """Average over the last axis what is not nan; nan where nothing is known."""
    known = ~np.isnan(values)
    return divide_or_nan(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(float))


def figure_by_class(figure: str, values: Numbers, names: Sequence[str], overall: Numbers) -> dict[str, Numbers]:
    """Name the figure of the set, and that of each class, (b, k)."""
    return {figure: overall, **{f"{figure}/{name}": values[:, i] for i, name in enumerate(names)}}


def predicted_classes(probabilities: Numbers, exclusive: bool) -> NDArray[np.bool_]:
    """Give the predicted classes (n, k): the likeliest one, or all from 0.5 where several can hold."""
    if not exclusive or probabilities.shape[1] == 1:
        return probabilities >= 0.5
    return probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])


def is_binary(names: Sequence[str], exclusive: bool) -> bool:
    """Tell whether there are just a negative and a positive class; the positive one comes last."""
    return exclusive and len(names) == 2


def weights_by_score(
    scores: Numbers, truth: Numbers, weights: Numbers, *, descending: bool = False
) -> tuple[Numbers, Numbers]:
    """Give the weight of positives and of negatives at each distinct score, in order, both (b, scores)."""
    order = np.argsort(-scores if descending else scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    positive = np.add.reduceat((weights * truth)[:, order], starts, axis=1)
    negative = np.add.reduceat((weights * (1 - truth))[:, order], starts, axis=1)
    return positive, negative
