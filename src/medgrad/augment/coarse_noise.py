"""Coarse noise: smooth random blobs, as a denoising autoencoder for anomalies learns to take away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation, noise_like


@dataclass(frozen=True)
class CoarseNoise(Degradation):
    """``p`` of the samples get noise drawn for every block of ``size`` elements an axis, and interpolated between them.

    ``size`` is drawn from ``min_size`` to ``max_size``, the standard deviation from ``min_std`` to ``max_std``, in
    units of the normalised image. Kascenas et al., MIDL 2022, take one size of 8 and a standard deviation of 0.2.
    """

    p: float = 1.0
    min_std: float = 0.0
    max_std: float = 0.4
    min_size: int = 4
    max_size: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.min_std <= self.max_std:
            raise SettingError(
                f"'min_std' and 'max_std' of coarse_noise rise from 0, but they are {self.min_std} and {self.max_std}."
            )
        if not 1 <= self.min_size <= self.max_size:
            raise SettingError(
                f"'min_size' and 'max_size' of coarse_noise rise from 1, but they are {self.min_size} and "
                f"{self.max_size}."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        is_applied, std = rng.random() < self.p, rng.uniform(self.min_std, self.max_std)
        return {
            "std": np.float32(std if is_applied else 0),
            "size": rng.integers(self.min_size, self.max_size + 1),
            "shift": rng.random(len(shape)),
            "seed": rng.integers(2**62),
        }

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def add(x: Tensor, rows: Tensor) -> Tensor:
            columns = (drawn[name][rows].tolist() for name in ("std", "size", "shift", "seed"))
            return torch.cat([
                one + std * coarse_noise(one, size, shift, seed)
                for one, std, size, shift, seed in zip(x.split(1), *columns, strict=True)
            ])  # fmt: skip

        return apply_to_rows(drawn["std"] > 0, inputs, add), targets


def coarse_noise(x: Tensor, size: int, shift: Sequence[float], seed: int) -> Tensor:
    """Give noise for one sample (1, channels, *shape): standard normal at every ``size``th element."""
    shape = x.shape[2:]
    coarse = x.new_empty((*x.shape[:2], *(ceil(n / size) + 2 for n in shape)))
    drawn = noise_like(coarse, torch.tensor([seed]))
    mode = "trilinear" if len(shape) == 3 else "bilinear"
    fine = F.interpolate(drawn, scale_factor=size, mode=mode)
    first = [round(s * size) for s in shift]
    return fine[(slice(None), slice(None), *(slice(f, f + n) for f, n in zip(first, shape, strict=True)))]


THIS = CoarseNoise
