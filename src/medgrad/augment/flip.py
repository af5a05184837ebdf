"""Random flips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._augment import RandomDraw, Targets


@dataclass(frozen=True)
class Flip:
    """Each axis of ``axes`` is mirrored in half of the samples. Leave out one that tells left from right labels."""

    axes: tuple[int, ...] = (0,)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        mirrored = rng.random(len(shape)) < 0.5
        return {"mirrored": mirrored & np.isin(np.arange(len(shape)), self.axes)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        new, rows = dict(targets), drawn["mirrored"]
        if not rows.any():
            return inputs, new
        shape = inputs.shape[2:]
        for name, how in spatial_kinds.items():
            if name in new:
                new[name] = flip_target(new[name], how, rows, shape)
        return flip_samples(inputs, rows, first_axis=2), new


def flip_samples(values: Tensor, rows: Tensor, *, first_axis: int) -> Tensor:
    """Flip each sample along its own axes; ``first_axis`` is the first spatial axis of the batch."""
    new = values.clone()
    for number, row in enumerate(rows.tolist()):
        axes = [axis + first_axis - 1 for axis, on in enumerate(row) if on]
        if axes:
            new[number] = values[number].flip(axes)
    return new


def flip_target(target: Tensor, kind: str, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Mirror one target with its image."""
    if kind in ("labels", "values"):
        return flip_samples(target, rows, first_axis=1 if kind == "labels" else 2)
    if kind == "points":
        size = torch.tensor(shape, device=target.device, dtype=target.dtype)
        return torch.where(rows.unsqueeze(1), size - 1 - target, target)
    if kind == "boxes":
        size = torch.tensor(shape, device=target.device, dtype=target.dtype)
        low, high = target.chunk(2, dim=-1)
        on = rows.unsqueeze(1) & (high > low).any(-1, keepdim=True)
        return torch.cat([torch.where(on, size - 1 - high, low), torch.where(on, size - 1 - low, high)], dim=-1)
    raise ValueError(f"Nothing here mirrors a target as {kind!r}; known are 'labels', 'values', 'points' and 'boxes'.")


THIS = Flip
