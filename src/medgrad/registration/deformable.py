"""Deformable registration: coarse to fine, with a stiffness chosen on held-out blocks of the pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import registry
from ..data import Grid
from ..data.grid import matrix_to_tuples
from ..data.transform import Transform
from ..models.transforms import jacobian_determinants, warp
from ..models.transforms.affine import Affine
from ..models.transforms.velocity import VelocityField
from ..prepare.resample import rescale_grid
from ..tasks import Batch, run_network
from ..tasks.registration import Registration
from ..trust.signed_rank import signed_rank_p_value
from .image_pyramid import GreyImage, coarser_grid, make_pair_batch, sample_at, sampling_coordinates
from .linear import to_world
from .optimise import run_lbfgs

Matrix = NDArray[np.float64]
BlockErrors = tuple[float, NDArray[np.float64]]
"""How unlike two images are: the mean where was learned, and that of each block where was not."""
JUDGE_SIMILARITY = "mind"
"""What was learned by one measure on some elements is judged by this one on the others."""
STIFFNESSES = (10.0, 3.0, 1.0, 0.3, 0.1)
FIRST_STIFFNESSES = {2: (1.0, 0.3), 3: (1.0, 0.1)}
"""A stiff bend and the soft one that is tried first."""
LNCC_WIDTH = {2: 9, 3: 7}
"""Of the windows of local correlation, in elements."""
MAX_REACH = 2.2
"""A bend of fewer elements than this, but for the longest twentieth, lies within reach of such windows."""
MIN_GENERALISATION = 1 / 3
"""Of what bending gains where it has learned, it must gain this share where it has not."""
MIN_GAIN = 0.16
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
FINEST_ELEMENTS = {2: 90_000, 3: 200_000}
SQUARINGS = 6
"""When all is learned: more than while learning, so that the flow back is the inverse."""
STRIDE_ABOVE = 30_000
"""Elements above which local correlation looks at every second window."""
COARSEST_ELEMENTS = {2: 250, 3: 500}
JUDGED_ELEMENTS = {2: 4_000, 3: 4_000}


@dataclass(frozen=True)
class LevelBudget:
    """When a level has converged: the least share by which a step lowers the loss, and the most steps.

    Steps on the way, which are gone on from, are fewer.
    """

    min_decrease: float = 0.03
    max_steps: int = 4
    brief_steps: int = 2


@dataclass(frozen=True)
class VelocityTransform:
    """A velocity field followed by a matrix in world mm, with the stiffness of the field."""

    matrix: Matrix
    velocity: VelocityField
    grid: Grid
    stiffness: float

    def forward_transform(self, grid: Grid) -> Transform:
        """Give the transform from the fixed image to the moving one, on the fixed grid."""
        return Transform(matrix_to_tuples(self.matrix), grid, self.displacement_on(grid, np.eye(grid.dims + 1)))

    def inverse_transform(self, grid: Grid) -> Transform:
        """Give the transform from the moving image to the fixed one, on the moving grid."""
        back, n = np.linalg.inv(self.matrix).astype(float), grid.dims
        bend = self.displacement_on(grid, back, back=True) @ self.matrix[:n, :n].T
        return Transform(matrix_to_tuples(back), grid, bend.astype(np.float32))

    @torch.no_grad()
    def displacement_on(self, grid: Grid, matrix: Matrix, *, back: bool = False) -> NDArray[np.float32]:
        """Give the displacement in world mm on a grid, at the points to which a matrix takes its elements."""
        knots = tuple(max(k, -(-s // 2)) for k, s in zip(self.velocity.knots, self.grid.shape, strict=True))
        there = self.velocity.flow(inverse=back, knots=knots, squarings=SQUARINGS)[0]
        seen = sample_at(there, sampling_coordinates(rescale_grid(self.grid, knots), grid, [matrix]))[0]
        return (np.moveaxis(seen.numpy(), 0, -1) @ self.grid.directions.T).astype(np.float32)


class VelocityModel(nn.Module):
    """A velocity field followed by an affine map, which is trained or kept fixed."""

    def __init__(self, grid: Grid, *, knot_spacing: float, stiffness: float, learns_affine: bool) -> None:
        super().__init__()
        self.velocity = VelocityField(grid.shape, spacing=grid.spacing, knot_spacing=knot_spacing, stiffness=stiffness)
        self.linear = Affine(grid.shape, spacing=grid.spacing).requires_grad_(learns_affine)

    def start_from(self, other: VelocityModel) -> None:
        """Start from the weights of another model, on another grid over the same region."""
        self.velocity.start_from(other.velocity.coefficients())
        self.linear.start_from(other.linear)

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the displacement (b, dims, *shape), in elements."""
        knots = self.velocity.knot_mm
        return self.velocity.displacement_at(self.linear.compose_after(self.velocity.flow() / knots) * knots, inputs)


