"""Detection: a box around every object, with its class and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import metrics, registry
from ..answers.boxes import clip, concatenated
from ..data import Boxes, Case, Grid, Image, LabelMap
from ..data.types import map_boxes
from ..models.boxes.suppress import weighted_box_fusion
from ..survey.dataset_facts import DatasetFacts
from ._box_calibration import fit_box_calibration, recalibrate_row
from ._plans import DEFAULT_DETECTOR, Budget, Tables, plan_boxes
from ._task import (
    Calibration,
    Output,
    OutputSpec,
    Sample,
    SpatialKind,
    Task,
    full_resolution,
    images_to_tensor,
    metrics_for,
)

NO_OBJECT = -1


@dataclass(frozen=True)
class Detection(Task):
    """Boxes of the classes ``labels``. ``detector`` is the network, which knows how to decode its output.

    A sample holds at most ``max_objects`` objects. An answer keeps boxes that score above ``min_score``, at most
    ``max_boxes`` of them; NMS removes those of one class that overlap by more than ``overlap``. ``platt_a`` and
    ``platt_b``, one a class, are the Platt scaling that is fitted on validation cases after training.
    """

    labels: tuple[str, ...] = ("object",)
    detector: str = "yolo"
    max_objects: int = 32
    min_score: float = 0.02
    max_boxes: int = 200
    overlap: float = 0.5
    platt_a: tuple[float, ...] = ()
    platt_b: tuple[float, ...] = ()

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("pyramid", len(self.labels), "boxes")

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        return {"boxes": "boxes"}

    def for_model(self, model: str) -> Detection:
        return replace(self, detector=model) if model else self

    @property
    def is_mappable(self) -> bool:
        return True

    @property
    def names(self) -> dict[int, str]:
        """The name of each class."""
        return dict(enumerate(self.labels))

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((24,) * self.dims)
        image, ends, kinds = rng.normal(0, 0.1, grid.shape), [], []
        for number in range(2):
            corner = rng.integers(1, 5, self.dims) + 11 * number
            size = rng.integers(6, 9, self.dims)
            kind = int(rng.integers(len(self.labels)))
            image[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] += 1 + kind
            ends.append([*(corner - 0.5), *(corner + size - 0.5)])
            kinds.append(kind)
        images = {n: Image(image.astype(np.float32), grid) for n in self.channels or ("image",)}
        return Case(f"example-{seed}", images, Boxes(np.array(ends), np.array(kinds), None, self.names), f"p-{seed}")

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget
        most = max(16, ceil(1.5 * facts.most_objects / 8) * 8)
        task = self.settings_from(facts, max_objects=int(most))
        return {"task": task, **plan_boxes(facts, model or DEFAULT_DETECTOR, has_gpu=has_gpu)}

    def encode(self, case: Case) -> Sample:
        target = {}
        if isinstance(case.truth, Boxes):
            corners, kinds = clip_to_image(
                map_boxes(case.truth.corners, case.grid.to_index), case.truth.labels, case.grid.shape
            )
            boxes = torch.zeros(self.max_objects, 2 * self.dims)
            classes = torch.full((self.max_objects,), NO_OBJECT)
            count = min(self.max_objects, len(corners))
            boxes[:count] = torch.from_numpy(corners[:count]).float()
            classes[:count] = torch.from_numpy(kinds[:count])
            target = {"boxes": boxes, "classes": classes}
        return Sample({"image": images_to_tensor(case, self.channels)}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        return registry.find("models", self.detector).loss(output, trim_targets(target), classes=len(self.labels))

    def decode(self, output: Tensor, grid: Grid) -> Boxes:
        candidates = full_resolution(output).detach()[None].float()
        read = registry.find("models", self.detector).decode
        found = read(candidates, dims=self.dims, classes=len(self.labels))
        boxes: Boxes = self.answer_kind.decode([one[0].cpu().numpy() for one in found], grid, self.settings())
        return boxes

    def ensemble(self, answers: Sequence[Boxes]) -> Boxes:
        """Merge the boxes of several networks by weighted box fusion."""
        if len(answers) == 1:
            return answers[0]
        every = concatenated(answers)
        assert every.scores is not None
        models = np.repeat(np.arange(len(answers)), [len(a.corners) for a in answers])
        corners, scores, labels = weighted_box_fusion(
            torch.from_numpy(every.corners),
            torch.from_numpy(every.scores),
            torch.from_numpy(every.labels),
            torch.from_numpy(models),
            n_models=len(answers),
        )
        order = scores.argsort(descending=True, stable=True)[: self.max_boxes]
        return Boxes(corners[order].numpy(), labels[order].numpy(), scores[order].numpy(), self.names)

    def exported(self, network: nn.Module) -> nn.Module:
        return DetectorWithBoxes(network, self)

    def judge(
        self, truth: Boxes, answer: Boxes, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        return metrics.judge(["ap"] if quick else metrics_for("boxes"), truth, answer, region=region)

    def failed_row(self, truth: Boxes, *, region: LabelMap | None = None) -> dict[str, Any]:
        return metrics.judge_failed(metrics_for("boxes"), truth, region=region)

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return metrics.pool(metrics_for("boxes"), rows)

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        return metrics.pool_many(metrics_for("boxes"), rows, weights)

    def without_calibration(self) -> Detection:
        return replace(self, platt_a=(), platt_b=())

    def calibrated(self, rows: Sequence[Mapping[str, Any]]) -> Calibration:
        found, report = fit_box_calibration(rows, self.labels, self.dims)
        slopes, shifts = (tuple(values) for values in zip(*found, strict=True))
        by_label = dict(zip(self.labels, found, strict=True))
        task = replace(self, platt_a=slopes, platt_b=shifts)
        return Calibration(task, [recalibrate_row(row, by_label, self.dims) for row in rows], report)

    @property
    def can_distill(self) -> bool:
        return not getattr(registry.find("models", self.detector), "chooses_candidates", False)

    def distillation_loss(self, output: Tensor, taught: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Give the distance of the candidates: the divergence of class probabilities, and the smooth L1 of corners.

        Corners are weighted by the teacher's confidence.
        """
        del temperature
        where = slice(0, 2 * self.dims)
        if output.shape != taught.shape or not torch.equal(output[..., where], taught[..., where]):
            raise ValueError(
                "The teacher's candidates are others than this network's, so it cannot teach it. A detector in two "
                "stages chooses its own; of the others, both need the same levels and anchors."
            )
        read = registry.find("models", self.detector).decode
        (corners, chances), (known, sure) = (
            read(o.float(), dims=self.dims, classes=len(self.labels)) for o in (output, taught)
        )
        wrong = F.binary_cross_entropy(chances, sure, reduction="none")
        least = F.binary_cross_entropy(sure, sure, reduction="none")
        weight = sure.amax(-1).detach()
        size = (known.chunk(2, dim=-1)[1] - known.chunk(2, dim=-1)[0]).clamp_min(1).repeat(1, 1, 2)
        off = F.smooth_l1_loss(corners / size, known / size, reduction="none", beta=0.1).sum(-1)
        count = weight.sum(1).clamp_min(1)
        return ((wrong - least).sum((1, 2)) / count + (off * weight).sum(1) / count).mean()

    @property
    def primary_metric(self) -> str:
        return "map@0.5"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        return ("map@0.5", "map", "sensitivity@1fp")

    def score(self, output: Tensor, about: int) -> Tensor:
        _, chances = registry.find("models", self.detector).decode(
            full_resolution(output), dims=self.dims, classes=len(self.labels)
        )
        return (chances[..., about] * chances[..., about].detach()).sum(1)


