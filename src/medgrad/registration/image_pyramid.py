"""Prepare both images of a registration, and resample them on coarser grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ..data import Grid, Image, LabelMap
from ..losses.regularisers.gaussian import gaussian_smooth
from ..machine.threads import run_together
from ..prepare.resample import rescale_grid
from ..tasks import Batch

Array = NDArray[np.float32]
BACKGROUND_MARGIN = 0.1
"""Of a plain background, so much of the size of what stands before it is kept around it."""


@dataclass(frozen=True)
class GreyImage:
    """Intensities between 0 and 1 on the part of a grid that shows anything.

    What lies outside is unknown (``extends`` false), or more of the plain background that the edges already show.
    Only a ``region`` counts, 1 there and 0 elsewhere, where there is one.
    """

    array: Array
    grid: Grid
    extends: bool
    region: Array | None = None


def to_grey_image(image: Image, region: LabelMap | None = None) -> GreyImage:
    """Give the mean of an image's channels, without borders of one value, from its 0.5th to its 99.5th percentile."""
    array = np.nan_to_num(image.channels_first.astype(np.float32).mean(axis=0))
    if min(array.shape) < 4:
        raise ValueError(f"An image of {image.grid.shape} is too thin to register: each axis needs 4 elements.")
    shown = array != array.flat[0]
    if not shown.any():
        raise ValueError("An image holds one value only, so there is nothing to register.")
    low = [int(np.flatnonzero(shown.any(axis=other_axes(shown, a)))[0]) for a in range(shown.ndim)]
    high = [int(np.flatnonzero(shown.any(axis=other_axes(shown, a)))[-1]) + 1 for a in range(shown.ndim)]
    goes_on = False
    if low != [0] * shown.ndim or high != list(shown.shape):
        box = shown[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        goes_on = share_on_faces(box) < 0.5
    if goes_on:
        margin = [max(4, round(BACKGROUND_MARGIN * (b - a))) for a, b in zip(low, high, strict=True)]
        low = [max(0, a - m) for a, m in zip(low, margin, strict=True)]
        high = [min(n, b + m) for b, m, n in zip(high, margin, shown.shape, strict=True)]
    at = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    kept = array[at]
    bottom, top = np.percentile(kept, [0.5, 99.5])
    if top <= bottom:
        bottom, top = float(kept.min()), float(kept.max())
    flat = np.clip((kept - bottom) / (top - bottom), 0, 1).astype(np.float32)
    within = None if region is None else (region.array[at] != 0).astype(np.float32)
    if within is not None and not within.any():
        raise ValueError("The region holds nothing of what its image shows. Give a mask that is not 0 there.")
    return GreyImage(flat, image.grid.crop(low, kept.shape), goes_on, within)


def other_axes(array: NDArray[np.bool_], axis: int) -> tuple[int, ...]:
    """List every axis but one."""
    return tuple(a for a in range(array.ndim) if a != axis)


def share_on_faces(box: NDArray[np.bool_]) -> float:
    """Give how much of the faces of a box is set: all of them if it was cut out and padded."""
    faces = [np.take(box, end, axis=a).ravel() for a in range(box.ndim) for end in (0, -1)]
    return float(np.concatenate(faces).mean())


def coarser_grid(grid: Grid, max_elements: int) -> Grid:
    """Give a grid over the same region with at most so many elements, as isotropic as the spacing allows.

    >>> coarser_grid(Grid.from_shape((40, 40, 10), spacing=(1, 1, 4)), 2000).shape
    (14, 14, 10)
    """
    space = min(grid.spacing)
    while True:
        shape = [min(n, max(4, round(n * s / max(s, space)))) for n, s in zip(grid.shape, grid.spacing, strict=True)]
        if np.prod(shape) <= max_elements or max(shape) <= 4:
            return rescale_grid(grid, shape)
        space *= 1.03


def sample_on_grid(
    image: GreyImage, grid: Grid, matrices: Sequence[NDArray[np.float64]], *, order: int = 1
) -> tuple[Tensor, Tensor]:
    """Sample an image on a grid through each matrix, with a mask of where it is known: (b, *shape) both.

    The image is smoothed first if the grid is coarser; splines of ``order`` interpolate.
    """
    n = grid.dims
    steps = np.linalg.norm(matrices[0][:n, :n] @ grid.matrix[:n, :n], axis=0).mean() / np.array(image.grid.spacing)
    widths = [0.4 * float(np.sqrt(max(0.0, s * s - 1))) for s in steps]
    sharp = max(widths) < 0.2
    smooth = image.array if sharp else ndimage.gaussian_filter(image.array, widths, mode="nearest", truncate=3)
    where = sampling_coordinates(image.grid, grid, matrices)
    if order > 1:
        seen = torch.from_numpy(np.stack([spline_interpolate(smooth, image.grid, grid, m, order) for m in matrices]))
    else:
        seen = sample_at(torch.from_numpy(smooth)[None], where)[:, 0]
    counts = torch.ones_like(seen)
    if not image.extends:
        edge = 1 + 1 / (torch.tensor(image.grid.shape[::-1]) - 1).clamp_min(1)
        counts = (where.abs() <= edge).all(-1).float()
    if image.region is not None:
        counts = counts * sample_at(torch.from_numpy(image.region)[None], where)[:, 0]
    return seen, counts


def sampling_coordinates(source: Grid, grid: Grid, matrices: Sequence[NDArray[np.float64]]) -> Tensor:
    """Give the grid_sample coordinates of a grid in a source through each matrix: (b, *shape, dims)."""
    n = grid.dims
    whole = np.stack([np.linalg.inv(source.matrix) @ m @ grid.matrix for m in matrices])
    there, here = (np.maximum(np.array(g.shape) - 1, 1) / 2 for g in (source, grid))
    matrix = whole[:, :n, :n] * here / there[:, None]
    shift = (whole[:, :n, :n] @ ((np.array(grid.shape) - 1) / 2) + whole[:, :n, n]) / there - 1
    theta = np.concatenate([matrix[:, ::-1, ::-1], shift[:, ::-1, None]], axis=-1)
    size = [len(matrices), 1, *grid.shape]
    return F.affine_grid(torch.from_numpy(theta.astype(np.float32)), size, align_corners=True)


def sample_at(values: Tensor, coordinates: Tensor) -> Tensor:
    """Sample values (channels, *shape) at coordinates (b, *shape, dims): (b, channels, *shape), with border padding."""
    every = values.expand(len(coordinates), *values.shape)
    return F.grid_sample(every, coordinates, align_corners=True, padding_mode="border")


def spline_interpolate(array: Array, source: Grid, grid: Grid, matrix: NDArray[np.float64], order: int) -> Array:
    """Resample an array on a grid by splines."""
    n = grid.dims
    whole = np.linalg.inv(source.matrix) @ matrix @ grid.matrix
    return ndimage.affine_transform(array, whole[:n, :n], whole[:n, n], grid.shape, order=order, mode="nearest")


def make_pair_batch(
    fixed: GreyImage,
    moving: GreyImage,
    grid: Grid,
    matrices: Sequence[NDArray[np.float64]],
    *,
    order: int = 1,
    blur: float = 0.0,
) -> Batch:
    """Give both pictures on one grid, the moving one as each matrix shows it: one sample a matrix.

    Both are smoothed by a Gaussian of ``blur`` elements: what lies between elements is then as sharp as they are, and
    the places that need no interpolation attract nothing.
    """
    (fixed_values, known), (moving_values, inside) = run_together(
        [
            partial(sample_on_grid, fixed, grid, [np.eye(grid.dims + 1)]),
            partial(sample_on_grid, moving, grid, matrices, order=order),
        ],
        n_threads=torch.get_num_threads(),
    )
    first = gaussian_smooth(fixed_values.unsqueeze(1), blur).expand(len(moving_values), -1, *grid.shape)
    other = gaussian_smooth(moving_values.unsqueeze(1), blur)
    target = {"fixed": first, "moving": other, "weight": (known * inside).unsqueeze(1)}
    return Batch({"image": torch.cat([first, other], dim=1)}, target, [grid] * len(moving_values))
