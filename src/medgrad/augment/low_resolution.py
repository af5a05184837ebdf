"""Simulate low resolution: downsample and upsample again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation


@dataclass(frozen=True)
class LowResolution(Degradation):
    """``p`` of the samples are shrunk to a share of their size, from ``min_scale`` to 1, and enlarged again."""

    p: float = 0.15
    min_scale: float = 0.5

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied, size = rng.random() < self.p, rng.uniform(self.min_scale, 1)
        return {"size": np.float32(size if is_applied else 1)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def coarse(x: Tensor, rows: Tensor) -> Tensor:
            sizes = drawn["size"][rows].tolist()
            return torch.cat([reduce_resolution(one, size) for one, size in zip(x.split(1), sizes, strict=True)])

        return apply_to_rows(drawn["size"] < 1, inputs, coarse), targets


def reduce_resolution(x: Tensor, scale: float) -> Tensor:
    """Shrink by taking the nearest elements, enlarge linearly."""
    small = [max(1, round(s * scale)) for s in x.shape[2:]]
    mode = "trilinear" if x.ndim == 5 else "bilinear"
    return F.interpolate(F.interpolate(x, size=small, mode="nearest-exact"), size=x.shape[2:], mode=mode)


THIS = LowResolution
