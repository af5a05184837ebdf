"""Reduce the rate when the validation metric stops improving."""

from __future__ import annotations

from math import inf

from ..stopping import Line, validation_score


class Plateau:
    """The rate is multiplied by ``factor`` whenever ``patience`` validations in a row were none better than the best.

    ``warmup`` is the share of the budget spent rising; the factor never falls below ``floor``.

    >>> schedule = Plateau(factor=0.5, patience=1)
    >>> for found in (0.7, 0.8, 0.79):
    ...     schedule.observe({"step": 1, "valid": {"auroc": found}})
    >>> schedule(0.5)
    0.5
    """

    def __init__(self, *, factor: float = 0.5, patience: int = 3, floor: float = 1e-3, warmup: float = 0.0) -> None:
        self.factor, self.patience, self.floor, self.warmup = factor, patience, floor, warmup
        self.current_factor, self.best, self.validations_without_gain = 1.0, -inf, 0

    def __call__(self, done: float) -> float:
        return self.current_factor * (max(done, 1e-4) / self.warmup if done < self.warmup else 1.0)

    def observe(self, line: Line) -> None:
        """Take in a line; only validations matter."""
        if "valid" not in line:
            return
        found = validation_score(line)
        if found is not None and found > self.best:
            self.best, self.validations_without_gain = found, 0
            return
        self.validations_without_gain += 1
        if self.validations_without_gain >= self.patience:
            self.current_factor, self.validations_without_gain = max(self.floor, self.current_factor * self.factor), 0


THIS = Plateau
