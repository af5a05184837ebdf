"""Degradations: augmentations that spoil the image and leave every target as it is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor


class Degradation:
    """An augmentation after which the image is worse, as a scanner could have given it; targets stay.

    Where an image is its own truth, its validation and test cases are degraded by these alone, each by its own seed.
    """

    is_degradation: ClassVar[bool] = True


def noise_like(x: Tensor, seeds: Tensor) -> Tensor:
    """Draw standard normal noise for each sample of a batch (b, channels, *shape) by its own seed, (b,)."""
    drawn = [torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds.tolist()]
    return torch.stack(drawn).to(x)
