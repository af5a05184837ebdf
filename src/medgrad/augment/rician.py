"""Rician noise, that of magnitude images of MR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows, per_sample
from ._degradation import Degradation, noise_like


@dataclass(frozen=True)
class Rician(Degradation):
    """``p`` of the samples get noise whose real and imaginary part have a standard deviation from ``min_std`` to
    ``max_std``, in units of the normalised image, whose 0 is that of the magnitudes.
    """

    p: float = 0.9
    min_std: float = 0.0
    max_std: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.min_std <= self.max_std:
            raise SettingError(
                f"'min_std' and 'max_std' of rician rise from 0, but they are {self.min_std} and {self.max_std}."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied, size = rng.random() < self.p, rng.uniform(self.min_std, self.max_std)
        return {"size": np.float32(size if is_applied else 0), "seed": rng.integers(2**62, size=2)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def add_noise(x: Tensor, rows: Tensor) -> Tensor:
            seeds, size = drawn["seed"][rows], per_sample(drawn["size"][rows], x)
            return (x + noise_like(x, seeds[:, 0]) * size).hypot(noise_like(x, seeds[:, 1]) * size)

        return apply_to_rows(drawn["size"] > 0, inputs, add_noise), targets


THIS = Rician
