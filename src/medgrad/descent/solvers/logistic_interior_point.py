"""Logistic regression by an interior-point method: a dozen Newton steps, whatever the accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ._logistic import LogisticProblem, build_logistic_problem, build_solution, wrong_class_probability
from ._solver import Offset, Solution, Vector, factor_normal, is_close, reduce_columns, solve_symmetric, unsolved_error

NAME = "logistic_interior_point"
LAST_STEP_BELOW = 1e-8
"""The mean product of parts and multipliers from which on the exact last step is tried."""


def logistic_interior_point(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    C: float = 1.0,
    penalty: str = "l2",
    offset: Offset = "free",
    tolerance: float = 1e-11,
    iterations: int = 200,
) -> Solution:
    """Minimise ``size(w) + C * sum log(1 + exp(-sign * (row @ w + b)))`` until primal and dual meet.

    ``penalty`` "l2" is half the square of the weights, "l1" the sum of their sizes. A "free" offset b is not penalised,
    as by scikit-learn's lbfgs; a "penalised" one is, as by its liblinear. ``tolerance`` is that of the gap, absolute.
    A step costs n d min(n, d): one Cholesky factor of the smaller side.

    With "l2" the dual's own entropy is the barrier of its box, so no other is needed: Newton's method on the
    optimality conditions, ``w = sum sign a row``, ``sum sign a = 0``, ``log((C - a) / a) = margin``, of which the last
    is kept exactly (Yu, Huang and Lin 2011, equation 7; Boyd and Vandenberghe 2004, sections 9.5 and 10.3). With "l1"
    the weights are a difference of two positive parts, whose products with their multipliers go to zero together:
    the primal-dual method of Boyd and Vandenberghe 2004, section 11.7, with Mehrotra's predictor choosing how far
    (SIAM J. Optim. 2, 1992, section 2), and the certificate of Koh, Kim and Boyd (JMLR 8, 2007, section 2.3).

    >>> found = logistic_interior_point([[-2.0], [-1.0], [1.0], [2.0]], [-1, -1, 1, 1])
    >>> round(float(found.weights[0]), 4), round(abs(found.offset), 4), found.gap < 1e-9
    (1.0066, 0.0, True)
    """
    whole = build_logistic_problem(rows, signs, strength=C, penalty=penalty, offset=offset, tolerance=tolerance)
    if whole.penalty == "l1":
        return solve_l1(whole, tolerance, iterations)
    narrow, back = reduce_columns(whole.rows)
    narrow_weights, at, number = solve_l2(replace(whole, rows=narrow), tolerance, iterations)
    weights = back(narrow_weights)
    primal, dual, at = whole.primal_and_dual(weights, at)
    return build_solution(whole, weights, at, primal=primal, dual=dual, iterations=number)


def solve_l2(problem: LogisticProblem, tolerance: float, max_iterations: int) -> tuple[Vector, float, int]:
    """Give weights, offset and the number of steps of Newton's method with a search along the line."""
    rows, signs = problem.rows, problem.signs
    weights, offset, primal, dual = np.zeros(rows.shape[1]), 0.0, np.inf, -np.inf
    scores = rows @ weights
    for number in range(max_iterations):
        primal, dual, offset = problem.primal_and_dual(weights, offset, scores)
        if is_close(primal, dual, tolerance):
            return weights, offset, number
        doubt = wrong_class_probability(signs * (scores + offset))
        pulls, bends = problem.strength * doubt, problem.strength * doubt * (1 - doubt)
        slope = rows.T @ (signs * pulls) - weights  # downhill; that of the offset is 0, since it is the best one
        ahead = newton_step(problem, bends, slope)
        along = rows @ ahead
        share, drop = 1.0, float(slope @ ahead)
        while share > 1e-10:
            trial = problem.best_offset(scores + share * along, offset)
            value = problem.penalty_value(weights + share * ahead) + problem.loss(scores + share * along, trial)
            if value <= primal - 1e-4 * share * drop + 1e-14 * abs(primal):
                break
            share /= 2
        weights = weights + share * ahead
        scores = rows @ weights
    raise unsolved_error(NAME, primal, dual, tolerance, max_iterations)


