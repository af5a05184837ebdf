"""The one-cycle schedule: up for a third of the budget, then down along a cosine."""

from collections.abc import Callable
from math import cos, pi


def one_cycle(*, rise: float = 0.3, begin: float = 0.04, end: float = 4e-6) -> Callable[[float], float]:
    """Smith and Topin, 2018: from ``begin`` of the rate up to all of it, down to ``end``, both along half a cosine.

    >>> one_cycle(rise=0.3)(0.3)
    1.0
    """

    def factor(done: float) -> float:
        is_rising = done < rise
        low = begin if is_rising else end
        share = done / rise if is_rising else 1 - min(1.0, (done - rise) / max(1e-9, 1 - rise))
        return low + (1 - low) * 0.5 * (1 - cos(pi * share))

    return factor


THIS = one_cycle
