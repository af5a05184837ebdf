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
from ...engine.compute.device import AutocastModule, Compute, in_order
from ...engine.evaluation.calibrate import correct_priors, uncalibrated
from ...engine.evaluation.evaluate import Judged
from ...engine.evaluation.judge import judge_all
from ...engine.loading.cache import Failure, Prepared, load_side
from ...engine.progress import Progress
from ...engine.runs.recipe import Recipe
from ...engine.runs.run import Run, build_model, network_of, open_run
from ...engine.training.trainer import Trainer
from ...errors import SettingError
from ...tasks import Batch
from ..structure.cost import Cost, cost_of, in_turns, milliseconds
from ..structure.graph import graph_of
from ..structure.groups import Graph

ROUNDS = 15
"""An answer is timed so many times."""
DRAWN = 4
"""Drawing a batch is timed over so many."""


@dataclass(frozen=True)
class Part:
    """A smaller network of one fold: its folder, cost, inference time, training steps and layer widths."""

    folder: Path
    cost: Cost
    milliseconds: float
    steps: int
    widths: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Side:
    """A subset of the validation patients: their cases, the unreadable ones, and the rows of the parent's answers."""

    cases: Sequence[Prepared]
    lost: Sequence[Failure]
    judged: Sequence[Judged]

    @classmethod
    def of(cls, patients: Collection[str], all_of_them: Side) -> Side:
        """Give the subset of some patients."""
        return cls(
            [c for c in all_of_them.cases if patient_of(c) in patients],
            [f for f in all_of_them.lost if f.patient in patients],
            [j for j in all_of_them.judged if j.patient in patients],
        )


def patient_of(ready: Prepared) -> str:
    """Give the patient of a case."""
    return ready.original.patient or ready.original.id


def halves(cohort: Cohort, seed: int) -> tuple[set[str], set[str]]:
    """Split the validation patients into those that select a network and those that are reported.

    The split is random and stratified. A single patient does both.
    """
    valid = cohort.of("val")
    valid = replace(valid, entries=tuple(replace(e, split=None) for e in valid.entries))
    if len(valid.patients) < 2:
        return set(valid.patients), set(valid.patients)
    parted = split(valid, val=0.5, seed=seed)
    chooses, reported = set(parted.of("val").patients), set(parted.of("train").patients)
    return chooses, reported - chooses


class FoldContext:
    """The parent network of one run or fold with its cases, read once."""

    def __init__(self, run: Run, cohort: Cohort, device: str | None, progress: Progress) -> None:
        self.folder, self.cohort, self.device, self.progress = run.folder, cohort, device, progress
        self.trained = open_run(self.folder, device=device)
        self.place: Compute = self.trained.place
        self.recipe = run.recipe()
        cache = self.folder / "pruning"
        self.train, _ = load_side(cohort, "train", self.trained.steps, cache, progress)
        valid, lost = load_side(cohort, "val", self.trained.steps, cache, progress)
        if not self.train or not valid:
            raise SettingError(
                f"{str(self.folder)!r} has no cases to train on, or none to judge by. Pruning needs both."
            )
        self.task = correct_priors(
            uncalibrated(self.recipe.build_task()), [p.case.truth for p in self.train], self.recipe.training.balance
        )
        self.network, self.planes = network_of(run)
        self.example = torch.zeros(1, self.planes, *self.recipe.training.patch)
        self.cost = cost_of(self.network, self.example)
        self.answering = self.quick(self.network)
        self.milliseconds = milliseconds(self.answering, self.shown, rounds=ROUNDS)
        began = time.perf_counter()
        judged = judge_all(self.trained, valid, lost, progress=progress)
        self.judging_seconds = time.perf_counter() - began
        self.chooses = self.reported = Side(valid, lost, judged)

    def batches(self, recipe: Recipe, folder: Path) -> Iterator[Batch]:
        """Yield the training batches of a recipe."""
        anew = replace(recipe, start={})
        return Trainer(Run(folder), anew, self.task, self.train, self.valid, self.place).batches(0)

    @cached_property
    def step_seconds(self) -> float:
        """Estimate the seconds of a training step of the parent: drawing a batch, and three forward passes a sample."""
        batches, began = self.batches(self.recipe, self.folder / "pruning"), time.perf_counter()
        for _ in islice(batches, DRAWN):
            pass
        drawing = (time.perf_counter() - began) / DRAWN
        return drawing + 3 * self.recipe.training.batch * self.milliseconds / 1000

    def built(self, recipe: Recipe) -> nn.Module:
        """Build the network of a recipe with random weights."""
        return build_model(recipe, self.task, self.planes)

    @property
    def shown(self) -> Tensor:
        """The example input on the device and in its memory format."""
        return in_order(self.example.to(self.place.device))

    def graph(self, network: nn.Module) -> Graph:
        """Give the channel graph of a network; that of the parent is traced once."""
        return self.whole_graph if network is self.network else graph_of(network, self.example)

    @cached_property
    def whole_graph(self) -> Graph:
        """The graph of the whole network."""
        return graph_of(self.network, self.example)

    def quick(self, network: nn.Module) -> nn.Module:
        """Copy a network for inference, with autocast and the device's memory format."""
        return AutocastModule(self.place.model(deepcopy(network)), self.place).eval()

    def timed(self, network: nn.Module, rounds: int = 0) -> float:
        """Time a forward pass in milliseconds.

        It is the parent's time times the median ratio to it when both run alternately.
        """
        each = in_turns([self.answering, self.quick(network)], self.shown, rounds=rounds or ROUNDS)
        return self.milliseconds * median(one / whole for whole, one in each)

    @property
    def valid(self) -> Sequence[Prepared]:
        """The validation cases that select checkpoints."""
        return self.chooses.cases

    def part_patients(self, seed: int) -> tuple[Side, Side]:
        """Split the validation patients into those that select a network and those that are reported."""
        chooses, reported = halves(self.cohort, seed)
        return Side.of(chooses, self.chooses), Side.of(reported, self.reported)

    def judge(self, folder: Path, side: Side) -> list[Judged]:
        """Judge a trained run on a subset of the validation cases."""
        return judge_all(open_run(folder, device=self.device), side.cases, side.lost, progress=self.progress)

    def part(self, run: Run) -> Part:
        """Open a trained run and measure its cost."""
        recipe = run.recipe()
        network, _ = network_of(run)
        widths = {k: list(v) for k, v in recipe.widths.items()}
        cost, taken = cost_of(network, self.example), self.timed(network)
        return Part(run.folder, cost, taken, recipe.training.steps, widths)
