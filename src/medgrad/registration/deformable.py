"""Deformable registration: coarse to fine, with a stiffness chosen on held-out blocks of the pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import registry
from ..data import Grid
from ..data.grid import as_rows
from ..data.transform import Transform
from ..models.transforms import jacobians, warp
from ..models.transforms.affine import Affine
from ..models.transforms.velocity import Velocity
from ..prepare.resample import scaled
from ..tasks import Batch
from ..tasks.registration import Registration
from ..trust.signed_rank import signed_rank
from .image_pyramid import GreyImage, coarser, interpolate, places, scene
from .linear import in_world
from .optimise import converge

Matrix = NDArray[np.float64]
Seen = tuple[float, NDArray[np.float64]]
"""How unlike two images are: the mean where was learned, and that of each block where was not."""
JUDGE = "mind"
"""What was learned by one measure on some elements is judged by this one on the others."""
STIFFNESSES = (10.0, 3.0, 1.0, 0.3, 0.1)
SOFTEST = {2: (1.0, 0.3), 3: (1.0, 0.1)}
"""A stiff bend and the soft one that is tried first."""
WIDTH = {2: 9, 3: 7}
"""Of the windows of local correlation, in elements."""
NEAR = 2.2
"""A bend of fewer elements than this, but for the longest twentieth, lies within reach of such windows."""
BELIEVED = 1 / 3
"""Of what bending gains where it has learned, it must gain this share where it has not."""
WORTH = 0.16
"""Where a stiff bend gains less than this share of what there is, what softer ones gain is mostly noise.

Two stains of one slice, which must not bend, gained 0.12; of pairs that do bend the least was 0.2.
"""
SURE, LEVEL = 1.65, 0.05
"""Bending helps where its mean gain, block by block, is above nothing by so many standard errors, or where its signed
ranks are at this level. The mean is blind where one block at an edge loses more than many others gain, ranks are where
blocks are few.
"""
HELD_OUT, BLOCKS, FEWEST = 0.25, (8, 6, 5, 4), 12
"""The share of blocks that are left out, and their widths in elements: the largest of which there are enough."""
FINEST = {2: 90_000, 3: 200_000}
SQUARINGS = 6
"""When all is learned: more than while learning, so that the flow back is the inverse."""
STRIDED = 30_000
"""Elements above which local correlation looks at every second window."""
COARSEST = {2: 250, 3: 500}
JUDGED = {2: 4_000, 3: 4_000}


@dataclass(frozen=True)
class Effort:
    """When a level has converged: the least share by which a step lowers the loss, and the most steps.

    Steps on the way, which are gone on from, are fewer.
    """

    share: float = 0.03
    most: int = 4
    brief: int = 2


@dataclass(frozen=True)
class Bend:
    """A velocity field followed by a matrix in world mm, with the stiffness of the field."""

    matrix: Matrix
    velocity: Velocity
    grid: Grid
    stiffness: float

    def transform(self, grid: Grid) -> Transform:
        """Give the transform from the fixed image to the moving one, on the fixed grid."""
        return Transform(as_rows(self.matrix), grid, self.on(grid, np.eye(grid.dims + 1)))

    def inverse(self, grid: Grid) -> Transform:
        """Give the transform from the moving image to the fixed one, on the moving grid."""
        back, n = np.linalg.inv(self.matrix).astype(float), grid.dims
        bend = self.on(grid, back, back=True) @ self.matrix[:n, :n].T
        return Transform(as_rows(back), grid, bend.astype(np.float32))

    @torch.no_grad()
    def on(self, grid: Grid, matrix: Matrix, *, back: bool = False) -> NDArray[np.float32]:
        """Give the displacement in world mm on a grid, at the points to which a matrix takes its elements."""
        knots = tuple(max(k, -(-s // 2)) for k, s in zip(self.velocity.knots, self.grid.shape, strict=True))
        there = self.velocity.flow(back=back, knots=knots, squarings=SQUARINGS)[0]
        seen = interpolate(there, places(scaled(self.grid, knots), grid, [matrix]))[0]
        return (np.moveaxis(seen.numpy(), 0, -1) @ self.grid.directions.T).astype(np.float32)


class Bent(nn.Module):
    """A velocity field followed by an affine map, which is trained or kept fixed."""

    def __init__(self, grid: Grid, *, every: float, stiffness: float, follows: bool) -> None:
        super().__init__()
        self.velocity = Velocity(grid.shape, spacing=grid.spacing, every=every, stiffness=stiffness)
        self.linear = Affine(grid.shape, spacing=grid.spacing).requires_grad_(follows)

    def begin(self, other: Bent) -> None:
        """Start from the weights of another model, on another grid over the same region."""
        self.velocity.begin(other.velocity.coefficients())
        self.linear.begin(other.linear)

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the displacement (b, dims, *shape), in elements."""
        knots = self.velocity.knot_mm
        return self.velocity.spread(self.linear.after(self.velocity.flow() / knots) * knots, inputs)


