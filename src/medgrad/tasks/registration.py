"""Registration: the displacement from each point of one image to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import metrics, registry
from ..data import Case, Deformation, Grid, Image, LabelMap, Pair
from ..data.transform import identity_deformation, truth_grid
from ..errors import SettingError
from ..inference.encode import input_names
from ..models.transforms import exponentiate, warp
from ..survey.dataset_facts import DatasetFacts
from ._plan_steps import MIN_BOTTLENECK_SIZE, spatial_steps
from ._plans import Budget, Tables
from ._task import Output, OutputSpec, Sample, SpatialKind, Task, full_resolution, images_to_tensor, metrics_for


@dataclass(frozen=True)
class Registration(Task):
    """The first image of a case stays fixed and the second is moved onto it; both lie on one grid.

    What is learned from is the images themselves: how alike they are once the second is moved, by the measure
    ``similarity``, and how smooth the displacement is, by ``regularity`` times ``smoothness``. A truth is only judged
    by: a deformation, or a pair of label maps or landmarks. Outside a case's region nothing is compared.

    ``diffeomorphic`` takes the network's output for a velocity that stands still, along which is flowed: a way that can
    be undone. ``centre_aligned`` remembers that it has learned from images laid centre on centre.
    """

    similarity: str = "lncc"
    similarity_settings: Mapping[str, Any] = field(default_factory=dict)
    regularity: str = "diffusion"
    smoothness: float = 1.0
    diffeomorphic: bool = False
    centre_aligned: bool = False

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", self.dims, "deformation")

    @property
    def truth(self) -> str:
        return "pair"

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        return {"fixed": "values", "moving": "values", "weight": "values"}

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
        fixed, moving = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
        shift = 1.5 + rng.uniform(-0.5, 0.5, self.dims)
        for _ in range(4):
            centre = rng.uniform(4, 12, self.dims)
            fixed += np.exp(-((index - centre) ** 2).sum(-1) / 8)
            moving += np.exp(-((index - centre - shift) ** 2).sum(-1) / 8)
        names = self.channels or ("fixed", "moving")
        truth = Deformation(np.broadcast_to(shift, index.shape).astype(np.float32), grid)
        images = {names[0]: Image(fixed, grid), names[1]: Image(moving, grid)}
        return Case(f"example-{seed}", images, truth, f"patient-{seed}")

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        """Give the tables of a U-Net that predicts a velocity field from both whole images on one grid."""
        del budget, model
        own = {"smoothness": 0.5, "diffeomorphic": True, "centre_aligned": facts.across}
        return {"task": self.settings_from(facts, **own), **plan_pairs(facts, has_gpu=has_gpu)}

    def encode(self, case: Case) -> Sample:
        if len(input_names(case, self.channels)) != 2:
            raise ValueError(
                f"Case {case.id!r} has the images {list(case.images)}, but registration needs two: the fixed one, "
                "then the moving one. Name them as channels."
            )
        inputs = images_to_tensor(case, self.channels)
        if len(inputs) != 2:
            raise ValueError(f"Case {case.id!r} has images in colour. Make them grey first.")
        target = {"fixed": inputs[:1], "moving": inputs[1:]}
        target["weight"] = (
            torch.ones_like(inputs[:1])
            if case.roi is None
            else torch.from_numpy((case.roi.array != 0).astype(np.float32))[None]
        )
        return Sample({"image": inputs}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        displacement = self.displacement_of(full_resolution(output))
        alike = registry.find("losses.similarity", self.similarity)(**self.similarity_settings)
        moved = warp(target["moving"], displacement)
        terms = {self.similarity: alike(moved, target["fixed"], target.get("weight"))}
        if self.smoothness > 0:
            terms[self.regularity] = self.smoothness * registry.find("losses.regularisers", self.regularity)()(
                displacement
            )
        return terms

    def displacement_of(self, output: Tensor) -> Tensor:
        """Give the displacement (b, dims, *shape) of an output, in elements."""
        return exponentiate(output.float()) if self.diffeomorphic else output

    def decode(self, output: Tensor, grid: Grid) -> Deformation:
        displacement = self.displacement_of(full_resolution(output)[None])[0].detach().float().cpu().numpy()
        found: Deformation = self.answer_kind.decode([displacement], grid, self.settings())
        return found

    def check_export(self) -> None:
        raise SettingError(
            "A run that registers answers about two images and refines its answer by descent, which takes torch: it "
            "is not exported. Use medgrad register FIXED MOVING --run RUN."
        )

    def check_predict(self) -> None:
        raise SettingError(
            "A run that registers answers about two images. Use medgrad.register(FIXED, MOVING, run=RUN), or medgrad "
            "register FIXED MOVING --run RUN."
        )

    def judge(
        self,
        truth: Deformation | Pair,
        answer: Deformation,
        *,
        region: LabelMap | None = None,
        quick: bool = False,
    ) -> dict[str, Any]:
        return metrics.judge(["registration_score"] if quick else metrics_for("field"), truth, answer, region=region)

    def failed_row(self, truth: Deformation | Pair, *, region: LabelMap | None = None) -> dict[str, Any]:
        grid = truth_grid(truth)
        return {
            name: metrics.worst_value(name, grid)
            for name in self.judge(truth, identity_deformation(grid), region=region)
        }

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return metrics.pool(metrics_for("field"), rows)

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        return metrics.pool_many(metrics_for("field"), rows, weights)

    def distillation_loss(self, output: Tensor, taught: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Give the mean squared distance of the displacements, in elements."""
        del temperature
        return (self.displacement_of(output).float() - self.displacement_of(taught).float()).square().mean()

    @property
    def primary_metric(self) -> str:
        return "registration_score"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        return ("tre_mm",)

    def score(self, output: Tensor, about: int) -> Tensor:
        """Give the mean squared displacement along one axis, in elements."""
        return full_resolution(output)[:, about].square().flatten(1).mean(1)


def plan_pairs(facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan a U-Net on both images of a pair, whole and on one grid."""
    shape = np.max(np.array(facts.shapes), axis=0).astype(float)
    max_elements = (1e6 if has_gpu else 2.5e5) if facts.dims == 3 else (2.6e5 if has_gpu else 6.6e4)
    shape *= min(1.0, float(max_elements / np.prod(shape)) ** (1 / facts.dims))
    levels = int(np.clip(np.floor(np.log2(float(shape.min()) / MIN_BOTTLENECK_SIZE)), 1, 4))
    whole = tuple(int(ceil(s / 2**levels) * 2**levels) for s in shape)
    widths = {2: (16, 32, 64, 96, 128), 3: (8, 16, 32, 48, 64)}[facts.dims]
    return {
        "model": {"name": "unet", "channels": widths[: levels + 1]},
        "prepare": (
            *spatial_steps(facts, ()),
            {"name": "resize_pad", "shape": whole},
            {"name": "normalise", "method": "zscore"},
        ),
        "augment": ({"name": "flip", "axes": tuple(range(facts.dims))},),
        "optimiser": {"name": "muon", "rate": 5e-3, "decay": 1e-2},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "sampler": {"name": "shuffled"},
        "gradients": ({"name": "clipped", "norm": 5.0},),
        "training": {
            "batch": 2 if facts.dims == 3 else 8,
            "patch": whole,
            "foreground_share": 0.0,
            "ema": 0.99,
            "precision": "float32",
        },
    }


THIS = Registration
