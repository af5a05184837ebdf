"""Support vector machines by ascent on the dual: accelerated, projected onto its box, with an exact last step."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike

from ._hinge import Hinge, problem_of, solution
from ._solver import Offset, Solution, Vector, is_close, unsolved

NAME = "svm_descent"
FIRST, LATER = 25, 1.5
"""The step after which the gap is looked at first, and by how much later each time."""
GROWTH = 1.1
"""How much longer each step tries to be."""


def svm_descent(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    strength: float = 1.0,
    kernel: str = "linear",
    gamma: float = 0.0,
    degree: int = 3,
    offset: Offset = "free",
    tolerance: float = 1e-9,
    iterations: int = 100_000,
) -> Solution:
    """Minimise ``|w|^2 / 2 + strength * sum max(0, 1 - sign * (score + b))`` by raising its dual.

    The settings are those of ``svm_interior_point``. A step costs 2 n d with a linear kernel and n^2 with another.

    Steps are those of FISTA (Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009, equations 4.1 to 4.3) on the dual,
    each brought back into the box and, with a free offset, onto ``sum sign a = 0`` (Brucker, Operations Research
    Letters 3, 1984), begun anew when momentum and step disagree (O'Donoghue and Candes, Found. Comput. Math. 15, 2015,
    section 3.2). They tell early which amounts lie between 0 and ``strength``; from time to time these are solved for,
    and the gap says whether that was the optimum.

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


@dataclass(frozen=True)
class Place:
    """Amounts, and the scores that they make, so that no product is made twice."""

    amounts: Vector
    scores: Vector

    def beyond(self, before: Place, share: float) -> Place:
        """The place as far beyond this one, seen from an earlier one."""
        return Place(
            self.amounts + share * (self.amounts - before.amounts), self.scores + share * (self.scores - before.scores)
        )


def ascend(problem: Hinge, tolerance: float, most: int) -> tuple[Vector, int]:
    """Give the amounts at which the gap is closed, and the number of steps."""
    nothing = np.zeros(len(problem.signs))
    now = start = Place(nothing, nothing)
    length, momentum, look, primal, dual = 1.0, 1.0, FIRST, inf, -inf
    for number in range(1, most + 1):
        new, length = step(problem, start, length * GROWTH)
        if float((start.amounts - new.amounts) @ (new.amounts - now.amounts)) > 0:
            momentum = 1.0
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        start = new.beyond(now, (momentum - 1) / after)
        now, momentum = new, after
        if number >= min(look, most):
            look = int(number * LATER)
            best = last_step(problem, now)
            primal, dual, _ = problem.bounds(best)
            if is_close(primal, dual, tolerance):
                return best, number
    raise unsolved(NAME, primal, dual, tolerance, most)


def step(problem: Hinge, start: Place, length: float) -> tuple[Place, float]:
    """Take one step, shorter until the dual's bend along it is less than its model's; give the place and the length."""
    slope = 1 - problem.signs * start.scores
    while True:
        amounts = projected(problem, start.amounts + length * slope)
        scores = problem.scores(amounts)
        along = amounts - start.amounts
        bend = float((along * problem.signs) @ (scores - start.scores))
        if bend * length <= float(along @ along) * (1 + 1e-9) or length < 1e-300:
            return Place(amounts, scores), length
        length /= 2


def projected(problem: Hinge, amounts: Vector) -> Vector:
    """Give the nearest amounts in the box that, with a free offset, weigh both signs the same.

    They are ``clip(a - shift * sign)`` for the one shift at which they do, found by Newton's method in a bracket.
    """
    most, signs = problem.strength, problem.signs
    if not problem.is_free:
        return np.clip(amounts, 0.0, most)
    shift, low, high = 0.0, -inf, inf
    for _ in range(100):
        inside = np.clip(amounts - shift * signs, 0.0, most)
        over = float(signs @ inside)
        if abs(over) <= 1e-14 * most * len(signs):
            break
        low, high = (shift, high) if over > 0 else (low, shift)
        free = int(((inside > 0) & (inside < most)).sum())
        new = shift + over / max(free, 1)
        if not low < new < high:
            new = (low + high) / 2 if np.isfinite(low + high) else 2 * shift + np.sign(over) * most
        shift = new
    return problem.fair(np.clip(amounts - shift * signs, 0.0, most))


def last_step(problem: Hinge, at: Place) -> Vector:
    """Solve for the amounts that are between 0 and ``strength``."""
    return problem.finished(at.amounts, at.amounts <= 0, at.amounts >= problem.strength)


THIS = svm_descent
