"""Metal in CT: bright objects, and the streaks of beam hardening and photon starvation between and beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows, per_sample
from ._degradation import Degradation, noise_like

ANGLES = 90
RAMP_TAPER = 0.5
"""How much of the ramp filter is left at the highest frequency."""


@dataclass(frozen=True)
class Metal(Degradation):
    """``p`` of the samples get up to ``objects`` of metal, ellipsoids of ``min_size`` to ``max_size`` elements.

    The rays through metal are off in two ways: by the square of their way through it and its product with their way
    through the image (beam hardening, to second order), and by noise that grows with both (photon starvation). Filtered
    back projection of what they are off by gives the streaks, in parallel beams of one slice each. Their standard
    deviation in the slice with the most is from ``min_std`` to ``max_std``, and the metal itself has a value from
    ``min_value`` to ``max_value``, in units of the normalised image. ``axis`` is that of the slices.
    """

    p: float = 0.8
    objects: int = 3
    min_size: float = 1.0
    max_size: float = 5.0
    min_std: float = 0.05
    max_std: float = 0.4
    min_value: float = 4.0
    max_value: float = 8.0
    axis: int = -1

    def __post_init__(self) -> None:
        if type(self.objects) is not int or self.objects < 1:
            raise SettingError(f"'objects' of metal is a whole number above 0, but it is {self.objects!r}.")
        for low, high in (("min_size", "max_size"), ("min_std", "max_std")):
            if not 0 <= getattr(self, low) <= getattr(self, high):
                raise SettingError(
                    f"{low!r} and {high!r} of metal rise from 0, but they are {getattr(self, low)} and "
                    f"{getattr(self, high)}."
                )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        n = self.objects
        is_applied, is_there = rng.random() < self.p, rng.random(n) < 0.6
        is_there[0] = True
        sizes = rng.uniform(self.min_size, self.max_size, (n, 3)) * is_there[:, None]
        return {
            "is_applied": np.bool_(is_applied),
            "size": sizes.astype(np.float32),
            "long": np.float32(rng.choice([1.0, 4.0])),
            "place": rng.uniform(0.2, 0.8, (n, 3)).astype(np.float32),
            "turn": rng.uniform(0, math.pi, n).astype(np.float32),
            "std": np.float32(rng.uniform(self.min_std, self.max_std)),
            "noise": np.float32(rng.uniform(0, 1)),
            "value": np.float32(rng.uniform(self.min_value, self.max_value)),
            "seed": rng.integers(2**62),
        }

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def insert(x: Tensor, rows: Tensor) -> Tensor:
            one = {name: values[rows] for name, values in drawn.items()}
            along = self.axis % (x.ndim - 2) + 2
            slices = (x.movedim(along, 2) if x.ndim == 5 else x.unsqueeze(2)).float()
            streaks = torch.stack([streaks_of(slices[i, 0], row_of(one, i)) for i in range(len(x))]).unsqueeze(1)
            is_metal = torch.stack([ellipsoids(slices.shape[2:], row_of(one, i)) for i in range(len(x))]).unsqueeze(1)
            shown = torch.where(is_metal, per_sample(one["value"], slices), slices + streaks).to(x.dtype)
            return shown.movedim(2, along) if x.ndim == 5 else shown[:, :, 0]

        return apply_to_rows(drawn["is_applied"], inputs, insert), targets


def row_of(drawn: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Give what was drawn for one sample."""
    return {name: values[index] for name, values in drawn.items()}


