"""Platt scaling: a logistic calibration of scores, fitted on held-out cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]
CLIP_MARGIN = 1e-6


def fit_platt(scores: Numbers, is_correct: Numbers) -> tuple[float, float]:
    """Fit the slope and the shift of Platt scaling by maximum likelihood (Platt 1999).

    One more right and one more wrong answer are counted at a score of a half, so that few answers do not give
    certainty. The slope is never below 0.05, so that the order stays.

    >>> slope, shift = fit_platt(np.array([0.2, 0.2, 0.2, 0.2]), np.array([1, 1, 1, 0]))
    >>> float(apply_platt(np.array([0.2]), slope, shift).round(1)[0])
    0.7
    """
    from scipy import optimize  # half a second of the processor, for those alone who fit

    x, y = log_odds(scores), np.asarray(is_correct, float)
    x, y = np.append(x, [0.0, 0.0]), np.append(y, [0.0, 1.0])

    def nll(line: Numbers) -> tuple[float, Numbers]:
        said = line[0] * x + line[1]
        off = special.expit(said) - y
        return float(np.logaddexp(0, said).sum() - (y * said).sum()), np.array([(off * x).sum(), off.sum()])

    found = optimize.minimize(nll, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0.05, 20.0), (-20.0, 20.0)])
    return float(found.x[0]), float(found.x[1])


def apply_platt(scores: Numbers, a: float, b: float) -> Numbers:
    """Apply Platt scaling to scores."""
    return np.asarray(special.expit(a * log_odds(scores) + b), float)


def log_odds(scores: Numbers) -> Numbers:
    """Give the log odds of scores, clipped just inside 0 and 1."""
    return np.asarray(special.logit(np.clip(np.asarray(scores, float), CLIP_MARGIN, 1 - CLIP_MARGIN)))
