"""Mirror along axes."""

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
        new = dict(targets)
        shape = inputs.shape[2:]
        for axis in self.axes:
            rows = drawn["mirrored"][:, axis]
            if not rows.any():
                continue
            inputs = torch.where(column(rows, inputs), inputs.flip(axis + 2), inputs)
            for name, how in moves.items():
                if name in new:
                    new[name] = mirrored(new[name], how, axis, rows, shape)
        return inputs, new


def column(rows: Tensor, like: Tensor) -> Tensor:
    """Shape (b,) so that it chooses among whole samples."""
    return rows.view(-1, *[1] * (like.ndim - 1))


def mirrored(target: Tensor, how: str, axis: int, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Mirror one target with its image."""
    if how in ("labels", "values"):
        return torch.where(column(rows, target), target.flip(axis + (1 if how == "labels" else 2)), target)
    if how == "points":
        turned = target.clone()
        turned[..., axis] = shape[axis] - 1 - turned[..., axis]
        return torch.where(column(rows, target), turned, target)
    raise ValueError(f"Nothing here mirrors a target as {how!r}; known are 'labels', 'values' and 'points'.")


THIS = Flip
