"""Metrics of thresholded predictions: accuracy, precision, recall, specificity and F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._metric import F1, SPECIFICITY, Figure, Metric
from ._scores import Numbers, as_unweighted, divide_or_nan, figure_by_class, mean_ignoring_nan, predicted_classes


def compute_many(
    truth: Numbers, probabilities: Numbers, weights: Numbers, *, names: Sequence[str], exclusive: bool = True
) -> dict[str, Numbers]:
    """Give accuracy, balanced accuracy, and of each class and on average precision, recall, specificity and F1.

    The decision is the likeliest class, or each class from 0.5 where several can hold; there accuracy is the share of
    single decisions that are right. A class that is absent does not count in a mean; one that is never found has a
    precision of 0. Balanced accuracy is the mean recall, or the mean over classes of recall and specificity where
    several can hold; it and the recall are not defined where the set has just one class.
    """
    said = predicted_classes(probabilities, exclusive).astype(float)
    tp, fp = weights @ (truth * said), weights @ ((1 - truth) * said)
    fn, tn = weights @ (truth * (1 - said)), weights @ ((1 - truth) * (1 - said))
    recall, specificity = divide_or_nan(tp, tp + fn), divide_or_nan(tn, tn + fp)
    precision = np.where((tp + fp == 0) & (fn > 0), 0.0, divide_or_nan(tp, tp + fp))
    f1 = divide_or_nan(2 * tp, 2 * tp + fp + fn)
    if exclusive and len(names) > 1:
        accuracy = divide_or_nan(tp.sum(axis=1), weights.sum(axis=1))
        balanced = np.where((tp + fn > 0).sum(axis=1) > 1, mean_ignoring_nan(recall), np.nan)
    else:
        accuracy = divide_or_nan((tp + tn).sum(axis=1), len(names) * weights.sum(axis=1))
        balanced = mean_ignoring_nan((recall + specificity) / 2)
    found = {"accuracy": accuracy, "balanced_accuracy": balanced}
    for figure, values in (("precision", precision), ("recall", recall), ("specificity", specificity), ("f1", f1)):
        found |= figure_by_class(figure, values, names, mean_ignoring_nan(values))
    return found


def confusion_matrix(truth: Numbers, probabilities: Numbers) -> list[list[int]]:
    """Count cases by true class (rows) and by the likeliest class (columns), for exclusive classes.

    >>> confusion_matrix(np.array([[1, 0], [0, 1], [0, 1]]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]))
    [[1, 0], [1, 1]]
    """
    truth = np.asarray(truth, float)
    counts = truth.T @ predicted_classes(np.asarray(probabilities, float), True)
    return [[int(v) for v in row] for row in counts]


THIS = Metric(
    input_kind="scores",
    compute=as_unweighted(compute_many),
    compute_many=compute_many,
    figures={
        "accuracy": Figure("higher", "The share of cases whose likeliest class is the true one."),
        "balanced_accuracy": Figure("higher", "The mean over the classes of the share of their cases that was found."),
        "precision": Figure("higher", "Of the cases said to be of a class, the share that is; a mean over classes."),
        "recall": Figure("higher", "Of the cases of a class, the share that was found; a mean over the classes."),
        "specificity": SPECIFICITY,
        "f1": F1,
    },
)
