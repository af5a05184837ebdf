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
from ..models.transforms import Linear
from ..tasks import Batch
from ..tasks.registration import Registration
from .image_pyramid import GreyImage, coarser, scene
from .initial_alignment import starts
from .optimise import converge, get_near

Matrix = NDArray[np.float64]
BY = "mutual_information"
BINS = 16
"""Of the joint histogram on the coarse grid, which has few elements to fill it."""
COARSE = {2: 4_000, 3: 4_000}
HALF = {2: 10_000, 3: 8_000}
MIDDLE = {2: 16_000, 3: 24_000}
FINE = {2: 90_000, 3: 200_000}
FINEST = {2: 90_000, 3: 800_000}
STRETCH = 0.05
"""What it costs to stretch an axis e times, so that no image is blown up until nothing in it varies."""
SHARE, MOST = 0.003, 10
"""A level has converged when a step lowers the loss by less than this share, or after so many steps."""


@dataclass(frozen=True)
class Level:
    """One level: the most elements, what is learned, and how many steps get near, of at most ``rate`` elements.

    Then it is gone on with until it has converged. Where the images are seen as fine as they are, a level that is
    ``exact`` looks through splines and smooths both, so that no place attracts which needs no interpolation.
    """

    most: Mapping[int, int]
    transform: str
    steps: int
    rate: float = 0.5
    exact: bool = False


def plan_of(kind: str) -> list[Level]:
    """List the levels. A bend goes on from a linear part that has converged on a coarse grid, and takes it along."""
    if kind == "rigid":
        return [Level(MIDDLE, kind, 30), Level(FINE, kind, 20, 0.3, True), Level(FINEST, kind, 0, 0.0, True)]
    coarse = Level(HALF, "affine" if kind == "deformable" else kind, 14)
    return [coarse] if kind == "deformable" else [coarse, Level(FINE, kind, 10, 0.2, True)]


def coarse_search(
    fixed: GreyImage, moving: GreyImage, transform: str, *, turns: float, tries: int, effort: float
) -> tuple[Matrix, float, float]:
    """Optimise several starts on a coarse grid; give the best matrix, the correlation and the correlation ratio there.

    The score of a start is weighted by the overlap, since images that hardly overlap easily look alike.
    """
    grid = coarser(fixed.grid, COARSE[fixed.grid.dims])
    matrices = starts(fixed, moving, turns=turns, count=tries)
    task = Registration(dims=grid.dims, similarity=BY, similarity_settings={"bins": BINS}, smoothness=0.0)
    batch = scene(fixed, moving, grid, matrices)
    model = registry.find("models.transforms", transform)(grid.shape, spacing=grid.spacing, count=len(matrices))
    get_near(model, task, batch, steps=round(20 * effort), rate=0.6)
    ends = in_world(model, grid, matrices)
    batch = scene(fixed, moving, grid, ends)
    alone = registry.find("losses.similarity", BY)(bins=BINS)
    target = batch.target
    known = [-float(alone(*(target[k][i : i + 1] for k in ("moving", "fixed", "weight")))) for i in range(len(ends))]
    best = int(np.argmax(np.array(known) * target["weight"].flatten(1).mean(1).numpy()))
    return ends[best], *alike(batch, best)


def alike(batch: Batch, which: int) -> tuple[float, float]:
    """Give the correlation and the correlation ratio (squared, 32 bins; Roche and others 1998) where both are known."""
    known = batch.target["weight"][which] > 0
    fixed, moving = (batch.target[k][which][known].double() for k in ("fixed", "moving"))
    line = float(torch.corrcoef(torch.stack([fixed, moving]))[0, 1].nan_to_num())
    bins = (moving * 31.99).long().clamp(0, 31)
    counts = torch.bincount(bins, minlength=32)
    means = torch.bincount(bins, fixed, minlength=32) / counts.clamp_min(1)
    left = (fixed - means[bins]).square().mean() / fixed.var().clamp_min(1e-9)
    return line, float(1 - left)


def linear_part(
    fixed: GreyImage, moving: GreyImage, matrix: Matrix, kind: str, similarity: str, *, effort: float
) -> Matrix:
    """Optimise the linear transform from coarse to fine."""
    dims = fixed.grid.dims
    before = 0
    for level in plan_of(kind):
        grid = coarser(fixed.grid, level.most[dims])
        if level.steps == 0 and np.prod(grid.shape) <= before:
            continue
        before = int(np.prod(grid.shape))
        task = Registration(dims=dims, similarity=similarity, smoothness=0.0)
        model = registry.find("models.transforms", level.transform)(grid.shape, spacing=grid.spacing)
        is_exact = level.exact and grid.shape == fixed.grid.shape
        batch = scene(fixed, moving, grid, [matrix], order=3 if is_exact else 1, blur=1.0 if is_exact else 0.0)
        penalty = None if level.transform == "rigid" else partial(stretched, model)
        get_near(model, task, batch, steps=round(level.steps * effort), rate=level.rate, penalty=penalty)
        converge(model, task, batch, share=SHARE, most=round(MOST * effort), penalty=penalty)
        matrix = in_world(model, grid, [matrix])[0]
    return matrix


def stretched(model: Linear) -> torch.Tensor:
    """Give the penalty on stretching."""
    return STRETCH * model.stretch()


def in_world(model: Linear, grid: Grid, before: Sequence[Matrix]) -> list[Matrix]:
    """Give the learned maps as matrices in world mm, each composed with the matrix that it started from."""
    n = grid.dims
    place = np.eye(n + 1)
    place[:n, :n] = grid.directions
    place[:n, n] = grid.world((np.array(grid.shape) - 1) / 2)
    learned = model.matrices().detach().double().numpy()
    return [b @ place @ m @ np.linalg.inv(place) for b, m in zip(before, learned, strict=True)]
