"""The same rate from beginning to end."""

from collections.abc import Callable


def constant(*, warmup: float = 0.0) -> Callable[[float], float]:
    """``warmup`` is the share of the budget over which the rate rises from nothing.

    >>> constant()(0.5)
    1.0
    """
    return lambda done: min(1.0, done / warmup) if warmup else 1.0


THIS = constant
