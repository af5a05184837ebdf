"""What becomes of the slices of an image along one axis, as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingError

Matrix = NDArray[np.float64]


def check_slices(name: str, setting: str, value: int, axis: int) -> None:
    """Raise unless a degradation of slices has at least two of a group, and an axis that an image may have."""
    if type(value) is not int or value < 2:
        raise SettingError(f"{setting!r} of {name} is a whole number of at least 2, but it is {value!r}.")
    if type(axis) is not int or not -3 <= axis < 3:
        raise SettingError(f"'axis' of {name} is a number from -3 to 2, but it is {axis!r}.")


def apply_along(x: Tensor, axis: int, matrices: Callable[[int, int], Matrix], choices: Sequence[int]) -> Tensor:
    """Multiply the slices of each sample of (b, channels, *shape) by a matrix; ``matrices(n, choice)`` gives it."""
    along = (axis % (x.ndim - 2)) + 2
    made = [torch.from_numpy(matrices(x.shape[along], choice).astype(np.float32)).to(x.device) for choice in choices]
    moved = x.float().movedim(along, -1)
    done = torch.stack([one @ matrix.T for one, matrix in zip(moved, made, strict=True)])
    return done.movedim(-1, along).to(x.dtype)


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
