"""Warm-up, constant rate, then decay to zero (WSD)."""

from collections.abc import Callable


def warmup_stable_decay(*, warmup: float = 0.05, hold: float = 0.6, power: float = 1.0) -> Callable[[float], float]:
    """Full rate until ``hold`` of the budget is gone, then down along a ``power`` of what is left: a trapezoid.

    While it holds, the budget may still change without anything having been lost. Wortsman et al., 2024; Hägele et al.,
    NeurIPS 2024.

    >>> [warmup_stable_decay(warmup=0.0, hold=0.6)(d) for d in (0.1, 0.6, 0.8, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """

    def factor(done: float) -> float:
        if done < warmup:
            return max(done, 1e-4) / warmup
        left = (1 - min(1.0, done)) / max(1e-9, 1 - hold)
        return round(min(1.0, left) ** power, 12)

    return factor


THIS = warmup_stable_decay
