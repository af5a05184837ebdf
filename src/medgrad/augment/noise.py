"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ._augment import RandomDraw, Targets, apply_to_rows, per_sample
from ._degradation import Degradation, noise_like


@dataclass(frozen=True)
class Noise(Degradation):
    """``p`` of the samples get noise of a standard deviation from ``min_std`` to ``max_std``, in units of the
    normalised image.
    """

    p: float = 0.2
    max_std: float = 0.2
    min_std: float = 0.0

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied, size, seed = rng.random() < self.p, rng.uniform(self.min_std, self.max_std), rng.integers(2**62)
        return {"size": np.float32(size if is_applied else 0), "seed": np.int64(seed)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def add_noise(x: Tensor, rows: Tensor) -> Tensor:
            return x + noise_like(x, drawn["seed"][rows]) * per_sample(drawn["size"][rows], x)

        return apply_to_rows(drawn["size"] > 0, inputs, add_noise), targets


THIS = Noise