def levels(grid: Grid) -> list[Grid]:
    """List the grids of the pyramid, each twice as fine as the one before along each axis."""
    dims = grid.dims
    sizes = [min(float(np.prod(grid.shape)), FINEST[dims])]
    while sizes[-1] / 2**dims >= COARSEST[dims]:
        sizes.append(sizes[-1] / 2**dims)
    return [coarser(grid, int(s)) for s in reversed(sizes)]


class Search:
    """Optimise the deformation level by level.

    On the coarse levels it goes from stiff to soft, so that large motion comes first.
    """

    def __init__(
        self, fixed: GreyImage, moving: GreyImage, matrix: Matrix, similarity: str, effort: Effort, *, follows: bool
    ) -> None:
        self.pair, self.matrix, self.similarity, self.effort = (fixed, moving), matrix, similarity, effort
        self.follows = follows
        self.scenes: dict[Grid, Batch] = {}
        self.every = levels(fixed.grid)
        big = [i for i, g in enumerate(self.every) if np.prod(g.shape) >= JUDGED[g.dims]]
        self.judged = big[0] if big else len(self.every) - 1

    def scene(self, grid: Grid, left_out: Tensor | None = None) -> Batch:
        """Give the image pair on a grid, without the held-out blocks."""
        if grid not in self.scenes:
            self.scenes[grid] = scene(*self.pair, grid, [self.matrix])
        batch = self.scenes[grid]
        if left_out is None:
            return batch
        there = nn.functional.interpolate(left_out.float(), size=grid.shape, mode="nearest")
        return Batch(batch.inputs, {**batch.target, "weight": batch.target["weight"] * (1 - there)}, batch.grids)

    def model(self, grid: Grid, stiffness: float) -> Bent:
        """Make the velocity model of a level."""
        last = grid is self.every[-1] and len(self.every) > 1
        return Bent(grid, every=3.0 if last else 1.5, stiffness=stiffness, follows=self.follows)

    def go_on(self, model: Bent, batch: Batch, *, brief: bool = False) -> None:
        """Optimise a model on one level until it has converged."""
        shape = batch.target["fixed"].shape[2:]
        stride = 2 if math.prod(shape) > STRIDED else 1
        settings = {"width": WIDTH[len(shape)], "stride": stride} if self.similarity == "lncc" else {}
        task = Registration(dims=len(shape), similarity=self.similarity, similarity_settings=settings, smoothness=0.0)
        share, most = (3 * self.effort.share, self.effort.brief) if brief else (self.effort.share, self.effort.most)
        converge(model, task, batch, share=share, most=most, penalty=model.velocity.roughness)

    def softened(self, grids: Sequence[Grid], stiffnesses: Sequence[float], left_out: Tensor | None) -> list[Bent]:
        """Optimise from stiff to soft on some grids, and give the model of each stiffness."""
        steps = [(self.model(g, stiffnesses[0]), self.scene(g, left_out)) for g in grids]
        found = []
        for stiffness in stiffnesses:
            before: Bent | None = None
            for model, batch in steps:
                model.velocity.stiffen(stiffness)
                if before is not None:
                    model.begin(before)
                self.go_on(model, batch, brief=True)
                before = model
            kept = self.model(grids[-1], stiffness)
            kept.begin(steps[-1][0])
            found.append(kept)
        return found

    def finer(self, before: Bent, level: int, stiffness: float, left_out: Tensor | None = None) -> Bent:
        """Refine a coarser model on a level."""
        model = self.model(self.every[level], stiffness)
        model.begin(before)
        self.go_on(model, self.scene(self.every[level], left_out), brief=left_out is not None)
        return model


def deformable_stage(
    fixed: GreyImage,
    moving: GreyImage,
    matrix: Matrix,
    similarity: str,
    *,
    stiffness: float | None,
    spread: float,
    effort: Effort,
) -> Bend | None:
    """Learn the bend from coarse to fine; None where none is shown to help.

    Without a ``stiffness``, one is chosen on the first grid that is not too coarse to tell, with a log Jacobian that
    has at most so much ``spread``. With one, the linear part stays as it is.
    """
    search = Search(fixed, moving, matrix, similarity, effort, follows=stiffness is None)
    if stiffness is None:
        found = chosen(search, spread)
        if found is None:
            return None
        model, stiffness = found
        first = min(search.judged + 1, len(search.every) - 1)
    else:
        ladder = [*[s for s in STIFFNESSES if s > stiffness], stiffness]
        model = search.softened(search.every[: max(search.judged, 1)], ladder, None)[-1]
        first = search.judged
    for level in range(first, len(search.every)):
        model = search.finer(model, level, stiffness)
    grid = search.every[-1]
    return Bend(in_world(model.linear, grid, [matrix])[0], model.velocity, grid, stiffness)


