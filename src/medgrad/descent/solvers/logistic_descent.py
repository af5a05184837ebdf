"""Logistic regression by descent: accelerated, restarted when it overshoots, stopped by its certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from ._logistic import LogisticProblem, build_logistic_problem, build_solution, wrong_class_probability
from ._solver import Matrix, Offset, Solution, Vector, is_close, reduce_columns, unsolved_error

NAME = "logistic_descent"
GAP_CHECK_INTERVAL = 10
"""The steps from one look at the gap to the next."""
GROWTH, HIDDEN = 1.1, 1e-11
"""How much longer each step tries to be, and the share of the loss below which no difference is believed."""


def logistic_descent(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    C: float = 1.0,
    penalty: str = "l2",
    offset: Offset = "free",
    tolerance: float = 1e-11,
    iterations: int = 200_000,
) -> Solution:
    """Minimise ``size(w) + C * sum log(1 + exp(-sign * (row @ w + b)))`` by proximal gradient steps.

    The settings are those of ``logistic_interior_point``. A step costs 2 n d, and their number grows with the root of
    how differently long the directions of the rows are; so this is the choice where n d min(n, d) is too much.

    Steps are those of FISTA (Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009, equations 4.1 to 4.3), begun anew
    when momentum and step disagree (O'Donoghue and Candes, Found. Comput. Math. 15, 2015, section 3.2). The offset is
    at its best for the weights at every step. The length of a step begins at what is safe anywhere, grows, and is
    halved where the objective is not below its upper model (Beck and Teboulle, equation 2.5).

    >>> found = logistic_descent([[-2.0], [-1.0], [1.0], [2.0]], [-1, -1, 1, 1], penalty="l1")
    >>> round(float(found.weights[0]), 4), found.gap < 1e-9
    (1.012, True)
    """
    whole = build_logistic_problem(rows, signs, strength=C, penalty=penalty, offset=offset, tolerance=tolerance)
    if whole.penalty == "l1":
        weights, at, number = accelerated_descent(whole, tolerance, iterations)
    else:
        narrow, back = reduce_columns(whole.rows)
        weights, at, number = accelerated_descent(replace(whole, rows=narrow), tolerance, iterations)
        weights = back(weights)
    primal, dual, at = whole.primal_and_dual(weights, at)
    return build_solution(whole, weights, at, primal=primal, dual=dual, iterations=number)


@dataclass(frozen=True)
class Iterate:
    """Weights with the scores that they give (so that no product is made twice), and the best offset for them."""

    weights: Vector
    scores: Vector
    offset: float

    def extrapolate(self, before: Iterate, share: float) -> Iterate:
        """Extrapolate from an earlier iterate through this one."""
        return Iterate(
            self.weights + share * (self.weights - before.weights),
            self.scores + share * (self.scores - before.scores),
            self.offset,
        )


def accelerated_descent(problem: LogisticProblem, tolerance: float, max_iterations: int) -> tuple[Vector, float, int]:
    """Give weights, offset and the number of steps."""
    now = Iterate(np.zeros(problem.rows.shape[1]), np.zeros(len(problem.signs)), 0.0)
    safe = 4 / (problem.strength * largest_eigenvalue(problem.rows))
    start, length, momentum, primal, dual = now, safe, 1.0, np.inf, -np.inf
    for number in range(max_iterations):
        if number % GAP_CHECK_INTERVAL == 0:
            primal, dual, _ = problem.primal_and_dual(now.weights, now.offset, now.scores)
            if is_close(primal, dual, tolerance):
                return now.weights, now.offset, number
        new, length = proximal_step(problem, start, length, safe)
        if float((start.weights - new.weights) @ (new.weights - now.weights)) > 0:
            momentum = 1.0
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        start = new.extrapolate(now, (momentum - 1) / after)
        now, momentum = new, after
    raise unsolved_error(NAME, primal, dual, tolerance, max_iterations)


def proximal_step(problem: LogisticProblem, start: Iterate, length: float, safe_length: float) -> tuple[Iterate, float]:
    """Take one proximal step, shorter until the loss lies below its model; give the place and the length.

    A ``safe_length`` length is one at which it lies there wherever the step begins. Steps so small that rounding hides
    whether it does are taken at the length of those before.
    """
    offset = problem.best_offset(start.scores, start.offset)
    pulls = -problem.strength * problem.signs * wrong_class_probability(problem.signs * (start.scores + offset))
    slope = problem.rows.T @ pulls
    loss = problem.loss(start.scores, offset)
    length *= GROWTH
    while True:
        weights = proximal_point(start.weights - length * slope, length, problem.penalty)
        scores = problem.rows @ weights
        along = weights - start.weights
        at = problem.best_offset(scores, offset)
        bend = float(along @ along) / (2 * length)
        if bend < HIDDEN * abs(loss):
            return Iterate(weights, scores, at), max(safe_length, length / GROWTH)
        if length <= safe_length or problem.loss(scores, at) <= loss + float(slope @ along) + bend:
            return Iterate(weights, scores, at), length
        length = max(safe_length, length / 2)


def proximal_point(weights: Vector, length: float, penalty: str) -> Vector:
    """Give the proximal point of the penalty: all shortened by a share, or each by the same amount."""
    if penalty == "l1":
        return np.sign(weights) * np.maximum(np.abs(weights) - length, 0.0)
    return weights / (1 + length)


def largest_eigenvalue(rows: Matrix) -> float:
    """Give the largest eigenvalue of ``rows' rows``, or what is no smaller."""
    square = rows.T @ rows if rows.shape[1] <= rows.shape[0] else rows @ rows.T
    last = len(square) - 1
    return max(float(linalg.eigvalsh(square, subset_by_index=[last, last], check_finite=False)[0]), 1e-12)


THIS = logistic_descent
