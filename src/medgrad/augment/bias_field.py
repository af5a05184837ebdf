"""The bias field of MR: a smooth factor, as receiver coils give it."""

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
class BiasField(Degradation):
    """``p`` of the samples are multiplied by a smooth field, whose logarithm has a mean of 0.

    Its logarithm reaches ``min_log`` to ``max_log``: 0.3 is a factor of 1.35. It is a sum of cosines of up to
    ``order`` half waves along an axis.
    """

    p: float = 0.9
    min_log: float = 0.1
    max_log: float = 0.5
    order: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.min_log <= self.max_log:
            raise SettingError(
                f"'min_log' and 'max_log' of bias_field rise from 0, but they are {self.min_log} and {self.max_log}."
            )
        if type(self.order) is not int or self.order < 1:
            raise SettingError(f"'order' of bias_field is a whole number above 0, but it is {self.order!r}.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        is_applied, size = rng.random() < self.p, rng.uniform(self.min_log, self.max_log)
        waves = rng.normal(size=(self.order + 1,) * len(shape))
        total = np.indices(waves.shape).sum(0)
        waves[(total == 0) | (total > self.order)] = 0
        return {"size": np.float32(size if is_applied else 0), "waves": waves.astype(np.float32)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def multiply(x: Tensor, rows: Tensor) -> Tensor:
            field = drawn["waves"][rows]
            for n in x.shape[2:]:
                field = torch.tensordot(field, cosines(n, self.order).to(field), dims=([1], [0]))
            field = field / field.flatten(1).abs().amax(1).clamp_min(1e-6).reshape(-1, *[1] * (field.ndim - 1))
            return (x * (field.unsqueeze(1) * per_sample(drawn["size"][rows], x)).exp()).to(x.dtype)

        return apply_to_rows(drawn["size"] > 0, inputs, multiply), targets


def cosines(n: int, order: int) -> Tensor:
    """Give (order + 1, n) cosines of 0 to ``order`` half waves over n elements."""
    return torch.cos(torch.pi * torch.arange(order + 1)[:, None] * (torch.arange(n) + 0.5) / n)


THIS = BiasField
