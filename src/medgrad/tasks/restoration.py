"""Restoration: the image as it would be without noise, artefacts or lost resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import metrics
from ..data import Case, Grid, Image
from ..survey.dataset_facts import DatasetFacts
from ._image_plans import plan_restoration
from ._image_task import ImageTask
from ._plans import Budget, Tables
from ._task import OutputSpec


@dataclass(frozen=True)
class Restoration(ImageTask):
    """Learned from pairs of a degraded and a clean image, or from clean images alone.

    Of images alone each is its own truth, and what is shown to the network is degraded by the augmentations of the
    recipe that degrade: noise, motion, lost slices. Without any it is an autoencoder. ``planes`` is the number of
    channels that are restored: those of the first image.
    """

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", self.planes, "image")

    @property
    def truth(self) -> str:
        return "self"

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
        planes = (min(facts.planes, 3) if facts.mixed else facts.planes) if len(facts.channels) == 1 else 1
        return {"task": self.settings_from(facts, planes=planes), **plan_restoration(facts, has_gpu=has_gpu)}

    def target_values(self, truth: Image) -> Tensor:
        return torch.from_numpy(truth.channels_first.astype(np.float32))

    def judge_shown(self, case: Case) -> dict[str, Any]:
        shown, truth = next(iter(case.images.values())), case.truth
        if not isinstance(truth, Image) or shown.channels != truth.channels or not shown.grid.is_close(truth.grid):
            return {}
        found = metrics.judge(["psnr", "ssim"], truth, shown, region=case.roi)
        return {f"{name}_before": value for name, value in found.items()}


THIS = Restoration
