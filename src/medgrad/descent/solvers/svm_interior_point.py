"""Support vector machines by an interior-point method on the dual, with an exact last step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from ._hinge import HingeProblem, build_hinge_problem, build_solution
from ._solver import Offset, Solution, Vector, factor_cholesky, factor_normal, is_close, unsolved_error

NAME = "svm_interior_point"
LAST_STEP_GAP = 0.3
"""The gap, as a share of the objective, from which on the exact last step is tried."""


def svm_interior_point(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    C: float = 1.0,
    kernel: str = "linear",
    gamma: float = 0.0,
    degree: int = 3,
    offset: Offset = "free",
    tolerance: float = 1e-9,
    iterations: int = 100,
) -> Solution:
    """Minimise ``|w|^2 / 2 + C * sum max(0, 1 - sign * (score + b))`` until primal and dual meet.

    ``kernel`` is "linear", "rbf" or "polynomial", of ``gamma`` (0: one over the columns) and ``degree``. A "free"
    offset b is not penalised, as by libsvm; a "penalised" one is, as by liblinear. ``tolerance`` is that of the gap,
    absolute. A step costs n d min(n, d) with a linear kernel and n^3 / 3 with another, in memory n^2.

    The dual is a quadratic problem in the amounts a: ``a' Q a / 2 - sum a`` over ``0 <= a <= C``, and
    ``sum sign a = 0`` where the offset is free. It is solved by Mehrotra's predictor and corrector (SIAM J. Optim. 2,
    1992, section 2), with the linear kernel's low rank used as by Fine and Scheinberg (JMLR 2, 2001, section 4.1):
    ``(D + Z Z')^-1`` by a factor of ``I + Z' D^-1 Z``. Once it shows which amounts lie between 0 and ``C``,
    these solve one linear system, which gives the optimum to the last digits.

    >>> found = svm_interior_point([[-3.0], [-1.0], [1.0], [2.0]], [-1, -1, 1, 1])
    >>> found.weights.round(6).tolist(), round(abs(found.offset), 6), found.gap < 1e-9
    ([1.0], 0.0, True)
    """
    rows, problem = build_hinge_problem(
        rows,
        signs,
        strength=C,
        kernel=kernel,
        gamma=gamma,
        degree=degree,
        offset=offset,
        tolerance=tolerance,
    )
    amounts, number = follow_central_path(problem, tolerance, iterations)
    return build_solution(rows, problem, amounts, number)


@dataclass(frozen=True)
class PrimalDualPoint:
    """Dual amounts, the multipliers of their two bounds, and that of the equality, which is the offset."""

    duals: Vector
    low_multiplier: Vector
    high_multiplier: Vector
    offset: float

    def mean_complementarity(self, strength: float) -> float:
        """The mean of the products of distances from the bounds and their multipliers, which goes to zero."""
        products = self.duals @ self.low_multiplier + (strength - self.duals) @ self.high_multiplier
        return float(products) / (2 * len(self.duals))

    def step_along(self, direction: PrimalDualPoint, share: float) -> PrimalDualPoint:
        """The point that far along a step."""
        return PrimalDualPoint(
            self.duals + share * direction.duals,
            self.low_multiplier + share * direction.low_multiplier,
            self.high_multiplier + share * direction.high_multiplier,
            self.offset + share * direction.offset,
        )

    def max_step(self, direction: PrimalDualPoint, strength: float) -> float:
        """How far along a step everything stays positive, at most 2."""
        pairs = (
            (self.duals, direction.duals),
            (strength - self.duals, -direction.duals),
            (self.low_multiplier, direction.low_multiplier),
            (self.high_multiplier, direction.high_multiplier),
        )
        return min(float((-old[new < 0] / new[new < 0]).min(initial=2.0)) for old, new in pairs)


def follow_central_path(problem: HingeProblem, tolerance: float, max_iterations: int) -> tuple[Vector, int]:
    """Follow the central path until the gap closes; give the amounts and the number of steps."""
    at, primal, dual = starting_point(problem), np.inf, -np.inf
    for number in range(max_iterations):
        best = problem.feasible_duals(at.duals)
        primal, dual, _ = problem.primal_and_dual(best)
        if primal - dual <= LAST_STEP_GAP * max(1.0, abs(primal)):
            best = exact_last_step(problem, at)
            primal, dual, _ = problem.primal_and_dual(best)
        if is_close(primal, dual, tolerance):
            return best, number
        at = predictor_corrector_step(problem, at)
    raise unsolved_error(NAME, primal, dual, tolerance, max_iterations)


def starting_point(problem: HingeProblem) -> PrimalDualPoint:
    """Begin within the box, on the equality, and with multipliers that fit the slope, so that both stay kept."""
    positives = float((problem.signs > 0).mean())
    share = (
        np.where(problem.signs > 0, 1 - positives, positives)
        if problem.has_free_offset
        else np.full(len(problem.signs), 0.5)
    )
    amounts = problem.strength * share
    slope = problem.signs * problem.scores(amounts) - 1
    spare = 1.0 + 0.1 * float(np.abs(slope).mean())
    return PrimalDualPoint(amounts, np.maximum(slope, 0.0) + spare, np.maximum(-slope, 0.0) + spare, 0.0)


def exact_last_step(problem: HingeProblem, point: PrimalDualPoint) -> Vector:
    """Tell the amounts that go to a bound from the rest, which are then solved for."""
    share = point.duals / point.duals.max()
    is_low, is_high = share < point.low_multiplier, 1 - point.duals / problem.strength < point.high_multiplier
    both = is_low & is_high  # not told apart yet: the nearer bound
    is_near = point.duals < problem.strength / 2
    return problem.solve_active_set(point.duals, is_low & (~both | is_near), is_high & (~both | ~is_near))


def predictor_corrector_step(problem: HingeProblem, point: PrimalDualPoint) -> PrimalDualPoint:
    """Take one step: a predictor towards zero products, then the step that it corrects and centres."""
    gaps = problem.strength - point.duals
    weight = point.low_multiplier / point.duals + point.high_multiplier / gaps  # D, (n,)
    solve = factor_newton_system(problem, weight)
    tied = solve(problem.signs) if problem.has_free_offset else np.zeros(len(gaps))
    off = (
        problem.signs * (problem.scores(point.duals) + point.offset) - 1 - point.low_multiplier + point.high_multiplier
    )

    def step(low_lack: Vector, high_lack: Vector) -> PrimalDualPoint:
        amounts = solve(low_lack / point.duals - high_lack / gaps - off)
        offset = 0.0
        if problem.has_free_offset:
            lack = float(problem.signs @ point.duals)
            offset = (float(problem.signs @ amounts) + lack) / float(problem.signs @ tied)
            amounts = amounts - offset * tied
        low = (low_lack - point.low_multiplier * amounts) / point.duals
        high = (high_lack + point.high_multiplier * amounts) / gaps
        return PrimalDualPoint(amounts, low, high, offset)

    low_product, high_product = point.duals * point.low_multiplier, gaps * point.high_multiplier
    first = step(-low_product, -high_product)
    middle = point.mean_complementarity(problem.strength)
    reached = point.step_along(first, min(1.0, point.max_step(first, problem.strength))).mean_complementarity(
        problem.strength
    )
    aim = middle * min(1.0, reached / middle) ** 3
    second = step(
        aim - low_product - first.duals * first.low_multiplier, aim - high_product + first.duals * first.high_multiplier
    )
    return point.step_along(second, min(1.0, 0.995 * point.max_step(second, problem.strength)))


def factor_newton_system(problem: HingeProblem, weight: Vector) -> Callable[[Vector], Vector]:
    """Give what solves ``(D + Y K Y) x = r``: by the narrow side of linear rows, else by a factor of the whole."""
    if not problem.is_linear:
        whole = problem.gram * np.outer(problem.signs, problem.signs)
        whole.flat[:: len(whole) + 1] += weight
        factor = factor_cholesky(whole)
        return lambda r: linalg.cho_solve(factor, r, check_finite=False)
    rows = problem.rows * problem.signs[:, None]
    inner = factor_normal(rows / np.sqrt(weight)[:, None])

    def solve_once(right: Vector) -> Vector:
        return (right - rows @ inner(rows.T @ (right / weight))) / weight

    def solve_refined(right: Vector) -> Vector:  # the first solution loses digits where weights differ by much
        found = solve_once(right)
        return found + solve_once(right - weight * found - rows @ (rows.T @ found))

    return solve_refined


THIS = svm_interior_point
