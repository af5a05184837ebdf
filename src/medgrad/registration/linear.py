"""Linear registration: several starts on a coarse grid, then the best one from coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from .. import registry
from ..data import Grid
from ..models.transforms import LinearTransform
from ..tasks import Batch
from ..tasks.registration import Registration
from .image_pyramid import GreyImage, coarser_grid, make_pair_batch
from .initial_alignment import list_initial_matrices
from .optimise import run_adam, run_lbfgs

Matrix = NDArray[np.float64]
COARSE_SIMILARITY = "mutual_information"
COARSE_BINS = 16
"""Of the joint histogram on the coarse grid, which has few elements to fill it."""
SEARCH_ELEMENTS = {2: 4_000, 3: 4_000}
HALF_ELEMENTS = {2: 10_000, 3: 8_000}
MIDDLE_ELEMENTS = {2: 16_000, 3: 24_000}
FINE_ELEMENTS = {2: 90_000, 3: 200_000}
FINEST_ELEMENTS = {2: 90_000, 3: 800_000}
STRETCH_WEIGHT = 0.05
"""What it costs to stretch an axis e times, so that no image is blown up until nothing in it varies."""
SHARE, MOST = 0.003, 10
"""A level has converged when a step lowers the loss by less than this share, or after so many steps."""


@dataclass(frozen=True)
class LinearLevel:
    """One level: the most elements, what is learned, and how many steps get near, of at most ``max_step`` elements.

    Then it is gone on with until it has converged. Where the images are seen as fine as they are, a level that is
    ``exact`` looks through splines and smooths both, so that no place attracts which needs no interpolation.
    """

    max_elements: Mapping[int, int]
    transform: str
    steps: int
    max_step: float = 0.5
    exact: bool = False


def plan_levels(kind: str) -> list[LinearLevel]:
    """List the levels. A bend goes on from a linear part that has converged on a coarse grid, and takes it along."""
    if kind == "rigid":
        return [
            LinearLevel(MIDDLE_ELEMENTS, kind, 30),
            LinearLevel(FINE_ELEMENTS, kind, 20, 0.3, True),
            LinearLevel(FINEST_ELEMENTS, kind, 0, 0.0, True),
        ]
    coarse = LinearLevel(HALF_ELEMENTS, "affine" if kind == "deformable" else kind, 14)
    return [coarse] if kind == "deformable" else [coarse, LinearLevel(FINE_ELEMENTS, kind, 10, 0.2, True)]


def coarse_search(
    fixed: GreyImage, moving: GreyImage, transform: str, *, max_rotation: float, n_rotations: int, step_factor: float
) -> tuple[Matrix, float, float]:
    """Optimise several starts on a coarse grid; give the best matrix, the correlation and the correlation ratio there.

    The score of a start is weighted by the overlap, since images that hardly overlap easily look alike.
    """
    grid = coarser_grid(fixed.grid, SEARCH_ELEMENTS[fixed.grid.dims])
    matrices = list_initial_matrices(fixed, moving, max_rotation=max_rotation, count=n_rotations)
    task = Registration(
        dims=grid.dims, similarity=COARSE_SIMILARITY, similarity_settings={"bins": COARSE_BINS}, smoothness=0.0
    )
    batch = make_pair_batch(fixed, moving, grid, matrices)
    model = registry.find("models.transforms", transform)(grid.shape, spacing=grid.spacing, count=len(matrices))
    run_adam(model, task, batch, steps=round(20 * step_factor), rate=0.6)
    ends = to_world(model, grid, matrices)
    batch = make_pair_batch(fixed, moving, grid, ends)
    alone = registry.find("losses.similarity", COARSE_SIMILARITY)(bins=COARSE_BINS)
    target = batch.target
    known = [-float(alone(*(target[k][i : i + 1] for k in ("moving", "fixed", "weight")))) for i in range(len(ends))]
    best = int(np.argmax(np.array(known) * target["weight"].flatten(1).mean(1).numpy()))
    return ends[best], *correlation_and_ratio(batch, best)


def correlation_and_ratio(batch: Batch, sample: int) -> tuple[float, float]:
    """Give the correlation and the correlation ratio (squared, 32 bins; Roche and others 1998) where both are known."""
    known = batch.target["weight"][sample] > 0
    fixed, moving = (batch.target[k][sample][known].double() for k in ("fixed", "moving"))
    line = float(torch.corrcoef(torch.stack([fixed, moving]))[0, 1].nan_to_num())
    bins = (moving * 31.99).long().clamp(0, 31)
    counts = torch.bincount(bins, minlength=32)
    means = torch.bincount(bins, fixed, minlength=32) / counts.clamp_min(1)
    left = (fixed - means[bins]).square().mean() / fixed.var().clamp_min(1e-9)
    return line, float(1 - left)


def optimise_linear(
    fixed: GreyImage, moving: GreyImage, matrix: Matrix, kind: str, similarity: str, *, step_factor: float
) -> Matrix:
    """Optimise the linear transform from coarse to fine."""
    dims = fixed.grid.dims
    before = 0
    for level in plan_levels(kind):
        grid = coarser_grid(fixed.grid, level.max_elements[dims])
        if level.steps == 0 and np.prod(grid.shape) <= before:
            continue
        before = int(np.prod(grid.shape))
        task = Registration(dims=dims, similarity=similarity, smoothness=0.0)
        model = registry.find("models.transforms", level.transform)(grid.shape, spacing=grid.spacing)
        is_exact = level.exact and grid.shape == fixed.grid.shape
        batch = make_pair_batch(
            fixed, moving, grid, [matrix], order=3 if is_exact else 1, blur=1.0 if is_exact else 0.0
        )
        penalty = None if level.transform == "rigid" else partial(stretch_penalty, model)
        run_adam(model, task, batch, steps=round(level.steps * step_factor), rate=level.max_step, penalty=penalty)
        run_lbfgs(model, task, batch, min_decrease=SHARE, max_steps=round(MOST * step_factor), penalty=penalty)
        matrix = to_world(model, grid, [matrix])[0]
    return matrix


def stretch_penalty(model: LinearTransform) -> torch.Tensor:
    """Give the penalty on stretching."""
    return STRETCH_WEIGHT * model.squared_log_stretch()


def to_world(model: LinearTransform, grid: Grid, before: Sequence[Matrix]) -> list[Matrix]:
    """Give the learned maps as matrices in world mm, each composed with the matrix that it started from."""
    n = grid.dims
    place = np.eye(n + 1)
    place[:n, :n] = grid.directions
    place[:n, n] = grid.to_world((np.array(grid.shape) - 1) / 2)
    learned = model.matrices().detach().double().numpy()
    return [b @ place @ m @ np.linalg.inv(place) for b, m in zip(before, learned, strict=True)]
