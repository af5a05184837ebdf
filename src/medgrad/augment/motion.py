"""Motion of MR: lines of k-space from a few rigid positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation


@dataclass(frozen=True)
class Motion(Degradation):
    """``p`` of the samples were acquired in ``positions``, each of a part of the lines of k-space.

    Lines follow each other along ``axis``, that of phase encoding, which is drawn where it is None. The middle of
    k-space, ``still`` of the lines, is of the position that the truth has. Every other position is turned by up to
    ``degrees`` in each plane and shifted by up to ``shift`` elements along each axis; how far a sample moves at all is
    drawn too. Elements are taken to be as wide as they are high. Magnitudes are given, so the 0 of the normalised
    image is theirs.
    """

    p: float = 0.9
    positions: int = 4
    degrees: float = 5.0
    shift: float = 3.0
    still: float = 0.2
    axis: int | None = None

    def __post_init__(self) -> None:
        if type(self.positions) is not int or not 2 <= self.positions <= 32:
            raise SettingError(f"'positions' of motion is a whole number from 2 to 32, but it is {self.positions!r}.")
        if not (0 <= self.degrees <= 180 and self.shift >= 0):
            raise SettingError(
                f"'degrees' of motion is from 0 to 180 and 'shift' is not below 0, but they are {self.degrees} "
                f"and {self.shift}."
            )

        if not 0 <= self.still < 1:
            raise SettingError(f"'still' of motion is a share from 0 to below 1, but it is {self.still}.")
        if self.axis is not None and not (type(self.axis) is int and -3 <= self.axis < 3):
            raise SettingError(f"'axis' of motion is a number from -3 to 2, but it is {self.axis!r}.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        n, dims = self.positions, len(shape)
        is_applied, size = rng.random() < self.p, rng.random()
        drawn = rng.integers(dims)
        turns = rng.uniform(-1, 1, (n, dims * (dims - 1) // 2)) * math.radians(self.degrees) * size
        return {
            "is_applied": np.bool_(is_applied),
            "axis": np.int64(drawn if self.axis is None else self.axis % dims),
            "cuts": np.sort(rng.random(n - 1)).astype(np.float32),
            "turns": turns.astype(np.float32),
            "shifts": (rng.uniform(-1, 1, (n, dims)) * self.shift * size).astype(np.float32),
        }

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def move(x: Tensor, rows: Tensor) -> Tensor:
            one = {name: values[rows] for name, values in drawn.items()}
            owners = line_owners(x.shape[2:], one["axis"], one["cuts"], self.still)
            rest = owners.flatten(1)[:, 0]
            dims = tuple(range(2, x.ndim))
            found = torch.zeros(x.shape, dtype=torch.complex64, device=x.device)
            for position in range(self.positions):
                is_moved = (rest != position).float()
                turned = turn(x.float(), one["turns"][:, position] * is_moved[:, None])
                spectrum = torch.fft.fftn(turned, dim=dims)
                spectrum = spectrum * phases(x.shape[2:], one["shifts"][:, position] * is_moved[:, None])
                found += spectrum * (owners == position)
            return torch.fft.ifftn(found, dim=dims).abs().to(x.dtype)

        return apply_to_rows(drawn["is_applied"], inputs, move), targets


def line_owners(shape: Sequence[int], axes: Tensor, cuts: Tensor, still: float) -> Tensor:
    """Give the position that each line of k-space is of, (b, 1, *shape); frequency 0, the first, is of that at rest."""
    owners = torch.empty(len(axes), 1, *shape, dtype=torch.long, device=cuts.device)
    for sample, (axis, cut) in enumerate(zip(axes.tolist(), cuts, strict=True)):
        frequency = torch.fft.fftfreq(shape[axis], device=cut.device)
        lines = torch.searchsorted(cut, frequency + 0.5)
        lines = torch.where(frequency.abs() <= still / 2, lines[0], lines)
        owners[sample, 0] = lines.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return owners


def phases(shape: Sequence[int], shifts: Tensor) -> Tensor:
    """Give the phase that a shift in elements, (b, dims), is in k-space, (b, 1, *shape)."""
    angle = torch.zeros(len(shifts), *shape, device=shifts.device)
    for axis, n in enumerate(shape):
        lie = [-1 if a == axis else 1 for a in range(len(shape))]
        frequency = torch.fft.fftfreq(n, device=shifts.device).reshape(1, *lie)
        angle = angle + frequency * shifts[:, axis].reshape(-1, *[1] * len(shape))
    return torch.polar(torch.ones_like(angle), -2 * math.pi * angle).unsqueeze(1)


def turn(x: Tensor, turns: Tensor) -> Tensor:
    """Turn each sample of (b, channels, *shape) about its middle, plane by plane, with cubic interpolation."""
    dims = x.ndim - 2
    for plane, (one, two) in enumerate(combinations(range(dims), 2)):
        angle = turns[:, plane]
        if bool((angle == 0).all()):
            continue
        flat = x.movedim((one + 2, two + 2), (-2, -1))
        high, wide = flat.shape[-2:]
        cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        rows = [
            torch.stack([cosine, -sine * high / wide, zero], -1),
            torch.stack([sine * wide / high, cosine, zero], -1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), [len(x), 1, high, wide], align_corners=False)
        slices = flat.reshape(len(x), -1, high, wide)
        turned = F.grid_sample(slices, grid, mode="bicubic", padding_mode="border", align_corners=False)
        x = turned.reshape(flat.shape).movedim((-2, -1), (one + 2, two + 2))
    return x


THIS = Motion
