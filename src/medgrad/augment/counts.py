"""Poisson noise, that of counts in nuclear medicine, low-dose X-ray and microscopy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows, per_sample
from ._degradation import Degradation


@dataclass(frozen=True)
class Counts(Degradation):
    """``p`` of the samples are drawn as counts; a value of 1 of the normalised image stands for ``min_counts`` to
    ``max_counts``, drawn on a logarithmic scale. Values below 0 stay as they are.
    """

    p: float = 0.9
    min_counts: float = 10.0
    max_counts: float = 1000.0

    def __post_init__(self) -> None:
        if not 0 < self.min_counts <= self.max_counts:
            raise SettingError(
                "'min_counts' and 'max_counts' of counts rise from above 0, but they are "
                f"{self.min_counts} and {self.max_counts}."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied, size = rng.random() < self.p, np.exp(rng.uniform(np.log(self.min_counts), np.log(self.max_counts)))
        return {"counts": np.float32(size if is_applied else 0), "seed": np.int64(rng.integers(2**62))}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def count(x: Tensor, rows: Tensor) -> Tensor:
            dose = per_sample(drawn["counts"][rows], x)
            expected = (x.float().clamp_min(0) * dose).cpu()
            found = [
                torch.poisson(one, generator=torch.Generator().manual_seed(seed))
                for one, seed in zip(expected, drawn["seed"][rows].tolist(), strict=True)
            ]
            return torch.where(x > 0, torch.stack(found).to(x) / dose, x)

        return apply_to_rows(drawn["counts"] > 0, inputs, count), targets


THIS = Counts