def semi_axes(shape: Sequence[int], drawn: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Give the in-plane semi-axes of each object's ellipse in each slice, (2, objects, slices), and the centres."""
    at = torch.arange(shape[0], device=drawn["size"].device)
    off = (at - drawn["place"][:, :1] * (shape[0] - 1)) / (drawn["size"][:, :1] * drawn["long"]).clamp_min(0.5)
    shrink = (1 - off.square()).clamp_min(0).sqrt()
    if shape[0] == 1:
        shrink = torch.ones_like(shrink)
    centres = (drawn["place"][:, 1:] - 0.5) * torch.tensor(shape[1:], device=at.device)
    return drawn["size"][:, 1:].T[:, :, None] * shrink, centres


def ellipsoids(shape: Sequence[int], drawn: Mapping[str, Tensor]) -> Tensor:
    """Tell where metal is, (slices, high, wide)."""
    (long, wide), centres = semi_axes(shape, drawn)
    y, x = plane(shape, drawn["size"].device)
    inside = torch.zeros(*shape, dtype=torch.bool, device=y.device)
    for number, angle in enumerate(drawn["turn"]):
        dy, dx = y - centres[number, 0], x - centres[number, 1]
        one, two = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
        a, b = (v[number][:, None, None].clamp_min(1e-3) for v in (long, wide))
        inside |= (one / a).square() + (two / b).square() <= 1
    return inside


def plane(shape: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Give how far each element of a slice lies from its middle along both axes, (high, 1) and (1, wide)."""
    y, x = (torch.arange(n, device=device) - (n - 1) / 2 for n in shape[1:])
    return y[:, None], x[None]


def streaks_of(slices: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
    """Give the streaks of one sample, (slices, high, wide)."""
    shape = slices.shape
    rays = math.ceil(math.hypot(*shape[1:]) / 2) * 2 + 3
    way = metal_ways(shape, rays, drawn)
    is_hit = way.flatten(1).amax(1) > 0
    streaks = torch.zeros(shape, device=slices.device)
    if not bool(is_hit.any()):
        return streaks
    body = slices.mean(0) - slices.amin()
    through = project(body, rays)
    through = through / through.amax().clamp_min(1e-6)
    q = way[is_hit] / way.amax()
    hardened = -q * (q + through)
    noise = noise_like(way.unsqueeze(0), drawn["seed"][None])[0][is_hit] * q * (0.3 + through).square()
    parts = [back_project(part, shape) for part in (hardened, noise)]
    parts = [part / part.flatten(1).std(1).amax().clamp_min(1e-6) for part in parts]
    mixed = parts[0] * (1 - drawn["noise"]) + parts[1] * drawn["noise"]
    streaks[is_hit] = mixed / mixed.flatten(1).std(1).amax().clamp_min(1e-6) * drawn["std"]
    return streaks


def metal_ways(shape: Sequence[int], rays: int, drawn: Mapping[str, Tensor]) -> Tensor:
    """Give the way of each ray through the metal in elements, (slices, angles, rays): chords of ellipses."""
    (long, wide), centres = semi_axes(shape, drawn)
    theta = angles(long.device)[:, None]
    at = torch.arange(rays, device=long.device) - (rays - 1) / 2
    total = torch.zeros(shape[0], ANGLES, rays, device=long.device)
    for number, turn in enumerate(drawn["turn"]):
        a, b = (v[number][:, None, None] for v in (long, wide))
        middle = centres[number, 1] * theta.cos() + centres[number, 0] * theta.sin()
        reach = (a * (theta - turn).cos()).square() + (b * (theta - turn).sin()).square()
        total += 2 * a * b * (reach - (at - middle).square()).clamp_min(0).sqrt() / reach.clamp_min(1e-6)
    return total


def angles(device: torch.device) -> Tensor:
    """Give the directions of the parallel beams, over half a turn."""
    return torch.arange(ANGLES, device=device) * (math.pi / ANGLES)


def ray_places(shape: Sequence[int], rays: int, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Give the ray below each element of a slice, (elements,), and how far towards the next it lies."""
    y, x = plane(shape, angle.device)
    at = (x * angle.cos() + y * angle.sin() + (rays - 1) / 2).flatten()
    low = at.floor()
    return low.long(), at - low


def project(body: Tensor, rays: int) -> Tensor:
    """Sum a slice along parallel beams, (angles, rays)."""
    sums = torch.zeros(ANGLES, rays + 1, device=body.device)
    values = body.flatten()
    for row, angle in zip(sums, angles(body.device), strict=True):
        low, rest = ray_places((1, *body.shape), rays, angle)
        row.index_add_(0, low, values * (1 - rest)).index_add_(0, low + 1, values * rest)
    return sums[:, :rays]


def back_project(sinogram: Tensor, shape: Sequence[int]) -> Tensor:
    """Give the slices of (slices, angles, rays) by filtered back projection."""
    rays = sinogram.shape[-1]
    frequency = torch.fft.rfftfreq(2 * rays, device=sinogram.device)
    ramp = frequency * (1 - (1 - RAMP_TAPER) * 2 * frequency)
    filtered = torch.fft.irfft(torch.fft.rfft(sinogram, 2 * rays) * ramp, 2 * rays)[..., :rays]
    found = torch.zeros(len(sinogram), shape[1] * shape[2], device=sinogram.device)
    for number, angle in enumerate(angles(sinogram.device)):
        low, rest = ray_places(shape, rays, angle)
        row = filtered[:, number]
        found += torch.lerp(row[:, low], row[:, low + 1], rest)
    return found.reshape(-1, *shape[1:])


THIS = Metal
