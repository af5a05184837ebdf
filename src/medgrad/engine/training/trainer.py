"""Trainer: one training from prepared cases to weights, resumable bit by bit from a checkpoint."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import registry
from ...descent.diagnostics import Diagnostics, Finding
from ...descent.gradients import Chain, build_gradients
from ...descent.layer_monitor import monitor_steps
from ...descent.parameter_groups import split_groups
from ...descent.samplers import CaseDraw, Sampler, build_sampler, sampler_cases
from ...descent.schedules import Schedule, build_schedule
from ...descent.stopping import Line, Rule, build_rules
from ...errors import Diverged, SettingError
from ...tasks import Batch, Inputs, Sample, Task, full_resolution, run_network, stack_samples
from ..compute.device import AutocastModule, Compute, set_threads
from ..compute.distributed import ProcessGroup, convert_sync_batchnorm
from ..evaluation.evaluate import JudgedCase
from ..evaluation.judge import validate_cases
from ..loading.batches import augment_batch, build_augmentations, encode_case
from ..loading.cache import PreparedCase
from ..loading.prefetch import prefetch
from ..loading.sampling import crop_case, grid_patch_starts, random_patch
from ..runs.checkpoint import as_format_error, load_weights, read_checkpoint, write_checkpoint
from ..runs.pretrained import load_pretrained
from ..runs.recipe import Recipe
from ..runs.run import Run, build_model, count_channels, open_run
from .loop import EMA, TrainingStep, train
from .planned_steps import is_validation_due, schedule_progress, threads_at, with_replan
from .step_log import StepLog, json_safe, step_to_line
from .time_budget import TimeBudget
from .trackers import LogFigures

OnStep = Callable[[int, int, str], None]
OnFinding = Callable[[Finding], None]
CHECKPOINT_SECONDS = 30.0


@dataclass
class Trainer:
    """The state of one training, rebuilt from its recipe each time; everything else is in the checkpoint."""

    run: Run
    recipe: Recipe
    task: Task
    training_cases: Sequence[PreparedCase]
    validation_cases: Sequence[PreparedCase]
    compute: Compute
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    network: nn.Module = field(init=False)
    ema_network: nn.Module = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    ema: EMA = field(init=False)
    sampler: Sampler = field(init=False)
    schedule: Schedule = field(init=False)
    stopping_rules: list[Rule] = field(init=False)
    layer_health: Diagnostics = field(init=False)
    steps_done: int = 0
    best_metric: float = -np.inf
    best_step: int = -1

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Build network and optimiser as they are before the first step."""
        training = self.recipe.training
        if training.threads:
            set_threads(training.threads)
        torch.manual_seed(training.seed)
        planes = count_channels([self.training_cases[0].case], self.task)
        network = build_model(self.recipe, self.task, planes)
        if self.recipe.init and not self.run.last_checkpoint.exists():
            begun = load_pretrained(network, self.recipe.init)
            if self.processes.is_main:
                self.run.write_facts(init=begun)
        self.network = self.compute.move_model(convert_sync_batchnorm(network, self.processes))
        self.ema_network = self.compute.move_model(build_model(self.recipe, self.task, planes))
        settings = {k: v for k, v in self.recipe.optimiser.items() if k != "name"}
        make = registry.find("descent.optimisers", self.recipe.optimiser["name"])
        self.optimiser = make(self.network.named_parameters(), **settings)
        split_groups(self.optimiser, self.network.named_parameters(), self.recipe.rates)
        self.schedule, self.stopping_rules = build_schedule(self.recipe.schedule), build_rules(self.recipe.stopping)
        self.layer_health = Diagnostics()
        self.ema = EMA(self.network, training.ema)
        self.sampler = build_sampler(self.recipe.sampler, sampler_cases(p.case for p in self.training_cases))
        if self.sampler.batches_vary and self.processes.size > 1:
            raise SettingError(
                f"The batches of the sampler {self.recipe.sampler['name']!r} differ in size, so {self.processes.size} "
                "processes cannot share them evenly. Use one process, or another sampler under [sampler]."
            )
        self.steps_done, self.best_metric, self.best_step = 0, -np.inf, -1
        self.__dict__.pop("gradients", None)

    @cached_property
    def gradients(self) -> Chain:
        """The gradient rules, which may hold state; made when first needed, since a teacher is loaded with them."""
        links = [{"name": "all_reduced"}, *self.recipe.gradients]
        return build_gradients(links, full_set=self.full_set, teacher=self.load_teacher)

    def run_planned_steps(self) -> Iterator[TrainingStep]:
        """Train from the current step to the end of the plan, which may change during training."""
        return self.run_steps(
            lambda: self.recipe.training.steps,
            schedule_position=lambda number: schedule_progress(self.recipe.training, number),
            rate_factor=lambda: self.recipe.training.lr_boost,
        )

    def run_steps(
        self,
        total_steps: Callable[[], int],
        *,
        schedule_position: Callable[[int], float],
        rate_factor: Callable[[], float] = lambda: 1.0,
    ) -> Iterator[TrainingStep]:
        """Train from the current step to a total number of steps.

        The learning rate is that of the schedule at the step's position, times a factor.
        """
        for step in train(
            AutocastModule(self.network, self.compute),
            self.task,
            prefetch(self.make_batches(self.steps_done), 2 if self.compute.device.startswith("cuda") else 0),
            optimiser=self.optimiser,
            gradients=self.gradients,
            schedule=lambda done: rate_factor() * self.schedule(done),
            n_steps=sys.maxsize,
            schedule_position=schedule_position,
            first_step=self.steps_done,
            seed=self.recipe.training.seed,
            ema=self.ema,
        ):
            self.steps_done = step.number + 1
            yield step
            if self.steps_done >= total_steps():
                return

    def make_batches(self, first_step: int) -> Iterator[Batch]:
        """Sample cases, cut patches, encode and augment them, and yield batches from a given step on."""
        training = self.recipe.training
        changes = build_augmentations(self.recipe.augment)
        for number in count(first_step):
            chosen = self.sampler.draw(number, training.batch, training.seed)
            if self.processes.size > 1:
                chosen = chosen[self.processes.batch_slice(training.batch)]
            if chosen:
                batch = stack_samples([self.encode_draw(d) for d in chosen]).to(self.compute.device)
                seeds = [(*d.seed, 1) for d in chosen]
                yield self.compute.move_batch(augment_batch(batch, self.task.spatial_kinds, changes, seeds))
            else:
                yield self.compute.move_batch(self.empty_batch())

    def encode_draw(self, drawn: CaseDraw) -> Sample:
        """Cut the patch of a drawn case, and encode it."""
        training, case = self.recipe.training, self.training_cases[drawn.case].case
        patch = random_patch(case, training.patch, drawn.seed, foreground_share=training.foreground_share)
        return encode_case(self.task, patch)

    def empty_batch(self) -> Batch:
        """Make a batch without samples, in the shapes of one with samples."""
        return stack_samples([self.encode_draw(CaseDraw(0, (0,)))]).part(slice(0))

    def full_set(self) -> Iterator[Batch]:
        """Yield batches of patches that cover every training case, always the same."""
        training = self.recipe.training
        waiting: list[Sample] = []
        for ready in self.training_cases:
            for start in grid_patch_starts(ready.case.grid.shape, training.patch):
                waiting.append(encode_case(self.task, crop_case(ready.case, start, training.patch)))
                if len(waiting) == training.batch:
                    yield self.compute.move_batch(stack_samples(waiting))
                    waiting = []
        if waiting:
            yield self.compute.move_batch(stack_samples(waiting))

    def load_teacher(self, run: str) -> Callable[[Inputs], Tensor]:
        """Load the teacher of a distillation from a run; several networks (folds) are averaged."""
        models = open_run(run, device=self.compute.device).networks

        def mean_output(inputs: Inputs) -> Tensor:
            return torch.stack([full_resolution(run_network(model, inputs)).float() for model in models]).mean(0)

        return mean_output

    def observe(self, line: Line) -> str:
        """Pass a line of the step log to the schedule and the stopping rules; return the reason to stop, or nothing."""
        if hasattr(self.schedule, "observe"):
            self.schedule.observe(line)
        return next((reason for reason in [rule(line) for rule in self.stopping_rules] if reason), "")

    def validate(self, n_cases: int) -> float | None:
        """Compute the primary metric on so many evenly chosen validation cases; None where there are none."""
        if not self.validation_cases or not self.ema.weights:
            return None
        return self.task.summarise([j.row for j in self.judge_validation_cases(n_cases)]).get(self.task.primary_metric)

    def judge_validation_cases(self, n_cases: int) -> list[JudgedCase]:
        """Judge the averaged weights on so many evenly chosen validation cases, on their prepared grids."""
        self.ema_network.load_state_dict(self.ema.weights)
        model = AutocastModule(self.ema_network, self.compute)
        chosen = np.unique(
            np.linspace(0, len(self.validation_cases) - 1, min(n_cases, len(self.validation_cases))).round().astype(int)
        )
        cases = [self.validation_cases[index] for index in chosen]
        return validate_cases(model, self.task, cases, patch=self.recipe.training.patch, compute=self.compute)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "model": self.network.state_dict(),
            "ema": self.ema.weights,
            "optimiser": self.optimiser.state_dict(),
            "gradients": self.gradients.state_dict(),
            "channels": count_channels([self.training_cases[0].case], self.task),
            "done": self.steps_done,
            "best": self.best_metric,
            "best_step": self.best_step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of a checkpoint."""
        load_weights(self.network, state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for p, kept in self.optimiser.state.items():
            for k, v in kept.items():
                if isinstance(v, torch.Tensor) and v.shape == p.shape:
                    kept[k] = torch.empty_like(p).copy_(v)  # in the same order of memory as its weights
        self.gradients.load_state_dict(state.get("gradients", {}))
        self.ema.weights = {k: v.to(self.compute.device) for k, v in state["ema"].items()}
        for k, v in self.network.state_dict().items():
            self.ema.weights[k] = torch.empty_like(v).copy_(self.ema.weights[k])
        self.steps_done, self.best_metric = int(state["done"]), float(state["best"])
        self.best_step = int(state["best_step"])


def run_training(
    trainer: Trainer,
    *,
    on_step: OnStep | None = None,
    trackers: Sequence[LogFigures] = (),
    on_finding: OnFinding | None = None,
    time_budget: TimeBudget | None = None,
) -> str:
    """Train until the budget or a stopping rule ends it; return the reason. Resumes from the last checkpoint.

    ``on_finding`` is called with each finding about the network; it may raise to end the training. ``time_budget``
    replans threads and steps during training; its decisions are written to the recipe before they take effect.
    """
    run = trainer.run
    if run.last_checkpoint.exists():
        with as_format_error(run.last_checkpoint):
            trainer.load_state_dict(read_checkpoint(run.last_checkpoint))
    log = StepLog(run.steps_file, trainer.processes, tuple(trackers))
    saved = time.monotonic()
    note = f"{trainer.task.primary_metric} {trainer.best_metric:.3f}" if trainer.best_step >= 0 else ""
    ended = ""
    for line in log.resume(trainer.steps_done):
        trainer.layer_health.observe(line)
        ended = trainer.observe(line) or ended
    left: Iterable[TrainingStep] = ()
    if trainer.steps_done < trainer.recipe.training.steps:
        use_planned_threads(trainer)
        left = trainer.run_planned_steps()
    for step, layer_stats in monitor_steps(trainer.network, () if ended else left, first=trainer.steps_done):
        ended = record_line(trainer, log, step_to_line(step, layer_stats), on_finding)
        if time_budget:
            time_budget.record_step(step.seconds)
        if ended or is_validation_due(trainer.recipe.training, trainer.steps_done):
            progress_note, reason = validate_and_keep_best(trainer, log, time_budget)
            note, ended = progress_note or note, ended or reason
            saved = save_checkpoint(trainer, time_budget)
        elif time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = save_checkpoint(trainer, time_budget)
        apply_replan(trainer, time_budget)
        if on_step:
            on_step(trainer.steps_done, trainer.recipe.training.steps, f"loss {step.loss:.3f}  {note}".strip())
        if ended:
            break
    if trainer.processes.is_main and not run.best_checkpoint.exists():
        write_best(trainer)
    return ended or f"its {trainer.recipe.training.steps} steps were done"


def apply_replan(trainer: Trainer, time_budget: TimeBudget | None) -> None:
    """Replan the remaining steps and threads if the time budget asks for it, and set the threads of the next step."""
    training = trainer.recipe.training
    if time_budget and time_budget.is_check_due(training, trainer.steps_done):
        found = trainer.processes.broadcast(
            time_budget.replan(training, trainer.steps_done) if trainer.processes.is_main else None
        )
        if found:
            trainer.recipe = replace(trainer.recipe, training=with_replan(training, (found[0], found[1], found[2])))
            if trainer.processes.is_main:
                trainer.run.write_recipe(trainer.recipe)
    use_planned_threads(trainer)


def use_planned_threads(trainer: Trainer) -> None:
    """Set the number of threads that is planned for the next step."""
    threads = threads_at(trainer.recipe.training, trainer.steps_done)
    if threads:
        set_threads(threads)


def record_line(trainer: Trainer, log: StepLog, line: Line, on_finding: OnFinding | None = None) -> str:
    """Write a line of the step log and pass it to the rules; return rank 0's reason to stop."""
    log.write(line)
    for finding in trainer.layer_health.observe(line):
        log.write(finding.as_line())
        if on_finding:
            on_finding(finding)
    reason = trainer.observe(line)
    return trainer.processes.broadcast(reason) if trainer.stopping_rules else reason


