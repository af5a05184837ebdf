"""What the solvers of logistic regression share: the objective, its dual, and the best offset for given weights."""

from __future__ import annotations

from dataclasses import dataclass
from math import copysign, inf
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ...errors import SettingError
from ._solver import Matrix, Offset, Solution, Vector, add_ones_column, check_problem

Penalty = Literal["l2", "l1"]


def wrong_class_probability(margins: Vector) -> Vector:
    """Give the probability of the wrong class, ``1 / (1 + exp(margin))``, without overflow.

    >>> wrong_class_probability(np.array([0.0, 800.0])).tolist()
    [0.5, 0.0]
    """
    return np.exp(-np.logaddexp(0.0, margins))


def binary_entropy(probabilities: Vector) -> float:
    """Sum the entropies of yes-or-no chances, in nats.

    >>> round(binary_entropy(np.array([0.5, 0.0, 1.0])), 6)
    0.693147
    """
    rest = 1.0 - probabilities
    yes = probabilities @ np.log(np.where(probabilities > 0, probabilities, 1.0))
    return -float(yes + rest @ np.log(np.where(rest > 0, rest, 1.0)))


def balance_classes(duals: Vector, signs: Vector) -> Vector:
    """Scale down the dual variables of the heavier class, so that both sums are equal.

    >>> balance_classes(np.array([2.0, 1.0, 1.0]), np.array([1, 1, -1])).tolist()
    [0.6666666666666666, 0.3333333333333333, 1.0]
    """
    plus, minus = float(duals[signs > 0].sum()), float(duals[signs < 0].sum())
    least = min(plus, minus)
    return duals * np.where(signs > 0, least / plus if plus else 0.0, least / minus if minus else 0.0)


@dataclass(frozen=True)
class LogisticProblem:
    """``size(w) + strength * sum log(1 + exp(-sign * (row @ w + b)))``, the size being half its square ("l2") or "l1".

    ``has_free_offset`` is false where there is no b: it is then a weight of a column of ones, or nowhere.
    """

    rows: Matrix
    signs: Vector
    strength: float
    penalty: Penalty
    has_free_offset: bool

    def penalty_value(self, weights: Vector) -> float:
        """The penalty of the weights."""
        return float(np.abs(weights).sum()) if self.penalty == "l1" else float(weights @ weights) / 2

    def loss(self, scores: Vector, offset: float) -> float:
        """The weighted sum of the losses, at scores without the offset."""
        return self.strength * float(np.logaddexp(0.0, -self.signs * (scores + offset)).sum())

    def best_offset(self, scores: Vector, offset: float) -> float:
        """The offset of the lowest loss for given scores, by Newton's method within a bracket."""
        low, high = -inf, inf
        for _ in range(80 if self.has_free_offset else 0):
            doubt = wrong_class_probability(self.signs * (scores + offset))
            pull, bend = float(self.signs @ doubt), float(doubt @ (1 - doubt))
            if abs(pull) <= 1e-15 * float(doubt.sum()):
                break
            low, high = (offset, high) if pull > 0 else (low, offset)
            step = pull / bend if abs(pull) < 4 * bend else copysign(4.0, pull)
            new = offset + step
            new = new if low < new < high else (low + high) / 2
            if new in (low, high):
                break
            offset = new
        return offset

    def primal_and_dual(
        self, weights: Vector, offset: float, scores: Vector | None = None
    ) -> tuple[float, float, float]:
        """Give the objective, a value of the dual that lies below it, and the best offset for the weights.

        The dual variables are ``a = strength * doubts``: they lie in [0, strength] whatever the weights, balancing
        makes ``sum sign a = 0`` (asked for by a free offset), and with "l1" shrinking makes every column's
        ``|sum sign a x|`` at most 1. With "l2" the dual is ``strength * entropy(a / strength)`` less half the square of
        ``sum sign a row`` (Yu, Huang and Lin, Machine Learning 85, 2011, equation 7), with "l1" the entropy alone (Koh,
        Kim and Boyd, JMLR 8, 2007, equations 10 to 13).
        """
        scores = self.rows @ weights if scores is None else scores
        offset = self.best_offset(scores, offset)
        primal = self.penalty_value(weights) + self.loss(scores, offset)
        doubt = wrong_class_probability(self.signs * (scores + offset))
        doubt = balance_classes(doubt, self.signs) if self.has_free_offset else doubt
        slopes = self.rows.T @ (self.signs * doubt) * self.strength  # (d,)
        if self.penalty == "l1":
            steepest = float(np.abs(slopes).max())
            return primal, self.strength * binary_entropy(doubt / max(1.0, steepest)), offset
        return primal, self.strength * binary_entropy(doubt) - float(slopes @ slopes) / 2, offset


def build_logistic_problem(
    rows: ArrayLike, signs: ArrayLike, *, strength: float, penalty: str, offset: Offset, tolerance: float
) -> LogisticProblem:
    """Check what a solver was given, and set the problem; a penalised offset is the weight of a column of ones."""
    rows, signs = check_problem(rows, signs, strength=strength, offset=offset, tolerance=tolerance)
    if penalty not in ("l2", "l1"):
        raise SettingError(f"'penalty' of a logistic solver is 'l2' or 'l1', not {penalty!r}.")
    is_free = offset == "free"
    kind: Penalty = "l1" if penalty == "l1" else "l2"
    return LogisticProblem(rows if is_free else add_ones_column(rows), signs, float(strength), kind, is_free)


def build_solution(
    problem: LogisticProblem, weights: Vector, offset: float, *, primal: float, dual: float, iterations: int
) -> Solution:
    """Give the solution, with a penalised offset taken out of the weights again."""
    if not problem.has_free_offset:
        weights, offset = weights[:-1], float(weights[-1])
    return Solution(weights, float(offset), primal, dual, iterations)