def pyramid_grids(grid: Grid) -> list[Grid]:
    """List the grids of the pyramid, each twice as fine as the one before along each axis."""
    dims = grid.dims
    sizes = [min(float(np.prod(grid.shape)), FINEST_ELEMENTS[dims])]
    while sizes[-1] / 2**dims >= COARSEST_ELEMENTS[dims]:
        sizes.append(sizes[-1] / 2**dims)
    return [coarser_grid(grid, int(s)) for s in reversed(sizes)]


class LevelSearch:
    """Optimise the deformation level by level.

    On the coarse levels it goes from stiff to soft, so that large motion comes first.
    """

    def __init__(
        self,
        fixed: GreyImage,
        moving: GreyImage,
        matrix: Matrix,
        similarity: str,
        budget: LevelBudget,
        *,
        learns_affine: bool,
    ) -> None:
        self.pair, self.matrix, self.similarity, self.budget = (fixed, moving), matrix, similarity, budget
        self.learns_affine = learns_affine
        self.batches: dict[Grid, Batch] = {}
        self.grids = pyramid_grids(fixed.grid)
        big = [i for i, g in enumerate(self.grids) if np.prod(g.shape) >= JUDGED_ELEMENTS[g.dims]]
        self.judged_level = big[0] if big else len(self.grids) - 1

    def batch_on(self, grid: Grid, held_out: Tensor | None = None) -> Batch:
        """Give the image pair on a grid, without the held-out blocks."""
        if grid not in self.batches:
            self.batches[grid] = make_pair_batch(*self.pair, grid, [self.matrix])
        batch = self.batches[grid]
        if held_out is None:
            return batch
        there = nn.functional.interpolate(held_out.float(), size=grid.shape, mode="nearest")
        return replace(batch, target={**batch.target, "weight": batch.target["weight"] * (1 - there)})

    def make_model(self, grid: Grid, stiffness: float) -> VelocityModel:
        """Make the velocity model of a level."""
        last = grid is self.grids[-1] and len(self.grids) > 1
        return VelocityModel(
            grid, knot_spacing=3.0 if last else 1.5, stiffness=stiffness, learns_affine=self.learns_affine
        )

    def optimise_level(self, model: VelocityModel, batch: Batch, *, brief: bool = False) -> None:
        """Optimise a model on one level until it has converged."""
        shape = batch.target["fixed"].shape[2:]
        stride = 2 if math.prod(shape) > STRIDE_ABOVE else 1
        settings = {"width": LNCC_WIDTH[len(shape)], "stride": stride} if self.similarity == "lncc" else {}
        task = Registration(dims=len(shape), similarity=self.similarity, similarity_settings=settings, smoothness=0.0)
        share, most = (
            (3 * self.budget.min_decrease, self.budget.brief_steps)
            if brief
            else (self.budget.min_decrease, self.budget.max_steps)
        )
        run_lbfgs(model, task, batch, min_decrease=share, max_steps=most, penalty=model.velocity.roughness)

    def relax_stiffness(
        self, grids: Sequence[Grid], stiffnesses: Sequence[float], held_out: Tensor | None
    ) -> list[VelocityModel]:
        """Optimise from stiff to soft on some grids, and give the model of each stiffness."""
        steps = [(self.make_model(g, stiffnesses[0]), self.batch_on(g, held_out)) for g in grids]
        found = []
        for stiffness in stiffnesses:
            before: VelocityModel | None = None
            for model, batch in steps:
                model.velocity.set_stiffness(stiffness)
                if before is not None:
                    model.start_from(before)
                self.optimise_level(model, batch, brief=True)
                before = model
            kept = self.make_model(grids[-1], stiffness)
            kept.start_from(steps[-1][0])
            found.append(kept)
        return found

    def refine(
        self, coarser_model: VelocityModel, level: int, stiffness: float, held_out: Tensor | None = None
    ) -> VelocityModel:
        """Refine a coarser model on a level."""
        model = self.make_model(self.grids[level], stiffness)
        model.start_from(coarser_model)
        self.optimise_level(model, self.batch_on(self.grids[level], held_out), brief=held_out is not None)
        return model