def chosen(search: Search, spread: float) -> tuple[Bent, float] | None:
    """Choose the stiffness with the lowest error on held-out blocks; None where no deformation generalises.

    Softer ones are considered only if a stiff one has shown that deforming helps. Coarse levels are tried only if
    the first displacement exceeds the reach of the similarity windows.
    """
    grid = search.every[search.judged]
    left_out, width = blocks(grid.shape)
    judge = Judge(search.scene(grid), left_out, width)
    first, last = SOFTEST[grid.dims]
    stiff, soft = search.softened([grid], (first, last), left_out)
    shown, seen = judge.believes(judge(stiff), WORTH), judge(soft)
    if shown and judge.believes(seen) and judge.spread(soft) <= spread and judge.reach(soft) < NEAR:
        return soft, last
    coarse = search.softened(search.every[: max(search.judged, 1)], STIFFNESSES, left_out)
    models = [search.finer(m, search.judged, s, left_out) for m, s in zip(coarse, STIFFNESSES, strict=True)]
    judged = [(seen, soft, last), *((judge(m), m, s) for m, s in zip(models, STIFFNESSES, strict=True))]
    if not shown and not any(judge.believes(seen, WORTH) for seen, _, s in judged[1:] if s >= first):
        return None
    believed = [(seen, m, s) for seen, m, s in judged if judge.believes(seen) and judge.spread(m) <= spread]
    if not believed:
        return None
    _, model, stiffness = min(believed, key=lambda found: float(found[0][1].mean()))
    return model, stiffness


def blocks(shape: Sequence[int]) -> tuple[Tensor, int]:
    """Draw the held-out blocks, the same each time, as a mask; also give their width."""
    many = [w for w in BLOCKS if HELD_OUT * math.prod(-(-s // w) for s in shape) >= FEWEST]
    width = (many or BLOCKS[-1:])[0]
    drawn = np.random.default_rng(0).random([-(-s // width) for s in shape]) < HELD_OUT
    for axis in range(len(shape)):
        drawn = np.repeat(drawn, width, axis=axis)
    return torch.from_numpy(drawn[tuple(slice(0, s) for s in shape)].copy())[None, None], width


class Judge:
    """Measure the dissimilarity of both images by block, with a measure that was not optimised."""

    def __init__(self, batch: Batch, left_out: Tensor, width: int) -> None:
        self.width = width
        self.measure = registry.find("losses.similarity", JUDGE)()
        self.batch, self.left_out = batch, left_out
        self.fixed = self.measure.describe(batch.target["fixed"])
        self.weight = batch.target["weight"]
        self.before = self.seen(batch.target["moving"])

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Seen:
        """Give the mean error on the training blocks, and the error of each held-out block."""
        return self.seen(warp(self.batch.target["moving"], model(self.batch.inputs)))

    def seen(self, moved: Tensor) -> Seen:
        """Give the errors of a warped image against the fixed one."""
        unlike = (self.measure.describe(moved) - self.fixed).square().mean(1, keepdim=True) * self.weight
        learned = float((unlike * ~self.left_out).sum() / (self.weight * ~self.left_out).sum().clamp_min(1e-6))
        pool = nn.functional.avg_pool2d if unlike.ndim == 4 else nn.functional.avg_pool3d
        each, share = (
            pool(x * self.left_out, self.width, ceil_mode=True, count_include_pad=False).flatten()
            for x in (unlike, self.weight)
        )
        there = share > 0.1
        return learned, (each[there] / share[there]).double().numpy()

    def believes(self, seen: Seen, worth: float = 0.0) -> bool:
        """Tell whether the gain on the training blocks is also seen on the held-out ones.

        It must be significant there and a good part of the gain on the training blocks. On the training blocks it
        must be ``worth`` this share of the error before.
        """
        learned, blocks = seen
        learned_share = 1 - learned / max(self.before[0], 1e-9)
        gain, there_was = self.before[1] - blocks, float(self.before[1].mean())
        if len(gain) < 2 or there_was <= 0:
            return False
        error = float(gain.std(ddof=1)) / len(gain) ** 0.5
        share, is_sure = float(gain.mean()) / there_was, gain.mean() > SURE * error or signed_rank(gain) < LEVEL
        return bool(is_sure and share > BELIEVED * learned_share and learned_share >= worth)

    @torch.no_grad()
    def spread(self, model: nn.Module) -> float:
        """Give the standard deviation of the log Jacobian determinant where both images are known."""
        grown = jacobians(model(self.batch.inputs))[self.weight[:, 0] > 0]
        return float(grown.clamp_min(1e-3).log().std())

    @torch.no_grad()
    def reach(self, model: Bent) -> float:
        """Give the 95th percentile of the velocity, in elements."""
        moved = model.velocity(self.batch.inputs)
        return float(moved.norm(dim=1).quantile(0.95))
