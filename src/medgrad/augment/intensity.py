"""Random brightness, contrast and gamma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._augment import RandomDraw, Targets, apply_to_rows, per_sample


@dataclass(frozen=True)
class Intensity:
    """``p`` of the samples get each change. ``contrast`` and ``gamma`` are largest log2 factors; ``brightness`` is
    added, in the units of the normalised image."""

    p: float = 0.3
    brightness: float = 0.2
    contrast: float = 0.4
    gamma: float = 0.5

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied = rng.random(3) < self.p
        add, factor, power = rng.uniform(-1, 1, 3)
        values = {
            "add": add * self.brightness if is_applied[0] else 0.0,
            "factor": 2.0 ** (factor * self.contrast) if is_applied[1] else 1.0,
            "power": 2.0 ** (power * self.gamma) if is_applied[2] else 1.0,
        }
        return {k: np.asarray(v, np.float32) for k, v in values.items()}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds
        changed = (drawn["factor"] != 1) | (drawn["add"] != 0)
        inputs = apply_to_rows(
            changed, inputs, lambda x, rows: scale_and_shift(x, drawn["factor"][rows], drawn["add"][rows])
        )
        inputs = apply_to_rows(drawn["power"] != 1, inputs, lambda x, rows: apply_gamma(x, drawn["power"][rows]))
        return inputs, targets


def scale_and_shift(x: Tensor, factor: Tensor, add: Tensor) -> Tensor:
    """Multiply each sample by its factor, then add its own number."""
    return torch.addcmul(per_sample(add, x), x, per_sample(factor, x))


def apply_gamma(x: Tensor, power: Tensor) -> Tensor:
    """Apply a gamma to each channel, scaled to 0 to 1, and keep its mean and standard deviation."""
    axes = tuple(range(2, x.ndim))
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    bent = ((x - low) / (high - low).clamp_min(1e-6)).pow(per_sample(power, x))
    mean, shape = x.mean(axes, keepdim=True), bent - bent.mean(axes, keepdim=True)
    spread = (x - mean).square().mean(axes, keepdim=True).sqrt()
    return shape * (spread / shape.square().mean(axes, keepdim=True).sqrt().clamp_min(1e-6)) + mean


THIS = Intensity
