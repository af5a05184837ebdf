"""Line two images up by descent: the transform is the model, and the pair is the only batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import registry
from ..data import Grid, Image
from ..data.grid import as_rows
from ..data.transform import Transform, voxels
from ..descent.gradients import build_gradients
from ..tasks._task import Batch
from ..tasks.registration import Registration
from ..transforms._linear import Linear
from ..transforms.velocity import Velocity
from ._scene import Grey, coarser, grey, looked_up, places, scene
from ._start import starts
from .teller import Silent, Teller
from .train import train

Kind = Literal["rigid", "similarity", "affine", "deformable"]
Matrix = NDArray[np.float64]
SAME, OTHER = "lncc", "mutual_information"
BENT = 0.1
"""Where a curve explains so much more of one image by the other than a straight line does, their contrast differs."""
BINS = 16
"""Of the joint histogram on the coarse grid, which has few elements to fill it."""
COARSE = {2: 4_000, 3: 4_000}
HALF = {2: 10_000, 3: 8_000}
MIDDLE = {2: 16_000, 3: 24_000}
FINE = {2: 90_000, 3: 200_000}


@dataclass(frozen=True)
class Level:
    """One level of the linear part: the most elements, what is learned, in how many steps of at most ``rate`` elements.

    The moving image is seen through splines of ``order``.
    """

    most: Mapping[int, int]
    transform: str
    steps: int
    rate: float = 0.5
    order: int = 1


@dataclass(frozen=True)
class Settings:
    """How hard to look, and how soft the moving image is.

    ``turns`` is the largest turn in degrees that is looked for, 0 where both lie almost alike; ``tries`` as many turns
    are followed up. ``effort`` multiplies the number of steps. ``smoothness`` is what bending costs.
    """

    turns: float = 60.0
    tries: int = 2
    effort: float = 1.0
    smoothness: float = 0.3


@dataclass(frozen=True)
class Registered:
    """The transform from the fixed image to the moving one, the measure it was found by, and what there is to tell."""

    transform: Transform
    similarity: str
    told: tuple[str, ...]


def register(
    fixed: Image,
    moving: Image,
    *,
    kind: Kind = "deformable",
    similarity: str = "auto",
    settings: Settings | None = None,
    begun: Transform | None = None,
    teller: Teller | None = None,
) -> Registered:
    """Find where each point of the fixed image lies in the moving one.

    First turns and shifts are tried on a coarse grid and the best few followed; then the linear part is learned from
    coarse to fine; then, for ``deformable``, a way that can be undone. ``auto`` takes local correlation where both
    images show the same contrast, else mutual information; which one it took is told. Where a transform has ``begun``
    the way, such as the answer of a network, only its bend is refined.
    """
    check(fixed, moving, kind, similarity)
    if begun is not None:
        return refined(fixed, moving, begun, similarity, settings or Settings())
    how, teller = settings or Settings(), teller or Silent()
    still, other = grey(fixed), grey(moving)
    with teller.bar("Looking for the best start"):
        matrix, line, curve = rough(still, other, how, "similarity" if kind in ("similarity", "affine") else "rigid")
    told = []
    if similarity == "auto":
        similarity, why = chosen(fixed.modality, moving.modality, line, curve)
        told.append(why)
        teller.say(why)
    with teller.bar("Lining up"):
        matrix = linear_part(still, other, matrix, kind, similarity, how)
    bend = None
    if kind == "deformable":
        measure = "mind" if similarity == OTHER else similarity
        with teller.bar("Bending"):
            bend = bent(still, other, matrix, measure, how, fixed.grid)
    return Registered(Transform(as_rows(matrix), fixed.grid, bend), similarity, tuple(told))


def refined(fixed: Image, moving: Image, begun: Transform, similarity: str, how: Settings) -> Registered:
    """Go on bending where a transform has led already, on the two finest levels alone."""
    measure = SAME if similarity == "auto" else similarity
    still, other, matrix = grey(fixed), grey(moving), np.array(begun.matrix)
    bend = bent(still, other, matrix, measure, how, fixed.grid, begun=begun) if how.effort > 0 else begun.bend
    told = "A network has begun the way, and descent on the pair has refined it."
    return Registered(Transform(begun.matrix, fixed.grid, bend), measure, (told,))


def check(fixed: Image, moving: Image, kind: str, similarity: str) -> None:
    """Raise unless both images can be registered in the way that is asked for."""
    if fixed.grid.dims != moving.grid.dims:
        raise ValueError(
            f"The fixed image has {fixed.grid.dims} axes and the moving one {moving.grid.dims}. Both need as many."
        )
    kinds = ("rigid", "similarity", "affine", "deformable")
    if kind not in kinds:
        raise ValueError(f"A registration is one of {', '.join(kinds)}, not {kind!r}.")
    if similarity != "auto":
        registry.find("similarity", similarity)


def chosen(fixed: str | None, moving: str | None, line: float, curve: float) -> tuple[str, str]:
    """Choose the measure by what the images are said to be or, where that is open, by what they show; say why."""
    if fixed and moving and fixed != moving:
        return OTHER, f"One image is {fixed} and the other {moving}, so they are compared by {OTHER}."
    found = (
        f"a straight line explains {max(line, 0) ** 2:.0%} of the fixed image by the moving one, a curve {curve:.0%}"
    )
    if line > 0 and curve - line**2 < BENT:
        return SAME, f"Laid on each other, {found}: the contrast is the same, so they are compared by {SAME}."
    return OTHER, f"Laid on each other, {found}: the contrast differs, so they are compared by {OTHER}."


def rough(fixed: Grey, moving: Grey, how: Settings, transform: str) -> tuple[Matrix, float, float]:
    """Give the best of several starts, each followed for some steps, and how alike the images are there."""
    grid = coarser(fixed.grid, COARSE[fixed.grid.dims])
    matrices = starts(fixed, moving, turns=how.turns, count=how.tries)
    task = Registration(dims=grid.dims, similarity=OTHER, similarity_settings={"bins": BINS}, smoothness=0.0)
    batch = scene(fixed, moving, grid, matrices)
    model = registry.find("transforms", transform)(grid.shape, spacing=grid.spacing, count=len(matrices))
    descend(model, task, batch, steps=round(20 * how.effort), rate=0.6 * element(model))
    ends = in_world(model, grid, matrices)
    batch = scene(fixed, moving, grid, ends)
    alone = registry.find("similarity", OTHER)(bins=BINS)
    target = batch.target
    costs = [float(alone(*(target[k][i : i + 1] for k in ("moving", "fixed", "weight")))) for i in range(len(ends))]
    shares = target["weight"].flatten(1).mean(1).numpy()
    costs = [c if s >= 0.25 * shares.max() else np.inf for c, s in zip(costs, shares, strict=True)]
    best = int(np.argmin(costs))
    return ends[best], *alike(batch, best)


def alike(batch: Batch, which: int) -> tuple[float, float]:
    """Give how well a straight line and any curve predict the fixed image from the moving one, where both are known.

    The first is the correlation, the second the correlation ratio (Roche and others 1998), of 32 bins; squared.
    """
    known = batch.target["weight"][which] > 0
    fixed, moving = (batch.target[k][which][known].double() for k in ("fixed", "moving"))
    line = float(torch.corrcoef(torch.stack([fixed, moving]))[0, 1].nan_to_num())
    bins = (moving * 31.99).long().clamp(0, 31)
    counts = torch.bincount(bins, minlength=32)
    means = torch.bincount(bins, fixed, minlength=32) / counts.clamp_min(1)
    left = (fixed - means[bins]).square().mean() / fixed.var().clamp_min(1e-9)
    return line, float(1 - left)


def linear_part(fixed: Grey, moving: Grey, matrix: Matrix, kind: str, similarity: str, how: Settings) -> Matrix:
    """Learn the linear part from coarse to fine; each level goes on from where the one before has brought it."""
    dims = fixed.grid.dims
    name = "affine" if kind == "deformable" else kind
    plan = [Level(HALF, name, 14)] if kind == "deformable" else [Level(MIDDLE, name, 30), Level(FINE, name, 40, 0.3, 3)]
    if name != "rigid" and kind != "deformable":
        plan = [Level(MIDDLE, "similarity", 30), *plan]
    for level in plan:
        grid = coarser(fixed.grid, level.most[dims])
        task = Registration(dims=dims, similarity=similarity, smoothness=0.0)
        model = registry.find("transforms", level.transform)(grid.shape, spacing=grid.spacing)
        batch = scene(fixed, moving, grid, [matrix], order=level.order, blur=1.0 if level.order > 1 else 0.0)
        descend(model, task, batch, steps=round(level.steps * how.effort), rate=level.rate * element(model))
        if level.order > 1:
            descend(model, task, batch, steps=5, rate=1.0, optimiser_name="lbfgs")
        matrix = in_world(model, grid, [matrix])[0]
    return matrix


def element(model: Linear) -> float:
    """Give the weight that moves the edge of a model's grid by about one element."""
    return float(np.mean(model.spacing)) / model.reach


