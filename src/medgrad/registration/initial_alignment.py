"""Initial alignment: a grid of rotations, with the best translation of each by FFT correlation."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ..data import Grid
from ..models.transforms import rotations
from .image_pyramid import GreyImage, seen_on

Matrix = NDArray[np.float64]
STEP_DEGREES = {2: 15.0, 3: 30.0}
SIDE = {2: 48, 3: 16}
ROOM = 1.2
"""The coarse grid is so many times as long as the longer image, so that turned corners stay on it."""


def starts(fixed: GreyImage, moving: GreyImage, *, turns: float, count: int) -> list[Matrix]:
    """List initial matrices in world mm: the identity, centre on centre, and the rotations of the highest correlation.

    Each rotation is scored by its best correlation over all translations, of the intensities or of their edges.
    """
    found = [np.eye(fixed.grid.dims + 1), onto(np.eye(fixed.grid.dims), middle(fixed.grid), middle(moving.grid))]
    if turns > 0:
        found += likely(fixed, moving, turns=turns, count=count)
    return [m for i, m in enumerate(found) if not any(np.allclose(m, other) for other in found[:i])]


def onto(turn: Matrix, fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> Matrix:
    """Give the matrix that turns about one point of the fixed image and brings it onto one of the moving image."""
    n = len(turn)
    whole = np.eye(n + 1)
    whole[:n, :n] = turn
    whole[:n, n] = moving - turn @ fixed
    return whole


def middle(grid: Grid) -> NDArray[np.float64]:
    """Give the world point in the middle of a grid."""
    return grid.world((np.array(grid.shape) - 1) / 2)


def mass(picture: GreyImage) -> NDArray[np.float64]:
    """Give the world point at which a picture balances."""
    return picture.grid.world(ndimage.center_of_mass(picture.array + 1e-6))


def turned(dims: int, most: float) -> list[Matrix]:
    """List rotations up to so many degrees on an even grid, the smallest first."""
    step = STEP_DEGREES[dims]
    reach = int(most // step) + 1
    axes = 3 if dims == 3 else 1
    every = np.array(list(product(range(-reach, reach + 1), repeat=axes)), float) * step
    size = np.linalg.norm(every, axis=1)
    kept = every[size <= most + step / 2]
    kept = kept[np.argsort(np.linalg.norm(kept, axis=1), kind="stable")]
    return list(rotations(torch.from_numpy(np.deg2rad(kept))).numpy())


def likely(fixed: GreyImage, moving: GreyImage, *, turns: float, count: int) -> list[Matrix]:
    """Give the rigid matrices of the highest correlation on a coarse grid."""
    n = fixed.grid.dims
    size = max(max(np.array(p.grid.shape) * p.grid.spacing) for p in (fixed, moving))
    side, space = SIDE[n], size * ROOM / SIDE[n]
    centre, other = middle(fixed.grid), mass(moving)
    grid = Grid.of((side,) * n, spacing=(space,) * n, origin=tuple(centre - (side - 1) / 2 * space))
    around = [onto(t, centre, other) for t in turned(n, turns)]
    best: list[Matrix] = []
    still, still_known = seen_on(fixed, grid, [np.eye(n + 1)])
    seen, known = seen_on(moving, grid, around)
    for edges in (False, True):
        scores, shifts = correlated(outline(still, still_known, edges), outline(seen, known, edges))
        best += [around[i] @ shift_of(shifts[i] * space) for i in scores.argsort(descending=True)[:count].tolist()]
    return best


def correlated(still: Tensor, seen: Tensor) -> tuple[Tensor, NDArray[np.int64]]:
    """Give the highest correlation of each image over all translations, and that translation."""
    shape = still.shape[1:]
    room, axes = [2 * s for s in shape], list(range(1, still.ndim))
    spectrum = torch.fft.rfftn(still, s=room, dim=axes).conj() * torch.fft.rfftn(seen, s=room, dim=axes)
    scores, at = torch.fft.irfftn(spectrum, s=room, dim=axes).flatten(1).max(1)
    shift = np.stack(np.unravel_index(at.numpy(), room), axis=-1)
    return scores, np.where(shift >= np.array(shape), shift - np.array(room), shift)


def outline(seen: Tensor, known: Tensor, edges: bool) -> Tensor:
    """Normalise for correlation: centred intensities or gradient magnitudes, 0 where unknown, each of norm 1."""
    axes = list(range(1, seen.ndim))
    if edges:
        slopes = torch.gradient(seen, dim=axes)
        seen = torch.stack(slopes).square().sum(0).sqrt()
    about = (seen * known).sum(axes, keepdim=True) / known.sum(axes, keepdim=True).clamp_min(1)
    seen = (seen - about) * known
    return seen / seen.square().sum(axes, keepdim=True).sqrt().clamp_min(1e-6)


def shift_of(shift: NDArray[np.float64]) -> Matrix:
    """Give the matrix of a shift."""
    whole = np.eye(len(shift) + 1)
    whole[:-1, -1] = shift
    return whole
