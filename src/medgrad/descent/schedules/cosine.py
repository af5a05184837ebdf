"""Cosine annealing with a linear warm-up."""

from collections.abc import Callable
from math import cos, pi


def cosine(*, warmup: float = 0.05, floor: float = 0.0) -> Callable[[float], float]:
    """``warmup`` is the share of the budget spent rising, ``floor`` the factor that is left at the end.

    >>> [round(cosine(warmup=0.5)(d), 2) for d in (0.25, 0.5, 1.0)]
    [0.5, 1.0, 0.0]
    """

    def factor(done: float) -> float:
        if done < warmup:
            return max(done, 1e-4) / warmup
        falling = (min(done, 1.0) - warmup) / max(1 - warmup, 1e-9)
        return floor + (1 - floor) * 0.5 * (1 + cos(pi * falling))

    return factor


THIS = cosine
