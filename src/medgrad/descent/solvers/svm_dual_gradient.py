"""Support vector machines by ascent on the dual: accelerated, projected onto its box, with an exact last step."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike

from ._hinge import HingeProblem, build_hinge_problem, build_solution
from ._solver import Offset, Solution, Vector, is_close, unsolved_error

NAME = "svm_dual_gradient"
FIRST, LATER = 25, 1.5
"""The step after which the gap is looked at first, and by how much later each time."""
STEP_GROWTH = 1.1
"""How much longer each step tries to be."""


def svm_dual_gradient(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    C: float = 1.0,
    kernel: str = "linear",
    gamma: float = 0.0,
    degree: int = 3,
    offset: Offset = "free",
    tolerance: float = 1e-9,
    iterations: int = 100_000,
) -> Solution:
    """Minimise ``|w|^2 / 2 + C * sum max(0, 1 - sign * (score + b))`` by raising its dual.

    The settings are those of ``svm_interior_point``. A step costs 2 n d with a linear kernel and n^2 with another.

    Steps are those of FISTA (Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009, equations 4.1 to 4.3) on the dual,
    each brought back into the box and, with a free offset, onto ``sum sign a = 0`` (Brucker, Operations Research
    Letters 3, 1984), begun anew when momentum and step disagree (O'Donoghue and Candes, Found. Comput. Math. 15, 2015,
    section 3.2). They tell early which amounts lie between 0 and ``C``; from time to time these are solved for,
    and the gap says whether that was the optimum.

    >>> found = svm_dual_gradient([[-3.0], [-1.0], [1.0], [2.0]], [-1, -1, 1, 1])
    >>> found.weights.round(6).tolist(), found.gap < 1e-9
    ([1.0], True)
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
    amounts, number = accelerated_ascent(problem, tolerance, iterations)
    return build_solution(rows, problem, amounts, number)


@dataclass(frozen=True)
class Iterate:
    """Amounts, and the scores that they make, so that no product is made twice."""

    duals: Vector
    scores: Vector

    def extrapolate(self, before: Iterate, share: float) -> Iterate:
        """The place as far beyond this one, seen from an earlier one."""
        return Iterate(
            self.duals + share * (self.duals - before.duals), self.scores + share * (self.scores - before.scores)
        )


def accelerated_ascent(problem: HingeProblem, tolerance: float, max_iterations: int) -> tuple[Vector, int]:
    """Give the amounts at which the gap is closed, and the number of steps."""
    nothing = np.zeros(len(problem.signs))
    now = start = Iterate(nothing, nothing)
    length, momentum, look, primal, dual = 1.0, 1.0, FIRST, inf, -inf
    for number in range(1, max_iterations + 1):
        new, length = ascent_step(problem, start, length * STEP_GROWTH)
        if float((start.duals - new.duals) @ (new.duals - now.duals)) > 0:
            momentum = 1.0
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        start = new.extrapolate(now, (momentum - 1) / after)
        now, momentum = new, after
        if number >= min(look, max_iterations):
            look = int(number * LATER)
            best = exact_last_step(problem, now)
            primal, dual, _ = problem.primal_and_dual(best)
            if is_close(primal, dual, tolerance):
                return best, number
    raise unsolved_error(NAME, primal, dual, tolerance, max_iterations)


def ascent_step(problem: HingeProblem, start: Iterate, length: float) -> tuple[Iterate, float]:
    """Take one step, shorter until the dual's bend along it is less than its model's; give the place and the length."""
    slope = 1 - problem.signs * start.scores
    while True:
        amounts = project_duals(problem, start.duals + length * slope)
        scores = problem.scores(amounts)
        along = amounts - start.duals
        bend = float((along * problem.signs) @ (scores - start.scores))
        if bend * length <= float(along @ along) * (1 + 1e-9) or length < 1e-300:
            return Iterate(amounts, scores), length
        length /= 2


def project_duals(problem: HingeProblem, duals: Vector) -> Vector:
    """Give the nearest amounts in the box that, with a free offset, weigh both signs the same.

    They are ``clip(a - shift * sign)`` for the one shift at which they do, found by Newton's method in a bracket.
    """
    most, signs = problem.strength, problem.signs
    if not problem.has_free_offset:
        return np.clip(duals, 0.0, most)
    shift, low, high = 0.0, -inf, inf
    for _ in range(100):
        inside = np.clip(duals - shift * signs, 0.0, most)
        over = float(signs @ inside)
        if abs(over) <= 1e-14 * most * len(signs):
            break
        low, high = (shift, high) if over > 0 else (low, shift)
        free = int(((inside > 0) & (inside < most)).sum())
        new = shift + over / max(free, 1)
        if not low < new < high:
            new = (low + high) / 2 if np.isfinite(low + high) else 2 * shift + np.sign(over) * most
        shift = new
    return problem.feasible_duals(np.clip(duals - shift * signs, 0.0, most))


def exact_last_step(problem: HingeProblem, iterate: Iterate) -> Vector:
    """Solve for the amounts that are between 0 and ``strength``."""
    return problem.solve_active_set(iterate.duals, iterate.duals <= 0, iterate.duals >= problem.strength)


THIS = svm_dual_gradient
