"""The few things that sliding windows and flips need of a kind of array, spelled for torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...inference.array_ops import MIN_WEIGHT


class TorchOps:
    """Tensors, wherever they are."""

    def gaussian(self, size: int) -> Tensor:
        """Give a Gaussian over ``size`` elements, an eighth of that wide."""
        at = (torch.arange(size) - (size - 1) / 2) / (size / 8)
        return torch.exp(-0.5 * at**2).clamp_min(MIN_WEIGHT)

    def zeros(self, *shape: int, like: Tensor | None = None) -> Tensor:
        """Give zeros, of the type and on the device of another tensor."""
        return torch.zeros(shape) if like is None else like.new_zeros(shape)

    def to_device_of(self, array: Tensor, like: Tensor) -> Tensor:
        """Bring a tensor to the device of another."""
        return array.to(like.device)

    def add_weighted(self, sums: Tensor, output: Tensor, weight: Tensor) -> None:
        """Add an output, weighted, in place."""
        sums.addcmul_(output, weight)

    def flip(self, array: Tensor, axes: Sequence[int]) -> Tensor:
        """Give a tensor mirrored along some axes."""
        return array.flip(tuple(axes))

    def stack(self, arrays: Sequence[Tensor]) -> Tensor:
        """Put tensors of one shape side by side along a new first axis."""
        return torch.stack(list(arrays))


TORCH = TorchOps()
