"""Scores that mean how often they are right: a straight line on their log odds, fitted on cases not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]
EDGE = 1e-6


def fit(scores: Numbers, right: Numbers) -> tuple[float, float]:
    """Give the slope and the shift that make it likeliest who was right (Platt 1999).

    One more that was right and one that was not are counted at a score of a half, so that few answers do not make it
    certain. The slope is never below 0.05, so that the order stays.

    >>> slope, shift = fit(np.array([0.2, 0.2, 0.2, 0.2]), np.array([1, 1, 1, 0]))
    >>> float(applied(np.array([0.2]), slope, shift).round(1)[0])
    0.7
    """
    from scipy import optimize  # half a second of the processor, for those alone who fit

    x, y = log_odds(scores), np.asarray(right, float)
    x, y = np.append(x, [0.0, 0.0]), np.append(y, [0.0, 1.0])

    def surprise(line: Numbers) -> tuple[float, Numbers]:
        said = line[0] * x + line[1]
        off = special.expit(said) - y
        return float(np.logaddexp(0, said).sum() - (y * said).sum()), np.array([(off * x).sum(), off.sum()])

    found = optimize.minimize(surprise, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0.05, 20.0), (-20.0, 20.0)])
    return float(found.x[0]), float(found.x[1])


def applied(scores: Numbers, slope: float, shift: float) -> Numbers:
    """Give the scores as what ``fit`` has found says that they mean."""
    return np.asarray(special.expit(slope * log_odds(scores) + shift), float)


def log_odds(scores: Numbers) -> Numbers:
    """Give the logarithm of how many times likelier yes is than no; scores are cut just inside 0 and 1."""
    return np.asarray(special.logit(np.clip(np.asarray(scores, float), EDGE, 1 - EDGE)))