def newton_step(problem: LogisticProblem, curvatures: Vector, slope: Vector) -> Vector:
    """Solve for the step of the weights, that of the offset eliminated (it is made good by the best offset)."""
    solve = factor_normal(np.sqrt(curvatures)[:, None] * problem.rows)
    step = solve(slope)
    if not problem.has_free_offset:
        return step
    tied = problem.rows.T @ curvatures  # (d,), the bend between weights and offset
    across = solve(tied)
    left = float(curvatures.sum() - tied @ across)
    return step + across * float(tied @ step) / left if left > 0 else step


@dataclass(frozen=True)
class PrimalDualPoint:
    """Positive and negative parts of the weights, their multipliers, and the offset."""

    plus: Vector
    minus: Vector
    plus_multiplier: Vector
    minus_multiplier: Vector
    offset: float

    @property
    def weights(self) -> Vector:
        return self.plus - self.minus

    @property
    def mean_complementarity(self) -> float:
        """The mean of the products, which goes to zero."""
        products = self.plus @ self.plus_multiplier + self.minus @ self.minus_multiplier
        return float(products) / (2 * len(self.plus))

    def step_along(self, by: PrimalDualPoint, share: float) -> PrimalDualPoint:
        """The point that far along a step."""
        pairs = ((getattr(self, k), getattr(by, k)) for k in self.__dataclass_fields__)
        return PrimalDualPoint(*(old + share * new for old, new in pairs))

    def max_step(self, by: PrimalDualPoint) -> float:
        """How far along a step all four stay positive, at most 2."""
        share = 2.0
        for name in ("plus", "minus", "plus_multiplier", "minus_multiplier"):
            old, new = getattr(self, name), getattr(by, name)
            falls = new < 0
            share = min(share, float((-old[falls] / new[falls]).min(initial=2.0)))
        return share


def solve_l1(problem: LogisticProblem, tolerance: float, max_iterations: int) -> Solution:
    """Follow the central path: minimise ``sum(plus + minus) + losses`` over positive parts."""
    ones = np.ones(problem.rows.shape[1])
    at = PrimalDualPoint(ones, ones, ones, ones, problem.best_offset(np.zeros(len(problem.signs)), 0.0))
    primal, dual = np.inf, -np.inf
    for number in range(max_iterations):
        for weights in (
            (exact_last_step(problem, at), at.weights) if at.mean_complementarity < LAST_STEP_BELOW else (at.weights,)
        ):
            primal, dual, offset = problem.primal_and_dual(weights, at.offset)
            if is_close(primal, dual, tolerance):
                return build_solution(problem, weights, offset, primal=primal, dual=dual, iterations=number)
        at = predictor_corrector_step(problem, at)
    raise unsolved_error(NAME, primal, dual, tolerance, max_iterations)


def exact_last_step(problem: LogisticProblem, point: PrimalDualPoint) -> Vector:
    """Take for zero what has fallen below its multiplier, and bring the other weights to where their slopes are 1.

    With their signs known this is a smooth problem of few weights: Newton's method ends at the last digits.
    """
    used = np.flatnonzero((point.plus > point.plus_multiplier) | (point.minus > point.minus_multiplier))
    rows, weights, offset = problem.rows[:, used], point.weights[used], point.offset
    ways, found = np.sign(weights), np.zeros(len(point.plus))
    for _ in range(2 if len(used) else 0):
        scores = rows @ weights
        offset = problem.best_offset(scores, offset)
        doubt = wrong_class_probability(problem.signs * (scores + offset))
        bends = problem.strength * doubt * (1 - doubt)
        slope = problem.strength * (rows.T @ (problem.signs * doubt)) - ways
        middle = bends @ rows / bends.sum() if problem.has_free_offset else np.zeros(len(used))
        sides = np.sqrt(bends)[:, None] * (rows - middle)  # the offset eliminated
        weights = weights + solve_symmetric(sides.T @ sides, slope)
    found[used] = weights
    return found