def deformable_stage(
    fixed: GreyImage,
    moving: GreyImage,
    matrix: Matrix,
    similarity: str,
    *,
    stiffness: float | None,
    max_log_jacobian_std: float,
    budget: LevelBudget,
) -> VelocityTransform | None:
    """Learn the bend from coarse to fine; None where none is shown to help.

    Without a ``stiffness``, one is chosen on the first grid that is not too coarse to tell, with a log Jacobian that
    has at most so much ``max_log_jacobian_std``. With one, the linear part stays as it is.
    """
    search = LevelSearch(fixed, moving, matrix, similarity, budget, learns_affine=stiffness is None)
    if stiffness is None:
        found = choose_stiffness(search, max_log_jacobian_std)
        if found is None:
            return None
        model, stiffness = found
        first = min(search.judged_level + 1, len(search.grids) - 1)
    else:
        stiffer = [*[s for s in STIFFNESSES if s > stiffness], stiffness]
        model = search.relax_stiffness(search.grids[: max(search.judged_level, 1)], stiffer, None)[-1]
        first = search.judged_level
    for level in range(first, len(search.grids)):
        model = search.refine(model, level, stiffness)
    grid = search.grids[-1]
    return VelocityTransform(to_world(model.linear, grid, [matrix])[0], model.velocity, grid, stiffness)


def choose_stiffness(search: LevelSearch, max_log_jacobian_std: float) -> tuple[VelocityModel, float] | None:
    """Choose the stiffness with the lowest error on held-out blocks; None where no deformation generalises.

    Softer ones are considered only if a stiff one has shown that deforming helps. Coarse levels are tried only if
    the first displacement exceeds the reach of the similarity windows.
    """
    grid = search.grids[search.judged_level]
    held_out, width = draw_held_out_blocks(grid.shape)
    judge = HeldOutJudge(search.batch_on(grid), held_out, width)
    first, last = FIRST_STIFFNESSES[grid.dims]
    stiff, soft = search.relax_stiffness([grid], (first, last), held_out)
    shown, seen = judge.generalises(judge(stiff), MIN_GAIN), judge(soft)
    if (
        shown
        and judge.generalises(seen)
        and judge.log_jacobian_std(soft) <= max_log_jacobian_std
        and judge.velocity_percentile(soft) < MAX_REACH
    ):
        return soft, last
    coarse = search.relax_stiffness(search.grids[: max(search.judged_level, 1)], STIFFNESSES, held_out)
    models = [search.refine(m, search.judged_level, s, held_out) for m, s in zip(coarse, STIFFNESSES, strict=True)]
    judged = [(seen, soft, last), *((judge(m), m, s) for m, s in zip(models, STIFFNESSES, strict=True))]
    if not shown and not any(judge.generalises(seen, MIN_GAIN) for seen, _, s in judged[1:] if s >= first):
        return None
    believed = [
        (seen, m, s)
        for seen, m, s in judged
        if judge.generalises(seen) and judge.log_jacobian_std(m) <= max_log_jacobian_std
    ]
    if not believed:
        return None
    _, model, stiffness = min(believed, key=lambda found: float(found[0][1].mean()))
    return model, stiffness


