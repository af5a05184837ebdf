"""Random flips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._augment import Drawn, Targets


@dataclass(frozen=True)
class Flip:
    """Each axis of ``axes`` is mirrored in half of the samples. Leave out one that tells left from right labels."""

    axes: tuple[int, ...] = (0,)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Drawn:
        mirrored = rng.random(len(shape)) < 0.5
        return {"mirrored": mirrored & np.isin(np.arange(len(shape)), self.axes)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], moves: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        new, rows = dict(targets), drawn["mirrored"]
        if not rows.any():
            return inputs, new
        shape = inputs.shape[2:]
        for name, how in moves.items():
            if name in new:
                new[name] = mirrored(new[name], how, rows, shape)
        return turned(inputs, rows, first=2), new


def turned(values: Tensor, rows: Tensor, *, first: int) -> Tensor:
    """Flip each sample along its own axes; ``first`` is the first spatial axis of the batch."""
    new = values.clone()
    for number, row in enumerate(rows.tolist()):
        axes = [axis + first - 1 for axis, on in enumerate(row) if on]
        if axes:
            new[number] = values[number].flip(axes)
    return new


def mirrored(target: Tensor, how: str, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Mirror one target with its image."""
    if how in ("labels", "values"):
        return turned(target, rows, first=1 if how == "labels" else 2)
    if how == "points":
        size = torch.tensor(shape, device=target.device, dtype=target.dtype)
        return torch.where(rows.unsqueeze(1), size - 1 - target, target)
    if how == "boxes":
        size = torch.tensor(shape, device=target.device, dtype=target.dtype)
        low, high = target.chunk(2, dim=-1)
        on = rows.unsqueeze(1) & (high > low).any(-1, keepdim=True)
        return torch.cat([torch.where(on, size - 1 - high, low), torch.where(on, size - 1 - low, high)], dim=-1)
    raise ValueError(f"Nothing here mirrors a target as {how!r}; known are 'labels', 'values', 'points' and 'boxes'.")


THIS = Flip
