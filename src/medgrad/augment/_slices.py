"""What becomes of the slices of an image along one axis, as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingError
from ..prepare import Matrix


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
