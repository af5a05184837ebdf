"""Wilcoxon's signed-rank test: whether paired differences lie above nothing, whatever a few of them are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr


def signed_rank_p_value(differences: ArrayLike) -> float:
    """Give the one-sided p of the differences being no more than 0, by the normal approximation for ten and more.

    Differences of 0 count nothing, equal ones share their rank. Wilcoxon, Biometrics Bulletin 1945, 1(6).

    >>> round(signed_rank_p_value([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -0.5, 8.0, 9.0, 10.0]), 4)
    0.0035
    """
    found = np.asarray(differences, dtype=np.float64)
    found = found[found != 0]
    n = len(found)
    if n == 0:
        return 1.0
    _, place, count = np.unique(np.abs(found), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    above = float(ranks[found > 0].sum())
    spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24 - float((count**3 - count).sum()) / 48)
    return float(ndtr(-(above - n * (n + 1) / 4) / spread))
