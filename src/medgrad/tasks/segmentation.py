"""Segmentation: a label for every element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import metrics, registry
from ..data import Case, Grid, Image, LabelMap
from ..survey.dataset_facts import DatasetFacts
from ._plans import Budget, Tables, plan_patches
from ._task import (
    Output,
    OutputSpec,
    Sample,
    SpatialKind,
    Task,
    full_resolution,
    images_to_tensor,
    metrics_for,
    softened_divergence,
)

IGNORED_LABEL = -1


@dataclass(frozen=True)
class Segmentation(Task):
    """Label 0 is the background; the others are named by ``labels``.

    Outside a case's region nothing is learned. An output of several sizes (deep supervision) is judged at each,
    half the weight at half the size.
    """

    labels: tuple[str, ...] = ("lesion",)
    loss_name: str = "dice_ce"
    loss_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", 1 + len(self.labels), "label_map")

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        return {"labels": "labels"}

    @property
    def is_mappable(self) -> bool:
        return not self.loss_settings.get("batch", False)

    @property
    def names(self) -> dict[int, str]:
        """The name of each label."""
        return dict(enumerate(self.labels, 1))

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        truth = np.zeros(grid.shape, np.uint8)
        for value in range(1, 1 + len(self.labels)):
            corner = rng.integers(1, 10, self.dims)
            truth[tuple(slice(c, c + 5) for c in corner)] = value
        image = truth + rng.normal(0, 0.1, grid.shape)
        names = self.channels or ("image",)
        images = {n: Image(image.astype(np.float32), grid) for n in names}
        return Case(f"example-{seed}", images, LabelMap(truth, grid, self.names), f"patient-{seed}")

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget, model
        return {"task": self.settings_from(facts), **plan_patches(facts, has_gpu=has_gpu)}

    def encode(self, case: Case) -> Sample:
        target = {}
        if isinstance(case.truth, LabelMap):
            labels = torch.from_numpy(case.truth.array.astype(np.int64))
            if case.roi is not None:
                labels[torch.from_numpy(case.roi.array == 0)] = IGNORED_LABEL
            target["labels"] = labels
        return Sample({"image": images_to_tensor(case, self.channels)}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        cost = registry.find("losses", self.loss_name)(**self.loss_settings)
        labels = target["labels"]
        if isinstance(output, Tensor):
            return {self.loss_name: cost(output, labels)}
        weights = [0.5**i for i in range(len(output))]
        total = sum(
            w / sum(weights) * cost(o, downsample_labels(labels, o.shape[2:]))
            for w, o in zip(weights, output, strict=True)
        )
        return {self.loss_name: torch.as_tensor(total)}

    def judge(
        self, truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        return metrics.judge(["dice"] if quick else metrics_for("labels"), truth, answer, region=region)

    def failed_row(self, truth: LabelMap, *, region: LabelMap | None = None) -> dict[str, Any]:
        return metrics.judge_failed(metrics_for("labels"), truth, region=region)

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return metrics.pool(metrics_in_rows(rows), rows)

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        return metrics.pool_many(metrics_in_rows(rows), rows, weights)

    def distillation_loss(self, output: Tensor, taught: Tensor, *, temperature: float = 1.0) -> Tensor:
        return softened_divergence(output, taught, temperature=temperature)

    @property
    def primary_metric(self) -> str:
        return "dice/mean"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        return ("dice/mean", "hd95/mean", "nsd/mean")

    def score(self, output: Tensor, about: int) -> Tensor:
        said = full_resolution(output)
        return (said[:, about] * said.softmax(dim=1)[:, about].detach()).flatten(1).sum(1)


def downsample_labels(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Downsample labels (b, *shape) by the nearest neighbour."""
    if tuple(labels.shape[1:]) == tuple(shape):
        return labels
    return F.interpolate(labels.unsqueeze(1).float(), size=tuple(shape), mode="nearest-exact").squeeze(1).long()


def metrics_in_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the metrics whose figures the rows hold."""
    first = {name.split("/")[0] for row in rows for name in row}
    return [m for m in metrics_for("labels") if first & set(registry.find("metrics", m).figures)]


THIS = Segmentation
