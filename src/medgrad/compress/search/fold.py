"""One fold of a pruning search: the parent network, its cases, and the evaluation of smaller networks."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from ...data.cohorts import Cohort
from ...data.cohorts.split import split
from ...descent.samplers import build_sampler, sampler_cases
from ...engine.compute.device import AutocastModule, Compute, to_channels_last
from ...engine.evaluation.calibrate import correct_priors
from ...engine.evaluation.evaluate import JudgedCase
from ...engine.evaluation.judge import judge_all
from ...engine.loading.cache import Failure, PreparedCase, load_split
from ...engine.loading.degrade import build_degradations
from ...engine.loading.sampling import crop_case
from ...engine.progress import Progress
from ...engine.runs.recipe import Recipe
from ...engine.runs.run import Run, build_model, load_network, open_run
from ...engine.training.trainer import Trainer
from ...errors import SettingError
from ...tasks import Batch, input_names, network_arguments, stack_samples
from ..structure.cost import Cost, count_cost, measure_milliseconds, time_interleaved
from ..structure.graph import build_graph
from ..structure.groups import ChannelGraph

TIMING_ROUNDS = 15
"""An answer is timed so many times."""
DRAWN_BATCHES = 4
"""Drawing a batch is timed over so many."""


@dataclass(frozen=True)
class FoldCandidate:
    """A smaller network of one fold: its folder, cost, inference time, training steps and layer widths."""

    folder: Path
    cost: Cost
    milliseconds: float
    steps: int
    widths: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class ValidationSubset:
    """A subset of the validation patients: their cases, the unreadable ones, and the rows of the parent's answers."""

    cases: Sequence[PreparedCase]
    failed: Sequence[Failure]
    judged: Sequence[JudgedCase]

    @classmethod
    def for_patients(cls, patients: Collection[str], subset: ValidationSubset) -> ValidationSubset:
        """Give the subset of some patients."""
        return cls(
            [c for c in subset.cases if patient_of(c) in patients],
            [f for f in subset.failed if f.patient in patients],
            [j for j in subset.judged if j.patient in patients],
        )


def patient_of(prepared: PreparedCase) -> str:
    """Give the patient of a case."""
    return prepared.original.patient or prepared.original.id


def split_validation_patients(cohort: Cohort, seed: int) -> tuple[set[str], set[str]]:
    """Split the validation patients into those that select a network and those that are reported.

    The split is random and stratified. A single patient does both.
    """
    valid = cohort.in_splits("val")
    valid = replace(valid, entries=tuple(replace(e, split=None) for e in valid.entries))
    if len(valid.patients) < 2:
        return set(valid.patients), set(valid.patients)
    parted = split(valid, val=0.5, seed=seed)
    chooses, reported = set(parted.in_splits("val").patients), set(parted.in_splits("train").patients)
    return chooses, reported - chooses


