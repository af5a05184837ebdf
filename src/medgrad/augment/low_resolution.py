"""Simulate low resolution: downsample and upsample again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._augment import Drawn, Targets, only


@dataclass(frozen=True)
class LowResolution:
    """``share`` of the samples are shrunk to a share of their size, from ``least`` to 1, and enlarged again."""

    share: float = 0.15
    least: float = 0.5

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Drawn:
        del shape
        on, size = rng.random() < self.share, rng.uniform(self.least, 1)
        return {"size": np.float32(size if on else 1)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], moves: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del moves

        def coarse(x: Tensor, rows: Tensor) -> Tensor:
            sizes = drawn["size"][rows].tolist()
            return torch.cat([shrunk_and_back(one, size) for one, size in zip(x.split(1), sizes, strict=True)])

        return only(drawn["size"] < 1, inputs, coarse), targets


def shrunk_and_back(x: Tensor, size: float) -> Tensor:
    """Shrink by taking the nearest elements, enlarge linearly."""
    small = [max(1, round(s * size)) for s in x.shape[2:]]
    mode = "trilinear" if x.ndim == 5 else "bilinear"
    return F.interpolate(F.interpolate(x, size=small, mode="nearest-exact"), size=x.shape[2:], mode=mode)


THIS = LowResolution
