"""Pure noise: nothing is left of the image, and a generator must make all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation, noise_like


@dataclass(frozen=True)
class PureNoise(Degradation):
    """``p`` of the samples are replaced by standard normal noise."""

    p: float = 1.0

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        return {"is_applied": np.bool_(rng.random() < self.p), "seed": np.int64(rng.integers(2**62))}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds
        seeds = drawn["seed"]
        return apply_to_rows(drawn["is_applied"], inputs, lambda x, rows: noise_like(x, seeds[rows])), targets


THIS = PureNoise