class FoldContext:
    """The parent network of one run or fold with its cases, read once."""

    def __init__(self, run: Run, cohort: Cohort, device: str | None, progress: Progress) -> None:
        self.folder, self.cohort, self.device, self.progress = run.folder, cohort, device, progress
        self.trained = open_run(self.folder, device=device)
        self.compute: Compute = self.trained.compute
        self.recipe = run.load_recipe()
        cache = self.folder / "pruning"
        task, steps = self.trained.task, self.trained.prepare_steps
        self.train_cases, _ = load_split(cohort, "train", steps, cache, progress, (), task)
        degradations = build_degradations(self.recipe.augment, task)
        valid, lost = load_split(cohort, "val", steps, cache, progress, degradations, task)
        if not self.train_cases or not valid:
            raise SettingError(
                f"{str(self.folder)!r} has no cases to train on, or none to judge by. Pruning needs both."
            )
        self.task = correct_priors(
            self.recipe.build_task().without_calibration(),
            build_sampler(self.recipe.sampler, sampler_cases(p.case for p in self.train_cases)).oversampling,
        )
        self.network, self.input_channels = load_network(run)
        self.example = self.make_example()
        self.cost = count_cost(self.network, self.example)
        self.inference_network = self.inference_copy(self.network)
        self.milliseconds = measure_milliseconds(self.inference_network, self.example_on_device, rounds=TIMING_ROUNDS)
        began = time.perf_counter()
        judged = judge_all(self.trained, valid, lost, progress=progress)
        self.judging_seconds = time.perf_counter() - began
        self.selection_subset = self.report_subset = ValidationSubset(valid, lost, judged)

    def make_example(self) -> tuple[Tensor, ...]:
        """Make what the network is shown to count its cost: an empty patch, with what belongs to the first case."""
        patch = self.recipe.training.patch
        empty = torch.zeros(1, self.input_channels, *patch)
        if input_names(self.network) == ("image",):
            return (empty,)
        first = self.train_cases[0].case
        batch = stack_samples([self.task.encode(crop_case(first, (0,) * len(patch), patch))])
        return network_arguments(self.network, batch.inputs)

    def draw_batches(self, recipe: Recipe, folder: Path) -> Iterator[Batch]:
        """Yield the training batches of a recipe."""
        anew = replace(recipe, init={})
        return Trainer(
            Run(folder), anew, self.task, self.train_cases, self.validation_cases, self.compute
        ).make_batches(0)

    @cached_property
    def step_seconds(self) -> float:
        """Estimate the seconds of a training step of the parent: drawing a batch, and three forward passes a sample."""
        batches, began = self.draw_batches(self.recipe, self.folder / "pruning"), time.perf_counter()
        for _ in islice(batches, DRAWN_BATCHES):
            pass
        drawing = (time.perf_counter() - began) / DRAWN_BATCHES
        return drawing + 3 * self.recipe.training.batch * self.milliseconds / 1000

    def build_network(self, recipe: Recipe) -> nn.Module:
        """Build the network of a recipe with random weights."""
        return build_model(recipe, self.task, self.input_channels)

    @property
    def example_on_device(self) -> tuple[Tensor, ...]:
        """The example on the device and in its memory format."""
        return tuple(to_channels_last(x.to(self.compute.device)) for x in self.example)

    def channel_graph(self, network: nn.Module) -> ChannelGraph:
        """Give the channel graph of a network; that of the parent is traced once."""
        return self.parent_graph if network is self.network else build_graph(network, self.example)

    @cached_property
    def parent_graph(self) -> ChannelGraph:
        """The graph of the whole network."""
        return build_graph(self.network, self.example)

    def inference_copy(self, network: nn.Module) -> nn.Module:
        """Copy a network for inference, with autocast and the device's memory format."""
        return AutocastModule(self.compute.move_model(deepcopy(network)), self.compute).eval()

    def time_network(self, network: nn.Module, rounds: int = 0) -> float:
        """Time a forward pass in milliseconds.

        It is the parent's time times the median ratio to it when both run alternately.
        """
        each = time_interleaved(
            [self.inference_network, self.inference_copy(network)],
            self.example_on_device,
            rounds=rounds or TIMING_ROUNDS,
        )
        return self.milliseconds * median(one / whole for whole, one in each)

    @property
    def validation_cases(self) -> Sequence[PreparedCase]:
        """The validation cases that select checkpoints."""
        return self.selection_subset.cases

    def split_patients(self, seed: int) -> tuple[ValidationSubset, ValidationSubset]:
        """Split the validation patients into those that select a network and those that are reported."""
        chooses, reported = split_validation_patients(self.cohort, seed)
        return ValidationSubset.for_patients(chooses, self.selection_subset), ValidationSubset.for_patients(
            reported, self.report_subset
        )

    def judge(self, folder: Path, subset: ValidationSubset) -> list[JudgedCase]:
        """Judge a trained run on a subset of the validation cases."""
        return judge_all(open_run(folder, device=self.device), subset.cases, subset.failed, progress=self.progress)

    def measure_run(self, run: Run) -> FoldCandidate:
        """Open a trained run and measure its cost."""
        recipe = run.load_recipe()
        network, _ = load_network(run)
        widths = {k: list(v) for k, v in recipe.layer_widths.items()}
        cost, taken = count_cost(network, self.example), self.time_network(network)
        return FoldCandidate(run.folder, cost, taken, recipe.training.steps, widths)
