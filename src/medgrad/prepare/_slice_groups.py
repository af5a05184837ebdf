"""Slices that are averaged, kept or interpolated along one axis, as matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def interpolate_kept(n: int, kept: Sequence[int]) -> Matrix:
    """Give the (n, n) matrix that keeps some slices and interpolates the others linearly between them.

    >>> interpolate_kept(4, [0, 2]).tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """
    weights = np.zeros((n, n))
    for column, place in enumerate(kept):
        weights[:, place] = np.interp(np.arange(n), kept, np.eye(len(kept))[column])
    return weights


def groups_of(n: int, factor: int, first: int) -> NDArray[np.int64]:
    """Give the group of each slice, where the first group has ``first`` slices and each later one ``factor``.

    >>> groups_of(7, 3, 2).tolist()
    [0, 0, 1, 1, 1, 2, 2]
    """
    return (np.arange(n) + factor - first) // factor


def average_groups(n: int, factor: int, first: int) -> Matrix:
    """Give the (groups, n) matrix that averages the slices of each group; the last one may have fewer."""
    members = groups_of(n, factor, first) == np.unique(groups_of(n, factor, first))[:, None]
    averages: Matrix = members / members.sum(1, keepdims=True)
    return averages


def spread_groups(n: int, factor: int, first: int) -> Matrix:
    """Give the (n, groups) matrix that interpolates groups of slices, of which each lies in its middle, cubically.

    Keys' cubic convolution (1981); beyond the first and the last middle, their values.
    """
    groups = int(groups_of(n, factor, first)[-1]) + 1
    at = np.clip((np.arange(n) + factor - first + 0.5) / factor - 0.5, 0, groups - 1)
    low = np.floor(at).astype(int)
    weights = np.zeros((n, groups))
    for step in range(-1, 3):
        np.add.at(weights, (np.arange(n), np.clip(low + step, 0, groups - 1)), cubic_kernel(at - low - step))
    return weights


def cubic_kernel(distance: Matrix) -> Matrix:
    """Give the weight of a neighbour by its distance. Keys (1981), equation 4, a = -1/2."""
    d = np.abs(distance)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