def validate_and_keep_best(trainer: Trainer, log: StepLog, time_budget: TimeBudget | None = None) -> tuple[str, str]:
    """Validate, log the metric, and save the weights if they are the best so far. Rank 0 decides for all.

    Returns a note for the progress bar, and the reason to stop if there is one.
    """
    leads = trainer.processes.is_main
    n_cases = trainer.recipe.training.validation_cases or len(trainer.validation_cases)
    began = time.perf_counter()
    found = trainer.processes.broadcast(trainer.validate(n_cases) if leads else None)
    if time_budget:
        time_budget.record_validation(time.perf_counter() - began, min(n_cases, len(trainer.validation_cases)))
    if found is None:
        return "", ""
    ended = record_line(
        trainer, log, json_safe({"step": trainer.steps_done - 1, "valid": {trainer.task.primary_metric: found}})
    )
    if np.isfinite(found) and found >= trainer.best_metric:
        trainer.best_metric, trainer.best_step = found, trainer.steps_done - 1
        if leads:
            write_best(trainer)
    return f"{trainer.task.primary_metric} {found:.3f}", ended


def write_best(trainer: Trainer) -> None:
    """Write the weights as the best, without the state of gradient rules: it may be secret, and these are handed on."""
    state = trainer.state_dict()
    write_checkpoint(trainer.run.best_checkpoint, {k: v for k, v in state.items() if k != "gradients"})


def save_checkpoint(trainer: Trainer, time_budget: TimeBudget | None = None) -> float:
    """Save the last checkpoint and the remaining time budget; return the current time."""
    if not all(torch.isfinite(p).all() for p in trainer.network.parameters()):
        raise Diverged("The weights are no longer finite numbers. Lower the rate under [optimiser].")
    if trainer.processes.is_main:
        write_checkpoint(trainer.run.last_checkpoint, trainer.state_dict())
        if time_budget:
            trainer.run.write_facts(pace=time_budget.state())
    return time.monotonic()
