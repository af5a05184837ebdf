"""Step decay of the rate."""

from collections.abc import Callable, Sequence


def step(*, at: Sequence[float] = (0.5, 0.75), factor: float = 0.1, warmup: float = 0.0) -> Callable[[float], float]:
    """``at`` are the shares of the budget after which the rate is multiplied by ``factor``.

    >>> [round(step()(d), 3) for d in (0.4, 0.6, 0.8)]
    [1.0, 0.1, 0.01]
    """

    def value(done: float) -> float:
        if done < warmup:
            return max(done, 1e-4) / warmup
        return float(factor ** sum(done >= share for share in at))

    return value


THIS = step
