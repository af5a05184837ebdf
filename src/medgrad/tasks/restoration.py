"""Restoration: the image as it would be without noise, artefacts or lost resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import metrics, registry
from ..data import Case, Grid, Image, LabelMap
from ..survey.dataset_facts import DatasetFacts
from ._image_plans import plan_restoration
from ._plans import Budget, Tables
from ._task import Output, OutputSpec, Sample, SpatialKind, Task, full_resolution, images_to_tensor, metrics_for


@dataclass(frozen=True)
class Restoration(Task):
    """Learned from pairs of a degraded and a clean image, or from clean images alone.

    Of images alone each is its own truth, and what is shown to the network is degraded by the augmentations of the
    recipe that degrade: noise, motion, lost slices. Without any it is an autoencoder. ``planes`` is the number of
    channels that are restored: those of the first image. Outside a case's region nothing is learned.
    """

    planes: int = 1
    loss_name: Literal["mse", "l1"] = "mse"

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", self.planes, "image")

    @property
    def truth(self) -> str:
        return "self"

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        return {"image": "values", "inside": "values"}

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        clean = np.zeros(grid.shape, np.float32)
        for level in (1.0, 0.5):
            corner = rng.integers(1, 8, self.dims)
            clean[tuple(slice(c, c + 7) for c in corner)] += level
        noisy = clean + rng.normal(0, 0.3, grid.shape).astype(np.float32)
        planes = [np.stack([a] * self.planes, -1) if self.planes > 1 else a for a in (noisy, clean)]
        images = {name: Image(planes[0], grid) for name in self.channels or ("image",)}
        return Case(f"example-{seed}", images, Image(planes[1], grid), f"patient-{seed}")

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget, model
        planes = facts.planes if len(facts.channels) == 1 else 1
        return {"task": self.settings_from(facts, planes=planes), **plan_restoration(facts, has_gpu=has_gpu)}

    def encode(self, case: Case) -> Sample:
        target = {}
        if isinstance(case.truth, Image):
            target["image"] = torch.from_numpy(case.truth.channels_first.astype(np.float32))
            inside = np.ones(case.grid.shape, bool) if case.roi is None else case.roi.array != 0
            target["inside"] = torch.from_numpy(inside.astype(np.float32))[None]
        return Sample({"image": images_to_tensor(case, self.channels)}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        said, is_inside = full_resolution(output).float(), target["inside"] > 0.5
        wanted = torch.where(is_inside, target["image"], said.detach())
        return {self.loss_name: registry.find("losses", self.loss_name)()(said, wanted)}

    def judge(
        self, truth: Image, answer: Image, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        return metrics.judge(["psnr"] if quick else metrics_for("image"), truth, answer, region=region)

    def judge_shown(self, case: Case) -> dict[str, Any]:
        shown, truth = next(iter(case.images.values())), case.truth
        if not isinstance(truth, Image) or shown.channels != truth.channels or not shown.grid.is_close(truth.grid):
            return {}
        found = metrics.judge(["psnr", "ssim"], truth, shown, region=case.roi)
        return {f"{name}_before": value for name, value in found.items()}

    def failed_row(self, truth: Image, *, region: LabelMap | None = None) -> dict[str, Any]:
        return metrics.judge_failed(metrics_for("image"), truth, region=region)

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return metrics.pool(metrics_of_rows(rows), rows)

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        return metrics.pool_many(metrics_of_rows(rows), rows, weights)

    @property
    def primary_metric(self) -> str:
        return "psnr"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        return ("psnr", "ssim", "mae")

    @property
    def label_noun(self) -> str:
        return "channel"

    def score(self, output: Tensor, index: int) -> Tensor:
        return full_resolution(output)[:, index].flatten(1).mean(1)


def metrics_of_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the metrics of images whose figures the rows hold."""
    held = {name for row in rows for name in row}
    return [m for m in metrics_for("image") if held & set(registry.find("metrics", m).figures)]


THIS = Restoration
