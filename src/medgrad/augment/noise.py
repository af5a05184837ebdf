"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._augment import Drawn, Targets, only, per_sample


@dataclass(frozen=True)
class Noise:
    """``share`` of the samples get noise of a standard deviation up to ``most``, in units of the normalised image."""

    share: float = 0.2
    most: float = 0.2

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Drawn:
        del shape
        on, size, seed = rng.random() < self.share, rng.uniform(0, self.most), rng.integers(2**62)
        return {"size": np.float32(size if on else 0), "seed": np.int64(seed)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], moves: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del moves

        def grained(x: Tensor, rows: Tensor) -> Tensor:
            grain = torch.stack(
                [
                    torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))
                    for seed in drawn["seed"][rows].tolist()
                ]
            )
            return x + grain.to(x) * per_sample(drawn["size"][rows], x)

        return only(drawn["size"] > 0, inputs, grained), targets


THIS = Noise