def predictor_corrector_step(problem: LogisticProblem, point: PrimalDualPoint) -> PrimalDualPoint:
    """Take one step: a first one towards zero products tells how far to go, a second goes there."""
    slope, bends = loss_derivatives(problem, point)
    solve = factor_newton_system(problem, point, bends)
    first = newton_direction(point, slope, 0.0, solve)
    middle = point.mean_complementarity
    reached = point.step_along(first, min(1.0, point.max_step(first))).mean_complementarity
    aim = middle * max(1e-3, min(1.0, reached / middle) ** 3)
    step = newton_direction(point, slope, aim, solve)
    share = min(1.0, 0.99 * point.max_step(step))
    was = residual(point, slope, aim)
    while share > 1e-10:
        new = point.step_along(step, share)
        if residual(new, loss_derivatives(problem, new)[0], aim) <= (1 - 0.01 * share) * was + 1e-13:
            break
        share /= 2
    return point.step_along(step, share)


def loss_derivatives(problem: LogisticProblem, point: PrimalDualPoint) -> tuple[tuple[Vector, float], Vector]:
    """Give the slope of the losses in the weights and in the offset, and their bends (n,)."""
    doubt = wrong_class_probability(problem.signs * (problem.rows @ point.weights + point.offset))
    pulls = -problem.strength * problem.signs * doubt
    slope = float(pulls.sum()) if problem.has_free_offset else 0.0
    return (problem.rows.T @ pulls, slope), problem.strength * doubt * (1 - doubt)


def residual(point: PrimalDualPoint, slope: tuple[Vector, float], target: float) -> float:
    """The length of all that is not yet as it should be (Boyd and Vandenberghe, equation 11.53)."""
    pieces = (
        slope[0] + 1 - point.plus_multiplier,
        1 - slope[0] - point.minus_multiplier,
        point.plus * point.plus_multiplier - target,
        point.minus * point.minus_multiplier - target,
    )
    return float(np.sqrt(sum(p @ p for p in pieces) + slope[1] ** 2))


System = tuple[object, Vector, Vector, Vector, float]


def factor_newton_system(problem: LogisticProblem, point: PrimalDualPoint, curvatures: Vector) -> System:
    """Factor ``1/T + X' B X`` with T the sum of parts over multipliers, and border it with the offset."""
    looseness = point.plus / point.plus_multiplier + point.minus / point.minus_multiplier  # T, (d,)
    root = np.sqrt(looseness)
    sides = np.sqrt(curvatures)[:, None] * problem.rows * root
    inner = factor_normal(sides)

    def solve(right: Vector) -> Vector:
        return root * inner(root * right)

    tied = problem.rows.T @ curvatures if problem.has_free_offset else np.zeros(len(root))
    across = solve(tied) if problem.has_free_offset else tied
    left = float(curvatures.sum() - tied @ across) if problem.has_free_offset else 1.0
    return solve, looseness, tied, across, left


def newton_direction(
    point: PrimalDualPoint, slope: tuple[Vector, float], target: float, factored: System
) -> PrimalDualPoint:
    """Solve Newton's system for products of ``target``, all but (w, b) eliminated (Boyd and Vandenberghe, 11.54)."""
    solve, looseness, tied, across, left = factored
    plus_lack, minus_lack = target - point.plus * point.plus_multiplier, target - point.minus * point.minus_multiplier
    plus_off, minus_off = slope[0] + 1 - point.plus_multiplier, 1 - slope[0] - point.minus_multiplier
    right = plus_lack / point.plus_multiplier - point.plus / point.plus_multiplier * plus_off
    right = right - (minus_lack / point.minus_multiplier - point.minus / point.minus_multiplier * minus_off)
    step = solve(right / looseness)  # type: ignore[operator]
    offset = (-slope[1] - float(tied @ step)) / left if left > 0 else 0.0
    step = step - across * offset
    turn = right / looseness - step / looseness  # X'B(X dw + db), by the first row of the system
    plus_price, minus_price = plus_off + turn, minus_off - turn
    plus = (plus_lack - point.plus * plus_price) / point.plus_multiplier
    minus = (minus_lack - point.minus * minus_price) / point.minus_multiplier
    return PrimalDualPoint(plus, minus, plus_price, minus_price, offset)


THIS = logistic_interior_point
