"""The same rate from beginning to end."""

from collections.abc import Callable


def constant(*, warm: float = 0.0) -> Callable[[float], float]:
    """``warm`` is the share of the budget over which the rate rises from nothing.

    >>> constant()(0.5)
    1.0
    """
    return lambda done: min(1.0, done / warm) if warm else 1.0


THIS = constant
