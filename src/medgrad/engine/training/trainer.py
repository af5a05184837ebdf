"""Trainer: one training from prepared cases to weights, resumable bit by bit from a checkpoint."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import registry
from ...augment import Augmentation, augment
from ...descent.diagnostics import Finding, Health
from ...descent.gradients import build_gradients
from ...descent.layer_monitor import watched
from ...descent.rates import split_groups
from ...descent.schedules import Schedule, build_schedule
from ...descent.stopping import Line, Rule, build_rules
from ...errors import Diverged
from ...tasks import Batch, Sample, Task, full_resolution, stack
from ..compute.device import AutocastModule, Compute, use_threads
from ..compute.distributed import Team, shared
from ..evaluation.evaluate import Judged
from ..evaluation.judge import validate_cases
from ..loading.cache import Prepared
from ..loading.prefetch import prefetch
from ..loading.sampling import grid_patches, part, random_patch, sampler, shares_of
from ..runs.checkpoint import as_format_error, load_weights, read_checkpoint, write_checkpoint
from ..runs.pretrained import load_pretrained
from ..runs.recipe import Recipe
from ..runs.run import Run, build_model, open_run, planes_of
from .loop import EMA, Step, train
from .pace import Pace
from .step_log import Log, line_of, plain
from .step_plan import progress, threads_at, validates, with_replan
from .trackers import Track

Watch = Callable[[int, int, str], None]
Heed = Callable[[Finding], None]
SAVE_SECONDS = 30.0


@dataclass
class Trainer:
    """The state of one training, rebuilt from its recipe each time; everything else is in the checkpoint."""

    run: Run
    recipe: Recipe
    task: Task
    cases: Sequence[Prepared]
    valid: Sequence[Prepared]
    place: Compute
    team: Team = field(default_factory=Team)
    network: nn.Module = field(init=False)
    judge: nn.Module = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    average: EMA = field(init=False)
    shares: Any = field(init=False)
    schedule: Schedule = field(init=False)
    rules: list[Rule] = field(init=False)
    health: Health = field(init=False)
    done: int = 0
    best: float = -np.inf
    best_step: int = -1

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Build network and optimiser as they are before the first step."""
        training = self.recipe.training
        if training.threads:
            use_threads(training.threads)
        torch.manual_seed(training.seed)
        planes = planes_of([self.cases[0].case], self.task)
        network = build_model(self.recipe, self.task, planes)
        if self.recipe.start and not self.run.last.exists():
            begun = load_pretrained(network, self.recipe.start)
            if self.team.leads:
                self.run.note(start=begun)
        self.network = self.place.model(shared(network, self.team))
        self.judge = self.place.model(build_model(self.recipe, self.task, planes))
        settings = {k: v for k, v in self.recipe.optimiser.items() if k != "name"}
        make = registry.find("descent.optimisers", self.recipe.optimiser["name"])
        self.optimiser = make(self.network.named_parameters(), **settings)
        split_groups(self.optimiser, self.network.named_parameters(), self.recipe.rates)
        self.schedule, self.rules = build_schedule(self.recipe.schedule), build_rules(self.recipe.stopping)
        self.health = Health()
        self.average = EMA(self.network, training.average)
        self.shares, _ = shares_of([p.case.truth for p in self.cases], training.balance)
        self.done, self.best, self.best_step = 0, -np.inf, -1

    def learn_steps(self) -> Iterator[Step]:
        """Train from the current step to the end of the plan, which may change during training."""
        return self.steps(
            lambda: self.recipe.training.steps,
            progress=lambda number: progress(self.recipe.training, number),
            boost=lambda: self.recipe.training.pace,
        )

    def steps(
        self, upto: Callable[[], int], *, progress: Callable[[int], float], boost: Callable[[], float] = lambda: 1.0
    ) -> Iterator[Step]:
        """Train from the current step to a total number of steps.

        The learning rate is that of the schedule at the step's position, times a factor.
        """
        for step in train(
            AutocastModule(self.network, self.place),
            self.task,
            prefetch(self.batches(self.done), 2 if self.place.device.startswith("cuda") else 0),
            optimiser=self.optimiser,
            gradients=build_gradients(
                [{"name": "all_reduced"}, *self.recipe.gradients], everything=self.everything, teacher=self.teacher
            ),
            schedule=lambda done: boost() * self.schedule(done),
            steps=sys.maxsize,
            progress=progress,
            first=self.done,
            seed=self.recipe.training.seed,
            average=self.average,
        ):
            self.done = step.number + 1
            yield step
            if self.done >= upto():
                return

    def batches(self, first: int) -> Iterator[Batch]:
        """Sample cases, cut patches, encode and augment them, and yield batches from a given step on."""
        training = self.recipe.training
        changes = build_augmentations(self.recipe)
        number = first
        while True:
            whole = sampler(number, cases=len(self.cases), batch=training.batch, seed=training.seed, shares=self.shares)
            chosen = whole[self.team.part(training.batch)]
            cut = [
                random_patch(self.cases[d.case].case, training.patch, d.seed, foreground=training.foreground)
                for d in chosen
            ]
            batch = stack([self.task.encode(c) for c in cut])
            batch = batch.to(self.place.device)
            inputs, target = augment(
                batch.inputs, batch.target, self.task.spatial_kinds, steps=changes, seeds=[(*d.seed, 1) for d in chosen]
            )
            yield self.place.batch(Batch(inputs, target, batch.grids))
            number += 1

    def everything(self) -> Iterator[Batch]:
        """Yield batches of patches that cover every training case, always the same."""
        training = self.recipe.training
        waiting: list[Sample] = []
        for ready in self.cases:
            for start in grid_patches(ready.case.grid.shape, training.patch):
                waiting.append(self.task.encode(part(ready.case, start, training.patch)))
                if len(waiting) == training.batch:
                    yield self.place.batch(stack(waiting))
                    waiting = []
        if waiting:
            yield self.place.batch(stack(waiting))

    def teacher(self, run: str) -> Callable[[Tensor], Tensor]:
        """Load the teacher of a distillation from a run; several networks (folds) are averaged."""
        models = open_run(run, device=self.place.device).models
        return lambda inputs: torch.stack([full_resolution(model(inputs)).float() for model in models]).mean(0)

    def hear(self, line: Line) -> str:
        """Pass a line of the step log to the schedule and the stopping rules; return the reason to stop, or nothing."""
        if hasattr(self.schedule, "hear"):
            self.schedule.hear(line)
        return next((reason for reason in [rule(line) for rule in self.rules] if reason), "")

    def validate(self, count: int) -> float | None:
        """Compute the primary metric on so many evenly chosen validation cases; None where there are none."""
        if not self.valid or not self.average.weights:
            return None
        return self.task.summarise([j.row for j in self.judged(count)]).get(self.task.primary_metric)

    def judged(self, count: int) -> list[Judged]:
        """Judge the averaged weights on so many evenly chosen validation cases, on their prepared grids."""
        self.judge.load_state_dict(self.average.weights)
        model = AutocastModule(self.judge, self.place)
        chosen = np.unique(np.linspace(0, len(self.valid) - 1, min(count, len(self.valid))).round().astype(int))
        cases = [self.valid[index] for index in chosen]
        return validate_cases(model, self.task, cases, patch=self.recipe.training.patch, place=self.place)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "model": self.network.state_dict(),
            "average": self.average.weights,
            "optimiser": self.optimiser.state_dict(),
            "planes": planes_of([self.cases[0].case], self.task),
            "done": self.done,
            "best": self.best,
            "best_step": self.best_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Load the state of a checkpoint."""
        load_weights(self.network, state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for p, kept in self.optimiser.state.items():
            for k, v in kept.items():
                if isinstance(v, torch.Tensor) and v.shape == p.shape:
                    kept[k] = torch.empty_like(p).copy_(v)  # in the same order of memory as its weights
        self.average.weights = {k: v.to(self.place.device) for k, v in state["average"].items()}
        for k, v in self.network.state_dict().items():
            self.average.weights[k] = torch.empty_like(v).copy_(self.average.weights[k])
        self.done, self.best = int(state["done"]), float(state["best"])
        self.best_step = int(state["best_step"])


def build_augmentations(recipe: Recipe) -> list[Augmentation]:
    """Build the augmentations that a recipe names."""
    return [registry.find("augment", t["name"])(**{k: v for k, v in t.items() if k != "name"}) for t in recipe.augment]


def learn(
    learner: Trainer,
    *,
    watch: Watch | None = None,
    trackers: Sequence[Track] = (),
    heed: Heed | None = None,
    pace: Pace | None = None,
) -> str:
    """Train until the budget or a stopping rule ends it; return the reason. Resumes from the last checkpoint.

    ``heed`` is called with each finding about the network; it may raise to end the training. ``pace`` replans
    threads and steps during training; its decisions are written to the recipe before they take effect.
    """
    run = learner.run
    if run.last.exists():
        with as_format_error(run.last):
            learner.restore(read_checkpoint(run.last))
    log = Log(run.steps_file, learner.team, tuple(trackers))
    saved = time.monotonic()
    note = f"{learner.task.primary_metric} {learner.best:.3f}" if learner.best_step >= 0 else ""
    ended = ""
    for line in log.begin(learner.done):
        learner.health.hear(line)
        ended = learner.hear(line) or ended
    left: Iterable[Step] = ()
    if learner.done < learner.recipe.training.steps:
        use_planned_threads(learner)
        left = learner.learn_steps()
    for step, seen in watched(learner.network, () if ended else left, first=learner.done):
        ended = told(learner, log, line_of(step, seen), heed)
        if pace:
            pace.took(step.seconds)
        if ended or validates(learner.recipe.training, learner.done):
            said, reason = check(learner, log, pace)
            note, ended = said or note, ended or reason
            saved = save(learner, pace)
        elif time.monotonic() - saved > SAVE_SECONDS:
            saved = save(learner, pace)
        replan(learner, pace)
        if watch:
            watch(learner.done, learner.recipe.training.steps, f"loss {step.loss:.3f}  {note}".strip())
        if ended:
            break
    if learner.team.leads and not run.best.exists():
        write_checkpoint(run.best, learner.state())
    return ended or f"its {learner.recipe.training.steps} steps were done"


def replan(learner: Trainer, pace: Pace | None) -> None:
    """Replan the remaining steps and threads if the time budget asks for it, and set the threads of the next step."""
    training = learner.recipe.training
    if pace and pace.is_due(training, learner.done):
        found = learner.team.share(pace.replan(training, learner.done) if learner.team.leads else None)
        if found:
            learner.recipe = replace(learner.recipe, training=with_replan(training, (found[0], found[1], found[2])))
            if learner.team.leads:
                learner.run.write_recipe(learner.recipe)
    use_planned_threads(learner)


def use_planned_threads(learner: Trainer) -> None:
    """Set the number of threads that is planned for the next step."""
    threads = threads_at(learner.recipe.training, learner.done)
    if threads:
        use_threads(threads)


def told(learner: Trainer, log: Log, line: Line, heed: Heed | None = None) -> str:
    """Write a line of the step log and pass it to the rules; return rank 0's reason to stop."""
    log.write(line)
    for finding in learner.health.hear(line):
        log.write(finding.as_line())
        if heed:
            heed(finding)
    reason = learner.hear(line)
    return learner.team.share(reason) if learner.rules else reason


