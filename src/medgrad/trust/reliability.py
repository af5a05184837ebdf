"""Reliability curve: confidence against frequency."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationBin:
    """Cases of like confidence: their mean confidence, the share that was right, and how many they are."""

    confidence: float
    frequency: float
    n: int


def reliability_curve(
    probabilities: Numbers, truth: Numbers, *, exclusive: bool = True, bins: int = 10
) -> list[CalibrationBin]:
    """Give the calibration curve over bins of equal width; a bin without cases is left out.

    ``probabilities`` and ``truth`` are (n, k). Of exclusive classes it tells of the likeliest one (of two, of the last,
    the positive one); where several can hold, of every class together.

    >>> reliability_curve(np.array([[0.2, 0.8], [0.3, 0.7]]), np.array([[0.0, 1], [1, 0]]), bins=2)
    [CalibrationBin(confidence=0.75, frequency=0.5, n=2)]
    """
    confidence, right = confidence_and_correctness(
        np.asarray(probabilities, float), np.asarray(truth, float), exclusive
    )
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for b in np.unique(place):
        inside = place == b
        found.append(CalibrationBin(float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum())))
    return found


def confidence_and_correctness(probabilities: Numbers, truth: Numbers, exclusive: bool) -> tuple[Numbers, Numbers]:
    """Give the confidence of each prediction and whether it was right."""
    k = probabilities.shape[1]
    if exclusive and k == 2:
        return probabilities[:, 1], truth[:, 1]
    if exclusive and k > 2:
        rows, best = np.arange(len(truth)), probabilities.argmax(axis=1)
        return probabilities[rows, best], truth[rows, best]
    return probabilities.ravel(), truth.ravel()


def curve_to_dicts(curve: list[CalibrationBin]) -> list[dict[str, float | int]]:
    """Give the curve as plain numbers, as ``evaluation.json`` keeps it."""
    return [asdict(b) for b in curve]