def trim_targets(target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Trim the padding after the last object of a batch, which would be compared with every candidate.

    Under vmap the number of objects is unknown, and all padding stays.
    """
    if torch._C._functorch.is_batchedtensor(target["boxes"]):
        return target
    there = ((target["boxes"].chunk(2, dim=-1)[1] > target["boxes"].chunk(2, dim=-1)[0]).any(-1)).any(0).nonzero()
    count = int(there.max()) + 1 if len(there) else 1
    return {"boxes": target["boxes"][:, :count], "classes": target["classes"][:, :count]}


def clip_to_image(
    corners: NDArray[np.float64], labels: NDArray[np.int64], shape: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clip boxes to an image, and drop those of which less than a third lies in it."""
    dims = len(shape)
    left = clip(corners, shape)
    part = (left[:, dims:] - left[:, :dims]).prod(1)
    kept = part > (corners[:, dims:] - corners[:, :dims]).prod(1) / 3
    return left[kept], labels[kept]


class DetectorWithBoxes(nn.Module):
    """A detector that returns the corners of candidate boxes, and the probability of each class."""

    def __init__(self, network: nn.Module, task: Detection) -> None:
        super().__init__()
        self.network = network
        self.decode_boxes = registry.find("models", task.detector).decode
        self.dims, self.classes = task.dims, len(task.labels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode_boxes(self.network(x), dims=self.dims, classes=self.classes)


THIS = Detection