def draw_held_out_blocks(shape: Sequence[int]) -> tuple[Tensor, int]:
    """Draw the held-out blocks, the same each time, as a mask; also give their width."""
    many = [w for w in BLOCKS if HELD_OUT * math.prod(-(-s // w) for s in shape) >= FEWEST]
    width = (many or BLOCKS[-1:])[0]
    drawn = np.random.default_rng(0).random([-(-s // width) for s in shape]) < HELD_OUT
    for axis in range(len(shape)):
        drawn = np.repeat(drawn, width, axis=axis)
    return torch.from_numpy(drawn[tuple(slice(0, s) for s in shape)].copy())[None, None], width


class HeldOutJudge:
    """Measure the dissimilarity of both images by block, with a measure that was not optimised."""

    def __init__(self, batch: Batch, held_out: Tensor, width: int) -> None:
        self.width = width
        self.measure = registry.find("losses.similarity", JUDGE_SIMILARITY)()
        self.batch, self.held_out = batch, held_out
        self.fixed = self.measure.compute_descriptor(batch.target["fixed"])
        self.weight = batch.target["weight"]
        self.before = self.measure_blocks(batch.target["moving"])

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> BlockErrors:
        """Give the mean error on the training blocks, and the error of each held-out block."""
        return self.measure_blocks(warp(self.batch.target["moving"], run_network(model, self.batch.inputs)))

    def measure_blocks(self, warped: Tensor) -> BlockErrors:
        """Give the errors of a warped image against the fixed one."""
        unlike = (self.measure.compute_descriptor(warped) - self.fixed).square().mean(1, keepdim=True) * self.weight
        learned = float((unlike * ~self.held_out).sum() / (self.weight * ~self.held_out).sum().clamp_min(1e-6))
        pool = nn.functional.avg_pool2d if unlike.ndim == 4 else nn.functional.avg_pool3d
        each, share = (
            pool(x * self.held_out, self.width, ceil_mode=True, count_include_pad=False).flatten()
            for x in (unlike, self.weight)
        )
        there = share > 0.1
        return learned, (each[there] / share[there]).double().numpy()

    def generalises(self, errors: BlockErrors, min_gain: float = 0.0) -> bool:
        """Tell whether the gain on the training blocks is also seen on the held-out ones.

        It must be significant there and a good part of the gain on the training blocks. On the training blocks it
        must be ``min_gain`` this share of the error before.
        """
        learned, blocks = errors
        learned_share = 1 - learned / max(self.before[0], 1e-9)
        gain, there_was = self.before[1] - blocks, float(self.before[1].mean())
        if len(gain) < 2 or there_was <= 0:
            return False
        error = float(gain.std(ddof=1)) / len(gain) ** 0.5
        share, is_sure = float(gain.mean()) / there_was, gain.mean() > SURE * error or signed_rank_p_value(gain) < LEVEL
        return bool(is_sure and share > MIN_GENERALISATION * learned_share and learned_share >= min_gain)

    @torch.no_grad()
    def log_jacobian_std(self, model: nn.Module) -> float:
        """Give the standard deviation of the log Jacobian determinant where both images are known."""
        grown = jacobian_determinants(run_network(model, self.batch.inputs))[self.weight[:, 0] > 0]
        return float(grown.clamp_min(1e-3).log().std())

    @torch.no_grad()
    def velocity_percentile(self, model: VelocityModel) -> float:
        """Give the 95th percentile of the velocity, in elements."""
        moved = model.velocity(self.batch.inputs["image"])
        return float(moved.norm(dim=1).quantile(0.95))
