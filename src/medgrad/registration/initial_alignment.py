"""Initial alignment: a grid of rotations, with the best translation of each by FFT correlation."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ..data import Grid
from ..models.transforms import rotation_matrices
from .image_pyramid import GreyImage, sample_on_grid

Matrix = NDArray[np.float64]
STEP_DEGREES = {2: 15.0, 3: 30.0}
GRID_SIDE = {2: 48, 3: 16}
GRID_MARGIN = 1.2
"""The coarse grid is so many times as long as the longer image, so that turned corners stay on it."""


def list_initial_matrices(fixed: GreyImage, moving: GreyImage, *, max_rotation: float, count: int) -> list[Matrix]:
    """List initial matrices in world mm: the identity, centre on centre, and the rotations of the highest correlation.

    Each rotation is scored by its best correlation over all translations, of the intensities or of their edges.
    """
    found = [
        np.eye(fixed.grid.dims + 1),
        rotation_about(np.eye(fixed.grid.dims), grid_centre(fixed.grid), grid_centre(moving.grid)),
    ]
    if max_rotation > 0:
        found += likeliest_matrices(fixed, moving, max_rotation=max_rotation, count=count)
    return [m for i, m in enumerate(found) if not any(np.allclose(m, other) for other in found[:i])]


def rotation_about(rotation: Matrix, fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> Matrix:
    """Give the matrix that turns about one point of the fixed image and brings it onto one of the moving image."""
    n = len(rotation)
    whole = np.eye(n + 1)
    whole[:n, :n] = rotation
    whole[:n, n] = moving - rotation @ fixed
    return whole


def grid_centre(grid: Grid) -> NDArray[np.float64]:
    """Give the world point in the middle of a grid."""
    return grid.to_world((np.array(grid.shape) - 1) / 2)


def centre_of_mass(image: GreyImage) -> NDArray[np.float64]:
    """Give the world point at which a picture balances."""
    return image.grid.to_world(ndimage.center_of_mass(image.array + 1e-6))


def list_rotations(dims: int, max_degrees: float) -> list[Matrix]:
    """List rotations up to so many degrees on an even grid, the smallest first."""
    step = STEP_DEGREES[dims]
    reach = int(max_degrees // step) + 1
    axes = 3 if dims == 3 else 1
    every = np.array(list(product(range(-reach, reach + 1), repeat=axes)), float) * step
    size = np.linalg.norm(every, axis=1)
    kept = every[size <= max_degrees + step / 2]
    kept = kept[np.argsort(np.linalg.norm(kept, axis=1), kind="stable")]
    return list(rotation_matrices(torch.from_numpy(np.deg2rad(kept))).numpy())


def likeliest_matrices(fixed: GreyImage, moving: GreyImage, *, max_rotation: float, count: int) -> list[Matrix]:
    """Give the rigid matrices of the highest correlation on a coarse grid."""
    n = fixed.grid.dims
    size = max(max(np.array(p.grid.shape) * p.grid.spacing) for p in (fixed, moving))
    side, space = GRID_SIDE[n], size * GRID_MARGIN / GRID_SIDE[n]
    centre, other = grid_centre(fixed.grid), centre_of_mass(moving)
    grid = Grid.from_shape((side,) * n, spacing=(space,) * n, origin=tuple(centre - (side - 1) / 2 * space))
    around = [rotation_about(t, centre, other) for t in list_rotations(n, max_rotation)]
    best: list[Matrix] = []
    still, still_known = sample_on_grid(fixed, grid, [np.eye(n + 1)])
    seen, known = sample_on_grid(moving, grid, around)
    for edges in (False, True):
        scores, shifts = best_correlation(
            normalise_for_correlation(still, still_known, edges), normalise_for_correlation(seen, known, edges)
        )
        best += [
            around[i] @ translation_matrix(shifts[i] * space) for i in scores.argsort(descending=True)[:count].tolist()
        ]
    return best


def best_correlation(fixed: Tensor, moving: Tensor) -> tuple[Tensor, NDArray[np.int64]]:
    """Give the highest correlation of each image over all translations, and that translation."""
    shape = fixed.shape[1:]
    room, axes = [2 * s for s in shape], list(range(1, fixed.ndim))
    spectrum = torch.fft.rfftn(fixed, s=room, dim=axes).conj() * torch.fft.rfftn(moving, s=room, dim=axes)
    scores, at = torch.fft.irfftn(spectrum, s=room, dim=axes).flatten(1).max(1)
    shift = np.stack(np.unravel_index(at.numpy(), room), axis=-1)
    return scores, np.where(shift >= np.array(shape), shift - np.array(room), shift)


def normalise_for_correlation(values: Tensor, known: Tensor, use_edges: bool) -> Tensor:
    """Normalise for correlation: centred intensities or gradient magnitudes, 0 where unknown, each of norm 1."""
    axes = list(range(1, values.ndim))
    if use_edges:
        slopes = torch.gradient(values, dim=axes)
        values = torch.stack(slopes).square().sum(0).sqrt()
    about = (values * known).sum(axes, keepdim=True) / known.sum(axes, keepdim=True).clamp_min(1)
    values = (values - about) * known
    return values / values.square().sum(axes, keepdim=True).sqrt().clamp_min(1e-6)


def translation_matrix(shift: NDArray[np.float64]) -> Matrix:
    """Give the matrix of a shift."""
    whole = np.eye(len(shift) + 1)
    whole[:-1, -1] = shift
    return whole
