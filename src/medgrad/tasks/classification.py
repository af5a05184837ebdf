"""Classification: what an image shows, as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import metrics, registry
from ..answers.scores import class_probabilities
from ..data import Case, Grid, Image, LabelMap, Scores
from ..errors import LayoutError
from ..metrics.thresholded import confusion_matrix
from ..survey.dataset_facts import DatasetFacts
from ..trust.reliability import curve_to_dicts, reliability_curve
from ..trust.temperature import apply_temperature, fit_temperature, to_logits
from ._plans import CONVEX_MODELS, Budget, Tables, plan_vectors, plan_whole_images
from ._task import (
    Calibration,
    Output,
    OutputSpec,
    Sample,
    Task,
    full_resolution,
    images_to_tensor,
    input_names,
    metrics_for,
    softened_divergence,
)


@dataclass(frozen=True)
class Classification(Task):
    """One probability a class. ``exclusive``: just one class holds (softmax); else each stands for itself (sigmoid).

    ``temperature`` is fitted on validation cases after training. ``shift`` (one number a class, added to the logits)
    gives back how common the classes are where training drew the rare ones more often.
    """

    labels: tuple[str, ...] = ("no", "yes")
    exclusive: bool = True
    temperature: float = 1.0
    shift: tuple[float, ...] = ()
    loss_name: str = ""
    loss_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("pooled", len(self.labels), "scores")

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        kind = seed % len(self.labels)
        image = rng.normal(0, 0.3, grid.shape)
        corner = rng.integers(0, 10, self.dims)
        image[tuple(slice(c, c + 6) for c in corner)] += 1.0 + kind
        names = self.channels or ("image",)
        images = {n: Image(image.astype(np.float32), grid) for n in names}
        truth = Scores(np.eye(len(self.labels))[kind], self.labels, self.exclusive)
        return Case(f"example-{seed}", images, truth, f"patient-{seed}")

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        """Give the tables for whole images, or for vectors where a convex model is chosen or the data are a table."""
        del budget
        if model not in CONVEX_MODELS and facts.dims > 1:
            return {"task": self.settings_from(facts), **plan_whole_images(facts, has_gpu=has_gpu)}
        model = model or CONVEX_MODELS[0]
        own = {"loss_name": "hinge"} if model == "svm" else {}
        return {"task": self.settings_from(facts, **own), **plan_vectors(facts, model, has_gpu=has_gpu)}

    def encode(self, case: Case) -> Sample:
        target = {}
        if isinstance(case.truth, Scores):
            values = torch.from_numpy(case.truth.values.astype(np.float32))
            target["class"] = values.argmax() if self.exclusive else values
        return Sample({"image": images_to_tensor(case, self.channels)}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        name = self.loss_name or ("cross_entropy" if self.exclusive else "bce")
        return {name: registry.find("losses", name)(**self.loss_settings)(full_resolution(output), target["class"])}

    def decode(self, output: Tensor, grid: Grid) -> Scores:
        logits = full_resolution(output).double().cpu().numpy()
        shift = np.array(self.shift or (0.0,))
        values = class_probabilities(logits, exclusive=self.exclusive, temperature=self.temperature, shift=shift)
        scores: Scores = self.answer_kind.decode([values], grid, self.settings())
        return scores

    def exported(self, network: nn.Module) -> nn.Module:
        return CalibratedClassifier(network, self)

    def judge(
        self, truth: Scores, answer: Scores, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        del region, quick  # an opinion on the whole; the figures are those of a set, so a row is only what was said
        row: dict[str, Any] = {f"truth/{n}": float(v) for n, v in zip(self.labels, truth.values, strict=True)}
        return row | {f"prob/{n}": float(v) for n, v in zip(self.labels, answer.values, strict=True)}

    def failed_row(self, truth: Scores, *, region: LabelMap | None = None) -> dict[str, Any]:
        del region
        wrong = 1 - truth.values
        return self.judge(truth, Scores(wrong / wrong.sum() if self.exclusive else wrong, self.labels, self.exclusive))

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        truth, probabilities = self.truths_and_probabilities(rows)
        return metrics.judge_set(
            metrics_for("scores"), truth, probabilities, names=self.labels, exclusive=self.exclusive
        )

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        truth, probabilities = self.truths_and_probabilities(rows)
        return metrics.judge_set_many(
            metrics_for("scores"), truth, probabilities, weights, names=self.labels, exclusive=self.exclusive
        )

    def truths_and_probabilities(
        self, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gather (n, k) truths and probabilities from rows."""
        truth = np.array([[r[f"truth/{n}"] for n in self.labels] for r in rows], float)
        return truth, np.array([[r[f"prob/{n}"] for n in self.labels] for r in rows], float)

    def without_calibration(self) -> Classification:
        return replace(self, temperature=1.0, shift=())

    def with_priors(self, oversampling: Mapping[str, float]) -> Classification:
        return replace(self, shift=tuple(round(-log(oversampling.get(n, 1.0)), 6) for n in self.labels))

    def calibrated(self, rows: Sequence[Mapping[str, Any]]) -> Calibration:
        """Fit the temperature."""
        truth, before = self.truths_and_probabilities(rows)
        logits = to_logits(before, exclusive=self.exclusive)
        temperature = round(fit_temperature(logits, truth, exclusive=self.exclusive), 6)
        after = apply_temperature(before, temperature, exclusive=self.exclusive)
        new = [
            {**row, **{f"prob/{n}": float(v) for n, v in zip(self.labels, values, strict=True)}}
            for row, values in zip(rows, after, strict=True)
        ]
        errors = [self.calibration_error(truth, values) for values in (before, after)]
        report = {"temperature": temperature, "ece_before": errors[0], "ece_after": errors[1]}
        return Calibration(replace(self, temperature=temperature), new, report)

    def calibration_error(self, truth: NDArray[np.float64], probabilities: NDArray[np.float64]) -> float | None:
        """Give the expected calibration error of (n, k) probabilities."""
        return metrics.judge_set(["ece"], truth, probabilities, names=self.labels, exclusive=self.exclusive).get("ece")

    def details(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Give the calibration curve, and the confusion matrix of classes of which one holds."""
        truth, probabilities = self.truths_and_probabilities(rows)
        curve = curve_to_dicts(reliability_curve(probabilities, truth, exclusive=self.exclusive))
        found: dict[str, Any] = {"calibration": {"temperature": self.temperature, "bins": curve}}
        if self.exclusive:
            found["confusion"] = {"names": list(self.labels), "counts": confusion_matrix(truth, probabilities)}
        return found

    def binary_problems(self, truths: Sequence[Scores]) -> dict[str, NDArray[np.float64]]:
        """Give the signs of each class against the others; two classes of which one holds are one problem."""
        values = np.array([truth.values for truth in truths])
        is_one = self.exclusive and len(self.labels) == 2
        found = {}
        for name in self.labels[1:] if is_one else self.labels:
            found[name] = np.where(values[:, self.labels.index(name)] > 0.5, 1.0, -1.0)
            if len(set(found[name].tolist())) < 2:
                which = "none" if found[name][0] < 0 else "every one"
                raise LayoutError(
                    f"Of {len(truths)} training cases {which} is of the class {name!r}, so nothing can part it. "
                    "Give another split, or take the class out."
                )
        return found

    def distillation_loss(self, output: Tensor, taught: Tensor, *, temperature: float = 1.0) -> Tensor:
        if self.exclusive:
            return softened_divergence(output, taught, temperature=temperature)
        both = [torch.stack([v, torch.zeros_like(v)], dim=1) for v in (output, taught)]
        return softened_divergence(*both, temperature=temperature)

    @property
    def primary_metric(self) -> str:
        return "auroc"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        return ("auroc", "balanced_accuracy", "ece", "accuracy", "f1")

    @property
    def label_noun(self) -> str:
        return "class"

    def score(self, output: Tensor, about: int) -> Tensor:
        return full_resolution(output)[:, about]


class CalibratedClassifier(nn.Module):
    """A classifier that returns calibrated probabilities; it takes the inputs that the network takes."""

    def __init__(self, network: nn.Module, task: Classification) -> None:
        super().__init__()
        self.inputs = input_names(network)
        self.logits, self.exclusive, self.temperature = network, task.exclusive, task.temperature
        self.register_buffer("shift", torch.tensor(task.shift or (0.0,) * len(task.labels)))

    def forward(self, *inputs: Tensor) -> Tensor:
        probabilities: Tensor = class_probabilities(
            self.logits(*inputs),
            exclusive=self.exclusive,
            temperature=self.temperature,
            shift=self.shift,
            functions=torch.special,
        )
        return probabilities


THIS = Classification
