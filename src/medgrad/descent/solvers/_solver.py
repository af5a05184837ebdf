"""What a solver takes and gives; each file of this folder ends in ``THIS = <a function of the kind Solver>``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from ...errors import MedgradError, SettingError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Offset = Literal["free", "penalised"]
ROUNDING_SHARE = 1e-13
"""The share of an objective that sums in float64 can still tell."""


class Unsolved(MedgradError, ArithmeticError):  # noqa: N818  (reads as a claim)
    """A solver did not come to the gap that was asked for."""


def empty_vector() -> Vector:
    """An empty vector."""
    return np.zeros(0)


def empty_indices() -> NDArray[np.int64]:
    """No row."""
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Solution:
    """A solution of ``size of the weights + strength * sum of the losses``, and what proves it.

    The score of a row is ``row @ weights + offset``. With a kernel there are no weights: the score is the sum over the
    rows numbered in ``support`` of their ``coefficients`` times the kernel with them, and the offset. ``primal`` is the
    objective here, ``dual`` a bound below the objective anywhere.
    """

    weights: Vector
    offset: float
    primal: float
    dual: float
    iterations: int
    support: NDArray[np.int64] = field(default_factory=empty_indices)
    coefficients: Vector = field(default_factory=empty_vector)

    @property
    def gap(self) -> float:
        """How far, at most, the objective is above the lowest that there is (rounding aside)."""
        return self.primal - self.dual


Solver = Callable[..., Solution]


def check_problem(
    rows: ArrayLike, signs: ArrayLike, *, strength: float, offset: str, tolerance: float
) -> tuple[Matrix, Vector]:
    """Give rows (n, d) and signs (n,) in float64, or raise if they set no problem."""
    rows, signs = np.array(rows, np.float64), np.array(signs, np.float64)
    if rows.ndim != 2 or signs.shape != rows.shape[:1] or not rows.size:
        raise ValueError(f"A solver takes rows (n, d) and signs (n,), but got {rows.shape} and {signs.shape}.")
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ValueError(f"Row {bad} has a value that is not a finite number. Leave it out, or fill it in first.")
    if not np.isin(signs, (-1.0, 1.0)).all():
        raise ValueError(f"Signs are +1 and -1, but {float(signs[~np.isin(signs, (-1, 1))][0])} is among them.")
    if len(set(signs.tolist())) < 2:
        raise ValueError(f"All {len(signs)} signs are {int(signs[0]):+d}; both classes are needed to part them.")
    if not (np.isfinite(strength) and strength > 0):
        raise SettingError(f"'C' of a solver is a number above 0, but it is {strength!r}.")
    if offset not in ("free", "penalised"):
        raise SettingError(f"'offset' of a solver is 'free' or 'penalised', not {offset!r}.")
    if not tolerance > 0:
        raise SettingError(f"'tolerance' of a solver is a number above 0, but it is {tolerance!r}.")
    return rows, signs


def is_close(primal: float, dual: float, tolerance: float) -> bool:
    """Tell whether a gap is within the tolerance, or within what float64 can tell of so large an objective."""
    return primal - dual <= max(tolerance, ROUNDING_SHARE * abs(primal))


def unsolved_error(name: str, primal: float, dual: float, tolerance: float, iterations: int) -> Unsolved:
    """Make the error of a solver that did not close its gap."""
    return Unsolved(
        f"{name} left a gap of {primal - dual:.3g} after {iterations} iterations, but {tolerance:.3g} was asked for. "
        "Standardise the columns, lower 'C', or raise 'iterations' or 'tolerance'."
    )


def add_ones_column(rows: Matrix) -> Matrix:
    """Add a column of ones, whose weight is then an offset that is penalised like any weight."""
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def reduce_columns(rows: Matrix) -> tuple[Matrix, Callable[[Vector], Vector]]:
    """Reduce the columns of wide rows by QR, keeping all inner products; also give the map back for weights.

    A penalty on the length of the weights and the losses stay as they are when the columns are rotated, so wide
    rows are rotated into the few directions that they span (n d^2 becomes n^3).
    """
    if rows.shape[1] <= rows.shape[0]:
        return rows, lambda weights: weights
    turned, narrow = linalg.qr(rows.T, mode="economic", check_finite=False)
    return np.ascontiguousarray(narrow.T), lambda weights: turned @ weights


def solve_symmetric(system: Matrix, right: Vector) -> Vector:
    """Solve a symmetric system, by its shortest solution where it is singular (what is there twice)."""
    try:
        found: Vector = np.asarray(np.linalg.solve(system, right), np.float64)
        if np.abs(system @ found - right).max() <= 1e-12 * max(1.0, float(np.abs(right).max())) < np.inf:
            return found
    except np.linalg.LinAlgError:
        pass
    return np.asarray(linalg.lstsq(system, right, cond=1e-13, lapack_driver="gelsy", check_finite=False)[0])


def factor_normal(rows: Matrix) -> Callable[[Vector], Vector]:
    """Give what solves ``(I + S'S) x = r`` for S (n, d), by a Cholesky factor of the smaller of d x d and n x n.

    With fewer rows than columns by Woodbury's identity: ``(I + S'S)^-1 = I - S' (I + SS')^-1 S``.
    """
    n, d = rows.shape
    square = rows.T @ rows if d <= n else rows @ rows.T
    square.flat[:: len(square) + 1] += 1.0
    factor = factor_cholesky(square)
    if d <= n:
        return lambda r: linalg.cho_solve(factor, r, check_finite=False)
    return lambda r: r - rows.T @ linalg.cho_solve(factor, rows @ r, check_finite=False)


def factor_cholesky(square: Matrix) -> tuple[Matrix, bool]:
    """Factor a positive matrix; where rounding has made it not quite positive, a hair is added to its diagonal."""
    hair = 1e-14 * float(square.diagonal().max())
    for _ in range(4):
        try:
            return linalg.cho_factor(square, lower=True, check_finite=False)
        except linalg.LinAlgError:
            square = square + hair * np.eye(len(square))
            hair *= 100
    raise Unsolved("A system of the solver is singular. Standardise the columns, or lower 'C'.")
