"""Up in a short warm-up, down along a cosine until the budget ends."""

from collections.abc import Callable
from math import cos, pi


def cosine(*, warm: float = 0.05, floor: float = 0.0) -> Callable[[float], float]:
    """``warm`` is the share of the budget spent rising, ``floor`` the factor that is left at the end.

    >>> [round(cosine(warm=0.5)(d), 2) for d in (0.25, 0.5, 1.0)]
    [0.5, 1.0, 0.0]
    """

    def factor(done: float) -> float:
        if done < warm:
            return max(done, 1e-4) / warm
        falling = (min(done, 1.0) - warm) / max(1 - warm, 1e-9)
        return floor + (1 - floor) * 0.5 * (1 + cos(pi * falling))

    return factor


THIS = cosine
