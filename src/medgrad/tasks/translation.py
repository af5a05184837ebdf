"""Translation: an image of one modality from images of others, such as one that is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..data import Case, Grid, Image, SyntheticImage
from ..survey.dataset_facts import DatasetFacts
from ._image_plans import plan_translation
from ._image_task import ImageTask
from ._plans import Budget, Tables
from ._task import OutputSpec


@dataclass(frozen=True)
class Translation(ImageTask):
    """Learned from images of each patient on one grid, of which one is the truth; answered in its unit.

    What is learned are its values less ``mean`` over ``deviation``, those of the training set. By regression (the
    mean absolute error) an answer is as smooth as the network is unsure; with the gradients ``adversarial`` it is as
    sharp as the truth, and what it adds may be invented.
    """

    loss_name: Literal["mse", "l1"] = "l1"
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", self.planes, "synthetic_image")

    @property
    def truth(self) -> str:
        return "synthetic_image"

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        tissue = np.zeros(grid.shape, np.int64)
        for kind in (1, 2):
            corner = rng.integers(1, 8, self.dims)
            tissue[tuple(slice(c, c + 7) for c in corner)] = kind
        shown = np.array([0.0, 1.0, 0.5])[tissue] + rng.normal(0, 0.05, grid.shape)
        truth = (np.array([0.0, 0.2, 1.0])[tissue] * self.deviation + self.mean).astype(np.float32)
        planes = np.stack([truth] * self.planes, -1) if self.planes > 1 else truth
        images = {name: Image(shown.astype(np.float32), grid) for name in self.channels or ("image",)}
        return Case(f"example-{seed}", images, SyntheticImage(planes, grid), f"patient-{seed}")

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget, model
        _, _, mean, deviation = (round(v, 4) for v in facts.truth_intensity)
        task = self.settings_from(facts, mean=mean, deviation=deviation or 1.0)
        return {"task": task, **plan_translation(facts, has_gpu=has_gpu)}

    def target_values(self, truth: Image) -> Tensor:
        values = (truth.channels_first.astype(np.float32) - np.float32(self.mean)) / np.float32(self.deviation)
        return torch.from_numpy(values)


THIS = Translation
