"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._augment import RandomDraw, Targets, apply_to_rows, per_sample


@dataclass(frozen=True)
class Noise:
    """``p`` of the samples get noise of a standard deviation up to ``max_std``, in units of the normalised image."""

    p: float = 0.2
    max_std: float = 0.2

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied, size, seed = rng.random() < self.p, rng.uniform(0, self.max_std), rng.integers(2**62)
        return {"size": np.float32(size if is_applied else 0), "seed": np.int64(seed)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def add_noise(x: Tensor, rows: Tensor) -> Tensor:
            grain = torch.stack(
                [
                    torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))
                    for seed in drawn["seed"][rows].tolist()
                ]
            )
            return x + grain.to(x) * per_sample(drawn["size"][rows], x)

        return apply_to_rows(drawn["size"] > 0, inputs, add_noise), targets


THIS = Noise
