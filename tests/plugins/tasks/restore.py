"""Restoration: an image of each image, such as a scan of full dose of one of low dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Case, Grid, Image, LabelMap
from ._task import Output, OutputSpec, Sample, SpatialKind, Task, full_resolution, images_to_tensor


@dataclass(frozen=True)
class Restore(Task):
    """Learned by the mean absolute error, and judged in the unit of the images."""

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", 1, "image")

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        return {"wanted": "values"}

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        clean = np.zeros(grid.shape, np.float32)
        corner = rng.integers(1, 8, self.dims)
        clean[tuple(slice(c, c + 6) for c in corner)] = 1
        noisy = clean + rng.normal(0, 0.3, grid.shape).astype(np.float32)
        images = {name: Image(noisy, grid) for name in self.channels or ("image",)}
        return Case(f"example-{seed}", images, Image(clean, grid), f"patient-{seed}")

    def encode(self, case: Case) -> Sample:
        target = {}
        if isinstance(case.truth, Image):
            target["wanted"] = torch.from_numpy(case.truth.array.astype(np.float32))[None]
        return Sample({"image": images_to_tensor(case, self.channels)}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"absolute_error": (full_resolution(output).float() - target["wanted"]).abs().mean()}

    def judge(
        self, truth: Image, answer: Image, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        del quick  # both figures are quick
        inside = np.ones(truth.grid.shape, bool) if region is None else region.array > 0
        wanted, said = truth.array[inside].astype(float), answer.array[inside].astype(float)
        explained = 1 - ((said - wanted) ** 2).mean() / max(wanted.var(), 1e-12)
        return {
            "explained": max(0.0, float(explained)),
            "close": float((np.abs(said - wanted) <= 0.1 * np.ptp(wanted)).mean()),
        }

    def failed_row(self, truth: Image, *, region: LabelMap | None = None) -> dict[str, Any]:
        nothing = Image(np.full(truth.grid.shape, truth.array.mean(), np.float32), truth.grid)
        return self.judge(truth, nothing, region=region) | {"explained": 0.0, "close": 0.0}

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return {name: float(np.mean([row[name] for row in rows])) for name in ("explained", "close")}

    @property
    def primary_metric(self) -> str:
        return "explained"

    def score(self, output: Tensor, index: int) -> Tensor:
        return full_resolution(output)[:, index].flatten(1).mean(1)


THIS = Restore