def in_world(model: Linear, grid: Grid, before: Sequence[Matrix]) -> list[Matrix]:
    """Give what a model has learned as matrices in world mm, each before the one through which it saw the image."""
    n = grid.dims
    place = np.eye(n + 1)
    place[:n, :n] = grid.directions
    place[:n, n] = grid.world((np.array(grid.shape) - 1) / 2)
    learned = model.matrices().detach().double().numpy()
    return [b @ place @ m @ np.linalg.inv(place) for b, m in zip(before, learned, strict=True)]


def bent(
    fixed: Grey,
    moving: Grey,
    matrix: Matrix,
    similarity: str,
    how: Settings,
    grid: Grid,
    *,
    begun: Transform | None = None,
) -> NDArray[np.float32]:
    """Learn the bend from coarse to fine, and give it in mm on the grid of the whole fixed image.

    One that has ``begun`` is gone on with, without the coarsest level.
    """
    dims = fixed.grid.dims
    way: torch.Tensor | None = None
    at = fixed.grid
    for share, steps, rate, every in ((64, 15, 0.8, 1.0), (8, 15, 0.8, 1.0), (1, 4, 0.4, 2.0)):
        most = FINE[dims] / (share if dims == 3 else share ** (2 / 3))
        at = coarser(fixed.grid, min(int(most), max(int(np.prod(fixed.grid.shape)) // share, 1)))
        if share == 64 and (begun is not None or np.prod(at.shape) < 4000):
            continue
        if way is None and begun is not None:
            mm = begun.bent(voxels(at)) @ np.linalg.inv(at.matrix[:dims, :dims]).T
            way = torch.from_numpy(np.moveaxis(mm, -1, 0).astype(np.float32))[None]
        task = Registration(dims=dims, similarity=similarity, smoothness=how.smoothness)
        model = Velocity(at.shape, every=every)
        if way is not None:
            model.begin(way)
        descend(model, task, scene(fixed, moving, at, [matrix]), steps=round(steps * how.effort), rate=rate)
        way = model(torch.empty(1, 1, *at.shape)).detach()
    assert way is not None  # the last two levels always run
    there = looked_up(way[0], places(at, grid, [np.eye(dims + 1)]))[0]
    return (np.moveaxis(there.numpy(), 0, -1) @ at.matrix[:dims, :dims].T).astype(np.float32)


def descend(
    model: nn.Module, task: Registration, batch: Batch, *, steps: int, rate: float, optimiser_name: str = "adam"
) -> float:
    """Take so many steps on the one batch, ever shorter ones, and give the last loss."""
    optimiser = registry.find("descent.optimisers", optimiser_name)(list(model.named_parameters()), rate=rate)
    loss = float("nan")
    taken: Any = train(
        model,
        task,
        (batch for _ in range(steps)),
        optimiser=optimiser,
        gradients=build_gradients(()),
        schedule=lambda done: 1 - 0.95 * done,
        steps=steps,
    )
    for step in taken:
        loss = step.loss
        if isinstance(model, Velocity):
            model.settle()
    return loss
