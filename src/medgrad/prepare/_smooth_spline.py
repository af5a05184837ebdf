"""Fit a smooth cubic B-spline to values on a grid, of which some count more than others and some do not count.

The control points minimise the weighted squared error plus a penalty on their second differences along each axis
(P-splines, Eilers and Marx 1996). The basis is a product over the axes, so that all sums over elements are products
with small matrices, and the system of equations is a band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Doubles = NDArray[np.float64]

DEGREE = 3
SECOND_DIFFERENCE = (1.0, -2.0, 1.0)
RIDGE = 1e-6
"""Keeps control points finite where nothing counts, over the mean weight of one."""


def count_pieces(extent: float, spacing: float) -> int:
    """Give the number of polynomial pieces along an axis, none longer than ``spacing``, both in mm.

    >>> count_pieces(200.0, 50.0), count_pieces(201.0, 50.0), count_pieces(3.0, 50.0)
    (4, 5, 1)
    """
    return max(1, math.ceil(extent / spacing - 1e-9))


def cubic_basis(n: int, size: float, pieces: float, extent: float) -> Doubles:
    """Give the cubic B-splines of an axis of ``extent`` mm at the middles of its ``n`` elements of ``size`` mm.

    >>> cubic_basis(2, 1.0, 1, 2.0).sum(axis=1).round(12).tolist()
    [1.0, 1.0]
    """
    at = np.clip((np.arange(n) + 0.5) * (size * pieces / extent), 0, pieces)
    piece = np.minimum(at.astype(np.intp), int(pieces) - 1)
    t = at - piece
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t * (1 + t - t**2), t**3)
    basis = np.zeros((n, int(pieces) + DEGREE))
    for shift, weight in enumerate(weights):
        basis[np.arange(n), piece + shift] = weight / 6
    return basis


def multiply_axes(values: NDArray[Any], matrices: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Multiply each axis by a matrix (elements before, elements after).

    >>> multiply_axes(np.ones((2, 3)), [np.ones((2, 1)), np.eye(3)]).tolist()
    [[2.0, 2.0, 2.0]]
    """
    for matrix in matrices:  # each product moves the axis to the end, so that they come in turn
        values = np.tensordot(values, matrix, axes=(0, 0))
    return values


def evaluate(control: NDArray[Any], bases: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Give the spline of these control points on the grid of the bases."""
    return multiply_axes(control, [basis.T for basis in bases])


class SmoothSpline:
    """Fits to values on one grid with the same weights; the system of equations is solved in advance."""

    def __init__(self, bases: Sequence[Doubles], weights: Doubles, stiffness: float) -> None:
        self.bases = bases
        self.weights = weights
        self.shape = tuple(basis.shape[1] for basis in bases)
        mean = float(weights.sum()) / math.prod(self.shape)
        band = normal_band(bases, weights)
        band += stiffness * mean * penalty_band(self.shape, len(band))
        band[0] += RIDGE * mean
        self.factor = linalg.cholesky_banded(band, lower=True, overwrite_ab=True, check_finite=False)

    def fit(self, values: Doubles) -> Doubles:
        """Give the control points of the spline that is closest to these values."""
        right = multiply_axes(self.weights * values, self.bases)
        control = linalg.cho_solve_banded((self.factor, True), right.ravel(), check_finite=False)
        return np.asarray(control, np.float64).reshape(self.shape)


def normal_band(bases: Sequence[Doubles], weights: Doubles) -> Doubles:
    """Give the weighted inner products of all pairs of basis functions, as the lower band of a matrix.

    Along each axis only functions at most three apart overlap, so each product is of an offset and a function.
    """
    shape = [basis.shape[1] for basis in bases]
    offsets = [range(-min(DEGREE, m - 1), min(DEGREE, m - 1) + 1) for m in shape]
    pairs = [
        np.concatenate([basis * shifted(basis, o) for o in reach], 1)
        for basis, reach in zip(bases, offsets, strict=True)
    ]
    sums = multiply_axes(weights, pairs).reshape([n for o, m in zip(offsets, shape, strict=True) for n in (len(o), m)])
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    size = math.prod(shape)
    band = np.zeros((band_rows(shape), size))
    for numbers in product(*(range(len(o)) for o in offsets)):
        below = sum(offsets[axis][number] * steps[axis] for axis, number in enumerate(numbers))
        if below >= 0:
            place = tuple(i for number in numbers for i in (number, slice(None)))
            band[below] += sums[place].ravel()
    return band


def band_rows(shape: Sequence[int]) -> int:
    """Give how many diagonals the lower band of the equations of so many control points has.

    >>> band_rows((10, 10)), band_rows((2, 2))
    (34, 4)
    """
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return min(math.prod(shape), 1 + DEGREE * sum(steps))


def shifted(basis: Doubles, offset: int) -> Doubles:
    """Give, at the place of each function, the one ``offset`` further on, or zeros where there is none."""
    moved = np.zeros_like(basis)
    m = basis.shape[1]
    moved[:, max(0, -offset) : m - max(0, offset)] = basis[:, max(0, offset) : m + min(0, offset)]
    return moved


def penalty_band(shape: Sequence[int], rows: int) -> Doubles:
    """Give the sum of squared second differences along each axis, as the lower band of a matrix."""
    size = math.prod(shape)
    band = np.zeros((rows, size))
    for axis, m in enumerate(shape):
        step, others = math.prod(shape[axis + 1 :]), [1 if a == axis else n for a, n in enumerate(shape)]
        along = [m if a == axis else 1 for a in range(len(shape))]
        difference = np.zeros((max(0, m - 2), m))
        for shift, weight in enumerate(SECOND_DIFFERENCE):
            difference += weight * np.eye(max(0, m - 2), m, shift)
        square = difference.T @ difference
        for offset in range(min(2, m - 1) + 1):
            diagonal = np.pad(np.diagonal(square, -offset), (0, offset)).reshape(along)
            band[offset * step] += (diagonal * np.ones(others)).ravel()
    return band
