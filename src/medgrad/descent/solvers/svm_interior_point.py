"""Support vector machines by an interior-point method on the dual, with an exact last step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from ._hinge import Hinge, problem_of, solution
from ._solver import Offset, Solution, Vector, cholesky, is_close, normal, unsolved

NAME = "svm_interior_point"
NEAR = 0.3
"""The gap, as a share of the objective, from which on the exact last step is tried."""


def svm_interior_point(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    strength: float = 1.0,
    kernel: str = "linear",
    gamma: float = 0.0,
    degree: int = 3,
    offset: Offset = "free",
    tolerance: float = 1e-9,
    iterations: int = 100,
) -> Solution:
    """Minimise ``|w|^2 / 2 + strength * sum max(0, 1 - sign * (score + b))`` until primal and dual meet.

    ``kernel`` is "linear", "rbf" or "polynomial", of ``gamma`` (0: one over the columns) and ``degree``. A "free"
    offset b is not penalised, as by libsvm; a "penalised" one is, as by liblinear. ``tolerance`` is that of the gap,
    absolute. A step costs n d min(n, d) with a linear kernel and n^3 / 3 with another, in memory n^2.

    The dual is a quadratic problem in the amounts a: ``a' Q a / 2 - sum a`` over ``0 <= a <= strength``, and
    ``sum sign a = 0`` where the offset is free. It is solved by Mehrotra's predictor and corrector (SIAM J. Optim. 2,
    1992, section 2), with the linear kernel's low rank used as by Fine and Scheinberg (JMLR 2, 2001, section 4.1):
    ``(D + Z Z')^-1`` by a factor of ``I + Z' D^-1 Z``. Once it shows which amounts lie between 0 and ``strength``,
    these solve one linear system, which gives the optimum to the last digits.

    >>> found = svm_interior_point([[-3.0], [-1.0], [1.0], [2.0]], [-1, -1, 1, 1])
    >>> found.weights.round(6).tolist(), round(abs(found.offset), 6), found.gap < 1e-9
    ([1.0], 0.0, True)
    """
    rows, problem = problem_of(
        rows,
        signs,
        strength=strength,
        kernel=kernel,
        gamma=gamma,
        degree=degree,
        offset=offset,
        tolerance=tolerance,
    )
    amounts, number = follow(problem, tolerance, iterations)
    return solution(rows, problem, amounts, number)


@dataclass(frozen=True)
class Point:
    """Dual amounts, the multipliers of their two bounds, and that of the equality, which is the offset."""

    amounts: Vector
    low_price: Vector
    high_price: Vector
    offset: float

    def middle(self, strength: float) -> float:
        """The mean of the products of distances from the bounds and their multipliers, which goes to zero."""
        products = self.amounts @ self.low_price + (strength - self.amounts) @ self.high_price
        return float(products) / (2 * len(self.amounts))

    def moved(self, by: Point, share: float) -> Point:
        """The point that far along a step."""
        return Point(
            self.amounts + share * by.amounts,
            self.low_price + share * by.low_price,
            self.high_price + share * by.high_price,
            self.offset + share * by.offset,
        )

    def room(self, by: Point, strength: float) -> float:
        """How far along a step everything stays positive, at most 2."""
        pairs = (
            (self.amounts, by.amounts),
            (strength - self.amounts, -by.amounts),
            (self.low_price, by.low_price),
            (self.high_price, by.high_price),
        )
        return min(float((-old[new < 0] / new[new < 0]).min(initial=2.0)) for old, new in pairs)


def follow(problem: Hinge, tolerance: float, most: int) -> tuple[Vector, int]:
    """Follow the central path until the gap closes; give the amounts and the number of steps."""
    at, primal, dual = begin(problem), np.inf, -np.inf
    for number in range(most):
        best = problem.fair(at.amounts)
        primal, dual, _ = problem.bounds(best)
        if primal - dual <= NEAR * max(1.0, abs(primal)):
            best = last_step(problem, at)
            primal, dual, _ = problem.bounds(best)
        if is_close(primal, dual, tolerance):
            return best, number
        at = advance(problem, at)
    raise unsolved(NAME, primal, dual, tolerance, most)


def begin(problem: Hinge) -> Point:
    """Begin within the box, on the equality, and with multipliers that fit the slope, so that both stay kept."""
    positives = float((problem.signs > 0).mean())
    share = (
        np.where(problem.signs > 0, 1 - positives, positives) if problem.is_free else np.full(len(problem.signs), 0.5)
    )
    amounts = problem.strength * share
    slope = problem.signs * problem.scores(amounts) - 1
    spare = 1.0 + 0.1 * float(np.abs(slope).mean())
    return Point(amounts, np.maximum(slope, 0.0) + spare, np.maximum(-slope, 0.0) + spare, 0.0)


def last_step(problem: Hinge, at: Point) -> Vector:
    """Tell the amounts that go to a bound from the rest, which are then solved for."""
    share = at.amounts / at.amounts.max()
    is_low, is_high = share < at.low_price, 1 - at.amounts / problem.strength < at.high_price
    both = is_low & is_high  # not told apart yet: the nearer bound
    is_near = at.amounts < problem.strength / 2
    return problem.finished(at.amounts, is_low & (~both | is_near), is_high & (~both | ~is_near))


def advance(problem: Hinge, at: Point) -> Point:
    """Take one step: a predictor towards zero products, then the step that it corrects and centres."""
    gaps = problem.strength - at.amounts
    weight = at.low_price / at.amounts + at.high_price / gaps  # D, (n,)
    solve = system(problem, weight)
    tied = solve(problem.signs) if problem.is_free else np.zeros(len(gaps))
    off = problem.signs * (problem.scores(at.amounts) + at.offset) - 1 - at.low_price + at.high_price

    def step(low_lack: Vector, high_lack: Vector) -> Point:
        amounts = solve(low_lack / at.amounts - high_lack / gaps - off)
        offset = 0.0
        if problem.is_free:
            lack = float(problem.signs @ at.amounts)
            offset = (float(problem.signs @ amounts) + lack) / float(problem.signs @ tied)
            amounts = amounts - offset * tied
        low = (low_lack - at.low_price * amounts) / at.amounts
        high = (high_lack + at.high_price * amounts) / gaps
        return Point(amounts, low, high, offset)

    low_product, high_product = at.amounts * at.low_price, gaps * at.high_price
    first = step(-low_product, -high_product)
    middle = at.middle(problem.strength)
    reached = at.moved(first, min(1.0, at.room(first, problem.strength))).middle(problem.strength)
    aim = middle * min(1.0, reached / middle) ** 3
    second = step(
        aim - low_product - first.amounts * first.low_price, aim - high_product + first.amounts * first.high_price
    )
    return at.moved(second, min(1.0, 0.995 * at.room(second, problem.strength)))


def system(problem: Hinge, weight: Vector) -> Callable[[Vector], Vector]:
    """Give what solves ``(D + Y K Y) x = r``: by the narrow side of linear rows, else by a factor of the whole."""
    if not problem.is_linear:
        whole = problem.gram * np.outer(problem.signs, problem.signs)
        whole.flat[:: len(whole) + 1] += weight
        factor = cholesky(whole)
        return lambda r: linalg.cho_solve(factor, r, check_finite=False)
    rows = problem.rows * problem.signs[:, None]
    inner = normal(rows / np.sqrt(weight)[:, None])

    def once(right: Vector) -> Vector:
        return (right - rows @ inner(rows.T @ (right / weight))) / weight

    def twice(right: Vector) -> Vector:  # the first solution loses digits where weights differ by much
        found = once(right)
        return found + once(right - weight * found - rows @ (rows.T @ found))

    return twice


THIS = svm_interior_point
