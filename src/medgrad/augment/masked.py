"""Masked blocks: parts of an image are hidden, as a masked autoencoder learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation


@dataclass(frozen=True)
class Masked(Degradation):
    """``p`` of the samples have a ``ratio`` of their blocks of ``size`` elements an axis set to 0.

    He et al., CVPR 2022, hide three quarters of the blocks of 16.
    """

    p: float = 1.0
    ratio: float = 0.6
    size: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise SettingError(f"'ratio' of masked lies between 0 and 1, but it is {self.ratio}.")
        if type(self.size) is not int or self.size < 1:
            raise SettingError(f"'size' of masked is a whole number above 0, but it is {self.size!r}.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        blocks = rng.random([ceil(n / self.size) for n in shape])
        return {"shown": np.asarray((blocks >= self.ratio) | (rng.random() >= self.p), np.float32)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def hide(x: Tensor, rows: Tensor) -> Tensor:
            whole = F.interpolate(drawn["shown"][rows].unsqueeze(1), scale_factor=self.size, mode="nearest")
            return x * whole[(slice(None), slice(None), *(slice(n) for n in x.shape[2:]))].to(x.dtype)

        return apply_to_rows(drawn["shown"].flatten(1).amin(1) == 0, inputs, hide), targets


THIS = Masked
