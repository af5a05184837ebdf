"""Polynomial decay of the rate."""

from collections.abc import Callable


def polynomial(*, power: float = 0.9, warmup: float = 0.0) -> Callable[[float], float]:
    """The factor is (1 - done) to the ``power``; 1 is a straight line.

    >>> polynomial(power=1)(0.25)
    0.75
    """

    def factor(done: float) -> float:
        if done < warmup:
            return max(done, 1e-4) / warmup
        return max(0.0, 1 - (done - warmup) / max(1 - warmup, 1e-9)) ** power

    return factor


THIS = polynomial
