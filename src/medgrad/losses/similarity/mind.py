"""MIND: modality-independent neighbourhood descriptors, which do not depend on the contrast."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ._windows import box_sum, weighted_mean


@dataclass(frozen=True)
class MIND:
    """The mean squared difference of both images' self-similarity descriptors.

    Heinrich and others 2013, MICCAI (self-similarity context): patches of ``width`` elements, ``reach`` elements from
    the middle along each axis, are compared in pairs that lie at right angles: 12 of them in 3D, 4 in 2D.
    """

    width: int = 3
    reach: int = 2

    def __call__(self, moved: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        return weighted_mean((self.compute_descriptor(moved) - self.compute_descriptor(fixed)) ** 2, weight)

    def compute_descriptor(self, image: Tensor) -> Tensor:
        """Give the descriptor (b, channels * pairs, *shape), between 0 and 1."""
        dims = image.ndim - 2
        steps = [(axis, sign * self.reach) for axis in range(dims) for sign in (-1, 1)]
        across = [(a, b) for a, b in combinations(steps, 2) if a[0] != b[0]]
        apart = torch.stack(
            [box_sum((shift_image(image, *a) - shift_image(image, *b)) ** 2, self.width, dims) for a, b in across],
            dim=2,
        )  # (b, channels, pairs, *shape)
        apart = apart / self.width**dims
        apart = apart - apart.amin(2, keepdim=True)
        spread = apart.mean(2, keepdim=True)
        middle = spread.flatten(1).mean(1).view(-1, *[1] * (spread.ndim - 1))
        spread = torch.minimum(torch.maximum(spread, 1e-3 * middle), 1e3 * middle) + 1e-9
        return torch.exp(-apart / spread).flatten(1, 2)


def shift_image(image: Tensor, axis: int, by: int) -> Tensor:
    """Give the image moved along one of its axes; its edge goes on.

    >>> shift_image(torch.tensor([[[1.0, 2.0, 3.0]]]), 0, 1).tolist()
    [[[1.0, 1.0, 2.0]]]
    """
    at = (torch.arange(image.shape[axis + 2], device=image.device) - by).clamp(0, image.shape[axis + 2] - 1)
    return image.index_select(axis + 2, at)


THIS = MIND
