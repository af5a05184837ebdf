"""Reduce the rate when the validation metric stops improving."""

from __future__ import annotations

from math import inf

from ..stopping import Line, figure_in


class Plateau:
    """The rate is multiplied by ``factor`` whenever ``patience`` validations in a row were none better than the best.

    ``warmup`` is the share of the budget spent rising; the factor never falls below ``floor``.

    >>> schedule = Plateau(factor=0.5, patience=1)
    >>> for found in (0.7, 0.8, 0.79):
    ...     schedule.hear({"step": 1, "valid": {"auroc": found}})
    >>> schedule(0.5)
    0.5
    """

    def __init__(self, *, factor: float = 0.5, patience: int = 3, floor: float = 1e-3, warmup: float = 0.0) -> None:
        self.factor, self.patience, self.floor, self.warmup = factor, patience, floor, warmup
        self.now, self.best, self.stale = 1.0, -inf, 0

    def __call__(self, done: float) -> float:
        return self.now * (max(done, 1e-4) / self.warmup if done < self.warmup else 1.0)

    def hear(self, line: Line) -> None:
        """Take in a line; only validations matter."""
        if "valid" not in line:
            return
        found = figure_in(line)
        if found is not None and found > self.best:
            self.best, self.stale = found, 0
            return
        self.stale += 1
        if self.stale >= self.patience:
            self.now, self.stale = max(self.floor, self.now * self.factor), 0


THIS = Plateau