def check(learner: Trainer, log: Log, pace: Pace | None = None) -> tuple[str, str]:
    """Validate, log the metric, and save the weights if they are the best so far. Rank 0 decides for all.

    Returns a note for the progress bar, and the reason to stop if there is one.
    """
    leads = learner.team.leads
    count = learner.recipe.training.validation_cases or len(learner.valid)
    began = time.perf_counter()
    found = learner.team.share(learner.validate(count) if leads else None)
    if pace:
        pace.judged(time.perf_counter() - began, min(count, len(learner.valid)))
    if found is None:
        return "", ""
    ended = told(learner, log, plain({"step": learner.done - 1, "valid": {learner.task.primary_metric: found}}))
    if np.isfinite(found) and found >= learner.best:
        learner.best, learner.best_step = found, learner.done - 1
        if leads:
            write_checkpoint(learner.run.best, learner.state())
    return f"{learner.task.primary_metric} {found:.3f}", ended


def save(learner: Trainer, pace: Pace | None = None) -> float:
    """Save the last checkpoint and the remaining time budget; return the current time."""
    if not all(torch.isfinite(p).all() for p in learner.network.parameters()):
        raise Diverged("The weights are no longer finite numbers. Lower the rate under [optimiser].")
    if learner.team.leads:
        write_checkpoint(learner.run.last, learner.state())
        if pace:
            learner.run.note(pace=pace.state())
    return time.monotonic()
