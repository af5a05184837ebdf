"""Generation: images that look like those of a set, made from noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import metrics
from ..data import Case, Grid, Image, LabelMap, SyntheticImage
from ..errors import SettingError, suggest_name
from ..survey.dataset_facts import DatasetFacts
from ._image_plans import plan_generation
from ._image_task import ImageTask
from ._plans import Budget, Tables
from ._task import OutputSpec, Sample, metrics_for


@dataclass(frozen=True)
class Generation(ImageTask):
    """Learned from images alone: the network is shown noise, and answers with an image like theirs.

    With the model ``rectified_flow`` and the gradients ``diffused`` it follows a rectified flow; with
    ``adversarial_pair`` and ``adversarial`` a critic judges it. By plain gradients it learns the mean image. What is
    learned are values less ``mean`` over ``deviation``, those of the training set. ``shape`` and ``spacing`` are those
    of the images made. With ``labels`` the network is told the class of each image, the array ``label`` of its case;
    ``shares`` are the classes' shares of the training set.
    """

    mean: float = 0.0
    deviation: float = 1.0
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", self.planes, "synthetic_image")

    @property
    def truth(self) -> str:
        return "synthetic_self"

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        shown = np.zeros((*grid.shape, self.planes), np.float32)
        corner = rng.integers(3, 6, self.dims)
        shown[tuple(slice(c, c + 8) for c in corner)] = 3
        noise = rng.normal(self.mean, self.deviation, shown.shape).astype(np.float32)
        planes = [a if self.planes > 1 else a[..., 0] for a in (noise, shown * self.deviation + self.mean)]
        images = {name: Image(planes[0], grid) for name in self.channels or ("image",)}
        truth = SyntheticImage(planes[1], grid)
        return Case(f"example-{seed}", images, truth, f"patient-{seed}", arrays=self.label_array(seed))

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget, model
        tables = plan_generation(facts, has_gpu=has_gpu)
        _, _, mean, deviation = (round(v, 4) for v in facts.intensity)
        about = {"mean": mean, "deviation": deviation or 1.0, "shape": tables["training"]["patch"]}
        about["spacing"] = tuple(round(v, 4) for v in facts.median_spacing())
        if facts.labels and sum(facts.counts):
            about["shares"] = tuple(round(count / sum(facts.counts), 6) for count in facts.counts)
        return {"task": self.settings_from(facts, **about, planes=facts.planes), **tables}

    def label_array(self, number: int) -> dict[str, Any]:
        """Give the array ``label`` of a class by its number, which counts on from the first; none without labels."""
        if not self.labels:
            return {}
        return {"label": np.eye(len(self.labels), dtype=np.float32)[number % len(self.labels)]}

    def encode(self, case: Case) -> Sample:
        sample = super().encode(case)
        if not self.labels:
            return sample
        label = np.asarray(case.arrays.get("label", np.zeros(len(self.labels))), np.float32)
        return replace(sample, inputs={**sample.inputs, "label": torch.from_numpy(label)})

    def check_export(self) -> None:
        if self.labels:
            raise SettingError(
                "A run that makes images by their label is not exported: an artefact is shown images alone. "
                "Make images by the run itself, or learn without labels: --recipe with labels = [] under [task]."
            )
        super().check_export()

    def target_values(self, truth: Image) -> Tensor:
        values = (truth.channels_first.astype(np.float32) - np.float32(self.mean)) / np.float32(self.deviation)
        return torch.from_numpy(values)

    def judge(
        self, truth: Image, answer: Image, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        del quick  # the features are quick
        return metrics.judge(metrics_for("image_set"), truth, answer, region=region)

    def failed_row(self, truth: Image, *, region: LabelMap | None = None) -> dict[str, Any]:
        return metrics.judge_failed(metrics_for("image_set"), truth, region=region)

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return metrics.pool(metrics_for("image_set"), rows)

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        return metrics.pool_many(metrics_for("image_set"), rows, weights)

    @property
    def primary_metric(self) -> str:
        return "likeness"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        return ("kid", "likeness")

    @property
    def label_noun(self) -> str:
        return "class"

    def noise_case(self, name: str, seed: Sequence[int], label: str = "") -> Case:
        """Make the case of one image to be made: noise by a seed, on the grid that images are made on.

        Its label is the one named, else drawn by the seed as often as the training set has it.
        """
        if label and label not in self.labels:
            known = f"It has {', '.join(self.labels)}." if self.labels else "It learned from images without classes."
            raise SettingError(f"This run makes no images of {label!r}.{suggest_name(label, self.labels)} {known}")
        grid = Grid.from_shape(self.shape, spacing=self.spacing)
        shape = self.shape if self.planes == 1 else (*self.shape, self.planes)
        noise = np.random.default_rng(seed).normal(self.mean, self.deviation, shape).astype(np.float32)
        number = self.labels.index(label) if label else self.drawn_label(seed)
        images = {channel: Image(noise, grid) for channel in self.channels or ("image",)}
        return Case(
            name,
            images,
            metadata={"label": self.labels[number]} if self.labels else {},
            arrays=self.label_array(number),
        )

    def drawn_label(self, seed: Sequence[int]) -> int:
        """Draw the number of a class by a seed, as often as the training set has it."""
        if not self.labels:
            return 0
        shares = np.array(self.shares or [1.0] * len(self.labels))
        return int(np.random.default_rng((*seed, 1)).choice(len(self.labels), p=shares / shares.sum()))


THIS = Generation
