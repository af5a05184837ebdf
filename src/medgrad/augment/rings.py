"""Rings of CT: detector elements that read too much or too little."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation

SAMPLES = 2
"""Samples of a radius an element."""
ANGLES = 180
WHOLE = 0.5
"""The share of rings that are whole; the others are arcs."""


@dataclass(frozen=True)
class Rings(Degradation):
    """``p`` of the samples get up to ``rings`` rings a slice, whole ones and arcs.

    What one adds has a standard deviation from ``min_std`` to ``max_std``, in units of the normalised image, and a
    width of up to ``max_width`` elements. All have one centre, up to ``offset`` of the size from the middle of the
    plane: 1 suits patches, whose middle is not that of the image. A ring is in one slice or in several. ``axis`` is
    that of the slices. Elements are taken to be as wide as they are high.
    """

    p: float = 0.8
    rings: int = 16
    min_std: float = 0.02
    max_std: float = 0.2
    max_width: float = 4.0
    offset: float = 0.5
    axis: int = -1

    def __post_init__(self) -> None:
        if not 0 <= self.min_std <= self.max_std:
            raise SettingError(
                f"'min_std' and 'max_std' of rings rise from 0, but they are {self.min_std} and {self.max_std}."
            )
        if type(self.rings) is not int or self.rings < 1:
            raise SettingError(f"'rings' of rings is a whole number above 0, but it is {self.rings!r}.")
        if not (self.max_width >= 1 and self.offset >= 0):
            raise SettingError(
                f"'max_width' of rings is at least 1 and 'offset' is not below 0, but they are {self.max_width} and "
                f"{self.offset}."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        is_applied, size = rng.random() < self.p, rng.uniform(self.min_std, self.max_std)
        most = self.rings * (shape[self.axis] if len(shape) == 3 else 1)
        is_whole = rng.random(most) < WHOLE
        width = rng.uniform(0.5, self.max_width, most)
        return {
            "is_applied": np.bool_(is_applied),
            "centre": rng.uniform(-self.offset, self.offset, 2).astype(np.float32),
            "gain": (rng.normal(0, size, most) * (rng.random(most) < rng.random())).astype(np.float32),
            "radius": rng.random(most).astype(np.float32),
            "width": width.astype(np.float32),
            "start": rng.uniform(0, 2 * math.pi, most).astype(np.float32),
            "arc": np.where(is_whole, 10, rng.uniform(0.3, 2 * math.pi, most)).astype(np.float32),
            "slice": rng.random(most).astype(np.float32),
            "slices": (rng.random(most) ** 3).astype(np.float32),
        }

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def add_rings(x: Tensor, rows: Tensor) -> Tensor:
            slices = x.movedim(self.axis % (x.ndim - 2) + 2, 2) if x.ndim == 5 else x.unsqueeze(2)
            one = {name: values[rows] for name, values in drawn.items()}
            added = render_rings(slices.shape[2:], one).unsqueeze(1).to(x.dtype)
            added = added.movedim(2, self.axis % (x.ndim - 2) + 2) if x.ndim == 5 else added[:, :, 0]
            return x + added

        return apply_to_rows(drawn["is_applied"], inputs, add_rings), targets


def render_rings(shape: Sequence[int], drawn: Mapping[str, Tensor]) -> Tensor:
    """Give what rings add to the slices of each sample, (b, slices, high, wide), from a table of radius and angle."""
    count, high, wide = shape
    device = drawn["gain"].device
    half = torch.tensor([high, wide], device=device) / 2
    centre = half + drawn["centre"] * 2 * half - 0.5
    farthest = (half - 0.5 - centre).abs().add(half).norm(dim=1)
    y = torch.arange(high, device=device)[:, None] - centre[:, 0, None, None]
    x = torch.arange(wide, device=device) - centre[:, 1, None, None]
    radii, angles = torch.hypot(y, x), torch.atan2(y, x) % (2 * math.pi)
    table = ring_table(count, int(farthest.max()) * SAMPLES + 4, farthest, drawn)
    rows = radii * SAMPLES / (table.shape[2] - 1) * 2 - 1
    columns = angles / (2 * math.pi) * 2 - 1
    return F.grid_sample(table, torch.stack([columns, rows], -1), padding_mode="border", align_corners=True)


def ring_table(slices: int, samples: int, farthest: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
    """Give what rings add by slice, radius and angle, (b, slices, samples, angles); the last angle is the first."""
    device = farthest.device
    radius = torch.arange(samples, device=device) / SAMPLES
    off = (radius - (drawn["radius"] * farthest[:, None])[..., None]).abs()
    across = ((drawn["width"][..., None] / 2 + 0.5 - off) / 0.5).clamp(0, 1)
    angle = torch.linspace(0, 2 * math.pi, ANGLES + 1, device=device)
    past = (angle - drawn["start"][..., None]) % (2 * math.pi)
    along = ((drawn["arc"][..., None] - past) * ANGLES / 20).clamp(0, 1) * (past * ANGLES / 20).clamp(0, 1)
    along = torch.where(drawn["arc"][..., None] > 2 * math.pi, torch.ones_like(along), along)
    at = torch.arange(slices, device=device)
    is_in = (at - drawn["slice"][..., None] * slices).abs() <= 0.5 + drawn["slices"][..., None] * slices / 2
    return torch.einsum("bkz,bkr,bka->bzra", is_in * drawn["gain"][..., None], across, along)


THIS = Rings
