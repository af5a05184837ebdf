"""Random affine and elastic transform, in one resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, sin

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ._augment import RandomDraw, Targets, clip_boxes

OUTSIDE_LABEL = -1


@dataclass(frozen=True)
class Spatial:
    """``p`` of the samples are moved. Angles in degrees, about each axis; ``scale`` is the largest log2 factor.

    ``shift`` is a share of the size, ``elastic`` the standard deviation of the elastic displacement in elements at
    ``knots`` points along each axis. ``spacing`` keeps turns true where elements are not cubes. What comes in from
    outside is 0 in the image and not counted in labels.
    """

    p: float = 0.5
    degrees: float = 15.0
    scale: float = 0.25
    shift: float = 0.05
    elastic: float = 1.0
    knots: int = 5
    spacing: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        n = len(shape)
        moved = rng.random() < self.p
        angles = np.deg2rad(rng.uniform(-self.degrees, self.degrees, 3 if n == 3 else 1))
        factor = 2.0 ** rng.uniform(-self.scale, self.scale) * np.ones(n)
        space = np.array(self.spacing or (1.0,) * n)
        matrix = np.diag(1 / space) @ rotation_matrix(angles) @ np.diag(factor) @ np.diag(space)
        shift = rng.uniform(-self.shift, self.shift, n) * np.array(shape)
        bend = rng.normal(0, 1, (n, *(self.knots,) * n)) * self.elastic
        if not moved:
            matrix, shift, bend = np.eye(n), shift * 0, bend * 0
        f32 = np.float32
        return {
            "moved": np.array(moved),
            "matrix": matrix.astype(f32),
            "shift": shift.astype(f32),
            "elastic": bend.astype(f32),
        }

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        rows = drawn["moved"].nonzero().flatten()
        if len(rows) == 0:
            return inputs, targets
        chosen = {k: v.index_select(0, rows) for k, v in drawn.items()}
        shape = inputs.shape[2:]
        grid = sampling_grid(chosen, shape, with_elastic=self.elastic > 0)
        moved = F.grid_sample(inputs.index_select(0, rows), grid.to(inputs.dtype), align_corners=True)
        inputs = inputs.index_copy(0, rows, moved)
        new = dict(targets)
        for name, how in spatial_kinds.items():
            if name in targets:
                part = transform_target(targets[name].index_select(0, rows), how, grid, chosen, shape)
                new[name] = targets[name].index_copy(0, rows, part)
        return inputs, new


def rotation_matrix(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn about one axis in 2D, about each of three in 3D."""
    if len(angles) == 1:
        c, s = cos(angles[0]), sin(angles[0])
        return np.array([[c, -s], [s, c]])
    whole = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = cos(angle), sin(angle)
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        whole = whole @ turn
    return whole


def sampling_grid(drawn: Mapping[str, Tensor], shape: Sequence[int], *, with_elastic: bool = True) -> Tensor:
    """Give the sampling grid of grid_sample for each output element: (b, *shape, dims).

    It is computed in torch's coordinates (-1 to 1, the last axis first) from the start: each is a sum over the
    axes, and is written once.
    """
    n, half = len(shape), half_extents(shape, drawn["shift"])
    matrix = drawn["matrix"] / half.unsqueeze(1)
    shift = drawn["shift"] / half
    grid = shift.new_empty(len(shift), *shape, n)
    lines = [torch.arange(s, device=shift.device, dtype=shift.dtype) - (s - 1) / 2 for s in shape]
    for to in range(n):
        parts = [
            (matrix[:, to, axis, None] * line).view(-1, *[len(line) if a == axis else 1 for a in range(n)])
            for axis, line in enumerate(lines)
        ]
        first = sum(parts[:-1], shift[:, to].view(-1, *[1] * n))
        torch.add(first, parts[-1], out=grid[..., n - 1 - to])
    if with_elastic:
        knots = (drawn["elastic"] / half.view(1, n, *[1] * n)).flip(1)
        grid += elastic_displacement(knots, shape).movedim(1, -1)
    return grid


def half_extents(shape: Sequence[int], like: Tensor) -> Tensor:
    """Give half the distance from the first element to the last along each axis; torch's coordinates count in it."""
    return torch.tensor([max(s - 1, 1) / 2 for s in shape], device=like.device, dtype=like.dtype)


def elastic_displacement(knots: Tensor, shape: Sequence[int]) -> Tensor:
    """Enlarge the knots' displacements to every element: (b, dims, *shape)."""
    mode = "trilinear" if len(shape) == 3 else "bilinear"
    return F.interpolate(knots, size=tuple(shape), mode=mode, align_corners=True)


def to_torch_grid(where: Tensor, shape: Sequence[int]) -> Tensor:
    """Turn elements into torch's coordinates: -1 to 1, the last axis first."""
    return (where / half_extents(shape, where) - 1).flip(-1)


def transform_target(
    target: Tensor, kind: str, grid: Tensor, drawn: Mapping[str, Tensor], shape: Sequence[int]
) -> Tensor:
    """Transform one target with its image."""
    if kind == "labels":
        flat = (target - OUTSIDE_LABEL).unsqueeze(1).float()
        return F.grid_sample(flat, grid, mode="nearest", align_corners=True).squeeze(1).to(target.dtype) + OUTSIDE_LABEL
    if kind == "values":
        return F.grid_sample(target, grid, align_corners=True)
    if kind == "points":
        return transform_points(target, drawn, shape)
    if kind == "boxes":
        return transform_boxes(target, drawn, shape)
    raise ValueError(f"Nothing here moves a target as {kind!r}; known are 'labels', 'values', 'points' and 'boxes'.")


def transform_boxes(boxes: Tensor, drawn: Mapping[str, Tensor], shape: Sequence[int]) -> Tensor:
    """Transform (b, n, 2 * dims) boxes: each becomes the box around the transformed ellipse inside it.

    Objects are rounder than boxes, so that the box around the transformed corners would be too large.
    """
    low, high = boxes.chunk(2, dim=-1)
    half = (high - low) / 2
    inverse = torch.linalg.inv(drawn["matrix"])
    reach = (half**2 @ (inverse**2).mT).sqrt()
    centre = transform_points((low + high) / 2, drawn, shape)
    moved = clip_boxes(torch.cat([centre - reach, centre + reach], dim=-1), shape)
    return torch.where((half > 0).all(-1, keepdim=True), moved, boxes)


def transform_points(points: Tensor, drawn: Mapping[str, Tensor], shape: Sequence[int], *, rounds: int = 50) -> Tensor:
    """Transform (b, n, dims) points of the input to the output, by iterating the inverse."""
    centre = torch.tensor([(s - 1) / 2 for s in shape], device=points.device)
    inverse = torch.linalg.inv(drawn["matrix"])
    aim = points - centre - drawn["shift"].unsqueeze(1)
    at = aim @ inverse.mT + centre
    field = elastic_displacement(drawn["elastic"], shape)
    for _ in range(rounds):
        grid = to_torch_grid(at, shape).view(len(at), -1, *[1] * (len(shape) - 1), len(shape))
        bent = F.grid_sample(field, grid, align_corners=True, padding_mode="border").flatten(2).mT
        at = (aim - bent) @ inverse.mT + centre
    return at


THIS = Spatial
