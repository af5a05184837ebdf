"""Support vector machines by ascent on the dual, two amounts at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._hinge import Hinge, problem_of, solution
from ._solver import Matrix, Offset, Solution, Vector, is_close, unsolved

NAME = "svm_descent"
FLAT = 1e-12
"""The least curvature along a pair, so that rows that are there twice divide by something."""


def svm_descent(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    strength: float = 1.0,
    kernel: str = "linear",
    gamma: float = 0.0,
    degree: int = 3,
    offset: Offset = "free",
    tolerance: float = 1e-11,
    iterations: int = 2_000_000,
) -> Solution:
    """Minimise ``|w|^2 / 2 + strength * sum max(0, 1 - sign * (score + b))`` by raising its dual.

    The settings are those of ``svm_interior_point``. A step costs about 10 n, the memory is n^2.

    Each step moves the pair of amounts that promises most (Fan, Chen and Lin, JMLR 6, 2005, working set selection 2 and
    equation 9) or, where the offset is penalised and no equality ties them, the single amount (Hsieh et al., ICML 2008,
    equation 9, the choice being the greedy one). From time to time all that lie between 0 and ``strength`` move at once
    to where their margins are 1, as far as the box allows, so that the end is not a crawl.

    >>> found = svm_descent([[-3.0], [-1.0], [1.0], [2.0]], [-1, -1, 1, 1])
    >>> found.weights.round(6).tolist(), found.gap < 1e-9
    ([1.0], True)
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
    amounts, number = ascend(problem, tolerance, iterations)
    return solution(rows, problem, amounts, number)


def ascend(problem: Hinge, tolerance: float, most: int) -> tuple[Vector, int]:
    """Give the amounts at which the gap is closed, and the number of steps."""
    gram = problem.rows @ problem.rows.T if problem.is_linear else problem.gram
    amounts, primal, dual = np.zeros(len(problem.signs)), np.inf, -np.inf
    number, stint = 0, max(100, len(amounts) // 2)
    move = by_pairs if problem.is_free else one_by_one
    while number < most:
        amounts = move(problem, gram, amounts, min(stint, most - number))
        number += min(stint, most - number)
        for tried in (amounts, together(problem, amounts)):
            tried = problem.fair(tried)
            new_primal, new_dual, _ = problem.bounds(tried)
            if new_dual >= dual:
                amounts, primal, dual = tried, new_primal, new_dual
        if is_close(primal, dual, tolerance):
            return amounts, number
    raise unsolved(NAME, primal, dual, tolerance, number)


def together(problem: Hinge, amounts: Vector) -> Vector:
    """Move all amounts that are between 0 and ``strength`` at once."""
    edge = 1e-12 * problem.strength
    is_between = (amounts > edge) & (amounts < problem.strength - edge)
    too_many = problem.is_linear and is_between.sum() > problem.rows.shape[1] + 1  # margins that cannot all be 1
    return amounts if too_many else problem.finished(amounts, is_between)


def by_pairs(problem: Hinge, gram: Matrix, amounts: Vector, count: int) -> Vector:
    """Move so many pairs, each to its best place within the box."""
    amounts, signs, most = amounts.copy(), problem.signs, problem.strength
    wants = signs - gram @ (amounts * signs)  # what the offset would have to be for a margin of 1
    diagonal = np.ascontiguousarray(gram.diagonal())
    may_rise = np.where(np.where(signs > 0, amounts < most, amounts > 0), 0.0, -np.inf)
    may_fall = np.where(np.where(signs > 0, amounts > 0, amounts < most), 0.0, np.inf)
    for _ in range(count):
        i = int(np.argmax(wants + may_rise))
        lead = wants[i] - wants - may_fall  # (n,), -inf where nothing may fall
        bend = np.maximum(diagonal[i] + diagonal - 2 * gram[i], FLAT)
        gain = np.where(lead > 0, lead, 0.0)
        gain *= gain
        gain /= bend
        j = int(np.argmax(gain))
        if not lead[j] > 0:
            break
        share = min(
            lead[j] / bend[j],
            most - amounts[i] if signs[i] > 0 else amounts[i],
            amounts[j] if signs[j] > 0 else most - amounts[j],
        )
        for k, way in ((i, signs[i]), (j, -signs[j])):
            amounts[k] = min(most, max(0.0, amounts[k] + way * share))
            up, down = (amounts[k] < most, amounts[k] > 0) if signs[k] > 0 else (amounts[k] > 0, amounts[k] < most)
            may_rise[k], may_fall[k] = 0.0 if up else -np.inf, 0.0 if down else np.inf
        wants -= share * (gram[i] - gram[j])
    return amounts


def one_by_one(problem: Hinge, gram: Matrix, amounts: Vector, count: int) -> Vector:
    """Move so many single amounts, each to its best place within the box."""
    amounts, signs, most = amounts.copy(), problem.signs, problem.strength
    lacks = 1 - signs * (gram @ (amounts * signs))  # the slope of the dual
    bend = np.maximum(gram.diagonal(), FLAT)
    for _ in range(count):
        way = np.clip(amounts + lacks / bend, 0.0, most) - amounts
        gain = way * (lacks - way * bend / 2)
        i = int(np.argmax(gain))
        if not gain[i] > 0:
            break
        amounts[i] += way[i]
        lacks -= way[i] * signs[i] * signs * gram[i]
    return amounts


THIS = svm_descent
