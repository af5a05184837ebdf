"""What the solvers of support vector machines share: kernels, the objective, its dual, and the exact last step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import SettingError, suggest_name
from ._logistic import balance_classes
from ._solver import (
    Matrix,
    Offset,
    Solution,
    Vector,
    add_ones_column,
    check_problem,
    empty_vector,
    reduce_columns,
    solve_symmetric,
)

KERNEL_NAMES = ("linear", "rbf", "polynomial")
Mask = NDArray[np.bool_]
MAX_ACTIVE_SET_CHANGES = 12
"""How often the exact last step may put right who is where."""


def kernel_matrix(a: Matrix, b: Matrix, *, kernel: str, gamma: float, degree: int = 3) -> Matrix:
    """Give the kernel of every row of ``a`` with every row of ``b``: (n, m).

    "rbf" is ``exp(-gamma |x - y|^2)``, "polynomial" ``(gamma x.y + 1)^degree``; ``gamma`` 0 is one over the columns.

    >>> kernel_matrix(np.eye(2), np.eye(2), kernel="rbf", gamma=0.5).round(3).tolist()
    [[1.0, 0.368], [0.368, 1.0]]
    """
    gamma = gamma or 1 / a.shape[1]
    products = a @ b.T
    if kernel == "linear":
        return products
    if kernel == "polynomial":
        return (gamma * products + 1) ** degree
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * products
    return np.exp(-gamma * np.maximum(squares, 0.0))


@dataclass(frozen=True)
class HingeProblem:
    """``|w|^2 / 2 + strength * sum max(0, 1 - sign * (score + b))``, through its dual amounts a in [0, strength].

    Either ``rows`` or ``gram``, the kernel of all rows with one another, is empty. ``has_free_offset`` is false where
    there is no b, but a constant in the kernel.
    """

    rows: Matrix
    gram: Matrix
    signs: Vector
    strength: float
    has_free_offset: bool

    @property
    def is_linear(self) -> bool:
        return bool(self.rows.size)

    def scores(self, duals: Vector) -> Vector:
        """The scores of all rows, without the offset."""
        pulls = duals * self.signs
        return self.rows @ (self.rows.T @ pulls) if self.is_linear else self.gram @ pulls

    def kernel_among(self, chosen: NDArray[np.int64]) -> Matrix:
        """The kernel of the selected rows with one another."""
        return self.rows[chosen] @ self.rows[chosen].T if self.is_linear else self.gram[np.ix_(chosen, chosen)]

    def feasible_duals(self, duals: Vector) -> Vector:
        """Project dual variables to the feasible set: clip to the box and, with a free offset, balance both classes."""
        inside = np.clip(duals, 0.0, self.strength)
        return balance_classes(inside, self.signs) if self.has_free_offset else inside

    def best_offset(self, scores: Vector) -> float:
        """The best offset for given scores: the objective's slope in it begins at -strength times the positives.

        It rises by ``strength`` at each ``sign - score``, so it passes zero between two of these once they are sorted.
        """
        if not self.has_free_offset:
            return 0.0
        corners = np.sort(self.signs - scores)
        positives = int((self.signs > 0).sum())
        return float(corners[positives - 1] + corners[positives]) / 2

    def primal_and_dual(self, duals: Vector, scores: Vector | None = None) -> tuple[float, float, float]:
        """Give the objective at the weights that amounts make, the dual at the amounts, and the offset.

        The dual is ``sum a - |w|^2 / 2`` (Boser, Guyon and Vapnik 1992; Fan, Chen and Lin, JMLR 6, 2005, equation 1).
        """
        scores = self.scores(duals) if scores is None else scores
        offset = self.best_offset(scores)
        square = float((duals * self.signs) @ scores)
        lacks = np.maximum(0.0, 1 - self.signs * (scores + offset))
        return square / 2 + self.strength * float(lacks.sum()), float(duals.sum()) - square / 2, offset

    def duality_gap(self, duals: Vector) -> float:
        """The duality gap at feasible dual variables."""
        primal, dual, _ = self.primal_and_dual(duals)
        return primal - dual

    def solve_active_set(self, duals: Vector, is_low: Mask, is_high: Mask) -> Vector:
        """Solve for the free dual variables exactly by an active-set method, from a guess of the ones at their bounds.

        The free rows have margin 1: one linear system in them and the offset. Variables that leave the box stay at
        its edge, and ones at an edge against their margin become free, until nothing changes (Hintermueller, Ito and
        Kunisch, SIAM J. Optim. 13, 2002, section 2). The feasible variables with the smallest gap on the way are
        returned.
        """
        best = self.feasible_duals(duals)
        least, hair, moved = self.duality_gap(best), 1e-10, len(duals)
        for _ in range(MAX_ACTIVE_SET_CHANGES):
            chosen = np.flatnonzero(~is_low & ~is_high)
            if self.is_linear and len(chosen) > self.rows.shape[1] + 1:  # margins that cannot all be 1
                break
            duals = np.where(is_low, 0.0, np.where(is_high, self.strength, duals))
            duals, offset = self.solve_unit_margins(duals, chosen)
            found = self.feasible_duals(duals)
            gap = self.duality_gap(found)
            best, least = (found, gap) if gap < least else (best, least)
            beyond = self.signs * (self.scores(duals) + offset) - 1  # margins less 1, 0 for those between
            low = np.where(is_low, beyond > -hair, ~is_high & (duals <= 0))
            high = np.where(is_high, beyond < hair, ~is_low & (duals >= self.strength))
            before, moved = moved, int((low != is_low).sum() + (high != is_high).sum())
            if moved == 0 or moved > before:  # nobody moves, or it does not settle from here
                break
            is_low, is_high = low, high
        return best

    def solve_unit_margins(self, duals: Vector, chosen: NDArray[np.int64]) -> tuple[Vector, float]:
        """Solve for the selected dual variables with margins of 1, without bounds; give all and the offset."""
        scores = self.scores(duals)
        offset, signs, count = self.best_offset(scores), self.signs[chosen], len(chosen)
        if not count:
            return duals, offset
        system = np.zeros((count + self.has_free_offset, count + self.has_free_offset))
        system[:count, :count] = self.kernel_among(chosen) * np.outer(signs, signs)
        lacks = np.zeros(len(system))
        lacks[:count] = 1 - signs * (scores[chosen] + offset)
        if self.has_free_offset:
            system[-1, :-1] = system[:-1, -1] = signs
            lacks[-1] = -float(self.signs @ duals)
        way = solve_symmetric(system, lacks)
        new = duals.copy()
        new[chosen] += way[:count]
        return new, offset + (float(way[-1]) if self.has_free_offset else 0.0)


def build_hinge_problem(
    rows: ArrayLike,
    signs: ArrayLike,
    *,
    strength: float,
    kernel: str,
    gamma: float,
    degree: int,
    offset: Offset,
    tolerance: float,
) -> tuple[Matrix, HingeProblem]:
    """Check what a solver was given; give the rows and the problem, linear rows turned to their smaller side."""
    rows, signs = check_problem(rows, signs, strength=strength, offset=offset, tolerance=tolerance)
    if kernel not in KERNEL_NAMES:
        raise SettingError(
            f"There is no kernel {kernel!r}.{suggest_name(kernel, KERNEL_NAMES)} Known: {', '.join(KERNEL_NAMES)}."
        )
    if gamma < 0 or degree < 1:
        raise SettingError(f"'gamma' is at least 0 and 'degree' at least 1, but they are {gamma} and {degree}.")
    is_free, none = offset == "free", np.zeros((0, 0))
    if kernel == "linear":
        wide = rows if is_free else add_ones_column(rows)
        return rows, HingeProblem(reduce_columns(wide)[0], none, signs, float(strength), is_free)
    gram = kernel_matrix(rows, rows, kernel=kernel, gamma=gamma, degree=degree)
    return rows, HingeProblem(none, gram if is_free else gram + 1, signs, float(strength), is_free)


def build_solution(rows: Matrix, problem: HingeProblem, duals: Vector, iterations: int) -> Solution:
    """Give the solution that dual amounts make: weights if it is linear, else the support rows' coefficients."""
    primal, dual, offset = problem.primal_and_dual(duals)
    pulls = duals * problem.signs
    offset = offset if problem.has_free_offset else float(pulls.sum())
    support = np.flatnonzero(duals > 0)
    weights = rows.T @ pulls if problem.is_linear else empty_vector()
    return Solution(weights, offset, primal, dual, iterations, support, pulls[support])
