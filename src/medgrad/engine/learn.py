"""One training: from prepared cases to weights, resumable at any moment to the same bits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import registry
from ..augment import Augmentation, augment
from ..data import Case
from ..descent.gradients import build_gradients
from ..errors import Diverged
from ..tasks._task import Batch, Task, stack
from .ahead import ahead
from .answer import answer_prepared
from .cache import Prepared
from .checkpoint import read_checkpoint, restore_order, write_checkpoint, write_text
from .device import Mixed, Place, thread_counts, use_threads
from .evaluate import judge_case
from .recipe import Recipe
from .run import Run, build_model, planes_of
from .sample import draws, shares_of, window
from .team import Team, shared
from .trackers import Track
from .train import Average, Step, train

Watch = Callable[[int, int, str], None]
SAVE_SECONDS = 30.0
TIMED = 6
"""How many steps are timed, after two that are not."""
LONG_ENOUGH = 20.0
"""The seconds after which timing gives up on more."""


@dataclass
class Learner:
    """The machinery of one training, made anew from its recipe each time: nothing in it is not in a checkpoint."""

    run: Run
    recipe: Recipe
    task: Task
    cases: Sequence[Prepared]
    valid: Sequence[Prepared]
    place: Place
    team: Team = field(default_factory=Team)
    network: nn.Module = field(init=False)
    judge: nn.Module = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    average: Average = field(init=False)
    shares: Any = field(init=False)
    done: int = 0
    best: float = -np.inf
    best_step: int = -1
    stale: int = 0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Make network and optimiser as they are before the first step."""
        training = self.recipe.training
        if training.threads:
            use_threads(training.threads)
        torch.manual_seed(training.seed)
        planes = planes_of([self.cases[0].case], self.task)
        self.network = self.place.model(shared(build_model(self.recipe, self.task, planes), self.team))
        self.judge = self.place.model(build_model(self.recipe, self.task, planes))
        settings = {k: v for k, v in self.recipe.optimiser.items() if k != "name"}
        make = registry.find("descent.optimisers", self.recipe.optimiser["name"])
        self.optimiser = make(self.network.named_parameters(), **settings)
        self.average = Average(self.network, training.average)
        self.shares, _ = shares_of([p.case.truth for p in self.cases], training.balance)
        self.done, self.best, self.best_step, self.stale = 0, -np.inf, -1, 0

    def steps(self, upto: int, *, schedule_steps: int) -> Iterator[Step]:
        """Learn from where it stands; ``upto`` ends early, the schedule runs over ``schedule_steps``."""
        settings = {k: v for k, v in self.recipe.schedule.items() if k != "name"}
        schedule = registry.find("descent.schedules", self.recipe.schedule["name"])(**settings)
        for step in train(
            Mixed(self.network, self.place),
            self.task,
            ahead(self.batches(self.done), 2 if self.place.device.startswith("cuda") else 0),
            optimiser=self.optimiser,
            gradients=build_gradients([{"name": "averaged"}, *self.recipe.gradients]),
            schedule=schedule,
            steps=schedule_steps,
            first=self.done,
            seed=self.recipe.training.seed,
            average=self.average,
        ):
            self.done = step.number + 1
            yield step
            if self.done >= upto:
                return

    def batches(self, first: int) -> Iterator[Batch]:
        """Draw, cut, encode and augment, one batch after another, beginning with that of step ``first``."""
        training = self.recipe.training
        changes = build_augmentations(self.recipe)
        number = first
        while True:
            whole = draws(number, cases=len(self.cases), batch=training.batch, seed=training.seed, shares=self.shares)
            chosen = whole[self.team.part(training.batch)]
            cut = [
                window(self.cases[d.case].case, training.patch, d.seed, foreground=training.foreground) for d in chosen
            ]
            batch = stack([self.task.encode(c) for c in cut])
            batch = batch.to(self.place.device)
            inputs, target = augment(
                batch.inputs, batch.target, self.task.moves, steps=changes, seeds=[(*d.seed, 1) for d in chosen]
            )
            yield self.place.batch(Batch(inputs, target, batch.grids))
            number += 1

    def validate(self, count: int) -> float | None:
        """Judge the mean weights on so many validation cases, evenly chosen; None where there is none."""
        if not self.valid or not self.average.weights:
            return None
        self.judge.load_state_dict(self.average.weights)
        model = Mixed(self.judge, self.place)
        chosen = np.unique(np.linspace(0, len(self.valid) - 1, min(count, len(self.valid))).round().astype(int))
        rows = []
        for index in chosen:
            case: Case = self.valid[index].case
            said = answer_prepared([model], self.task, case, patch=self.recipe.training.patch, place=self.place)
            rows.append(judge_case(self.task, case, said, quick=True).row)
        return self.task.summarise(rows).get(self.task.aim)

    def state(self) -> dict[str, Any]:
        """Everything that it takes to go on."""
        return {
            "model": self.network.state_dict(),
            "average": self.average.weights,
            "optimiser": self.optimiser.state_dict(),
            "planes": planes_of([self.cases[0].case], self.task),
            "done": self.done,
            "best": self.best,
            "best_step": self.best_step,
            "stale": self.stale,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where a checkpoint was written."""
        restore_order(self.network, state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for p, kept in self.optimiser.state.items():
            for k, v in kept.items():
                if isinstance(v, torch.Tensor) and v.shape == p.shape:
                    kept[k] = torch.empty_like(p).copy_(v)  # in the same order of memory as its weights
        self.average.weights = {k: v.to(self.place.device) for k, v in state["average"].items()}
        for k, v in self.network.state_dict().items():
            self.average.weights[k] = torch.empty_like(v).copy_(self.average.weights[k])
        self.done, self.best = int(state["done"]), float(state["best"])
        self.best_step, self.stale = int(state["best_step"]), int(state["stale"])


def build_augmentations(recipe: Recipe) -> list[Augmentation]:
    """Make the random changes that a recipe names."""
    return [registry.find("augment", t["name"])(**{k: v for k, v in t.items() if k != "name"}) for t in recipe.augment]


def time_steps(learner: Learner) -> tuple[float, int]:
    """Measure the seconds of one step on this machine, with the number of threads that makes it quickest.

    Where others use the processor too, threads wait for one another, and one alone can be many times faster than two.
    Everything is put back as it was.
    """
    most = torch.get_num_threads()
    asked = learner.recipe.training.threads
    found = {}
    for count in [asked] if asked else thread_counts():
        torch.set_num_threads(count)
        taken = []
        began = time.perf_counter()
        for _ in learner.steps(TIMED + 2, schedule_steps=10**6):
            taken.append(time.perf_counter() - began)
            began = time.perf_counter()
            if len(taken) > 3 and sum(taken) > LONG_ENOUGH:
                break
        found[count] = float(np.median(taken[2:]))
        learner.begin()
    torch.set_num_threads(most)
    best = min(found, key=lambda count: found[count])
    best = most if most in found and found[most] < 1.1 * found[best] else best
    return found[best], best


def time_validation(learner: Learner) -> float:
    """Measure the seconds that judging one validation case takes."""
    if not learner.valid:
        return 0.0
    learner.average.update(0)
    began = time.perf_counter()
    learner.validate(2)
    taken = (time.perf_counter() - began) / min(2, len(learner.valid))
    learner.begin()
    return taken


def learn(learner: Learner, *, watch: Watch | None = None, trackers: Sequence[Track] = ()) -> str:
    """Train until the budget or patience ends; give the reason in a sentence. Goes on where a checkpoint stands."""
    run, training = learner.run, learner.recipe.training
    if run.last.exists():
        learner.restore(read_checkpoint(run.last))
    log = Log(run.steps_file, learner.team, tuple(trackers))
    every = max(1, -(-training.steps // max(1, training.validations)))
    saved = time.monotonic()
    note = f"{learner.task.aim} {learner.best:.3f}" if learner.best_step >= 0 else ""
    log.begin(learner.done)
    left = learner.steps(training.steps, schedule_steps=training.steps) if learner.done < training.steps else ()
    for step in () if is_stale(learner) else left:
        log.write(line_of(step))
        if learner.done % every == 0 or learner.done == training.steps:
            note = check(learner, log) or note
            saved = save(learner)
        elif time.monotonic() - saved > SAVE_SECONDS:
            saved = save(learner)
        if watch:
            watch(learner.done, training.steps, f"loss {step.loss:.3f}  {note}".strip())
        if is_stale(learner):
            break
    if learner.team.leads and not run.best.exists():
        write_checkpoint(run.best, learner.state())
    if is_stale(learner):
        return f"{learner.task.aim} was no better in {learner.stale} validations"
    return f"its {training.steps} steps were done"


def is_stale(learner: Learner) -> bool:
    """Tell whether patience has run out."""
    return learner.stale >= learner.recipe.training.patience > 0


@dataclass(frozen=True)
class Log:
    """The lines of ``steps.jsonl``; only the leader of a team writes."""

    path: Path
    team: Team
    trackers: tuple[Track, ...] = ()

    def begin(self, done: int) -> None:
        """Drop the lines of steps that will be taken again."""
        if self.team.leads:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            forget_steps(self.path, done)

    def write(self, line: dict[str, Any]) -> None:
        """Add a line, so that it is there whatever comes, and tell whoever keeps track."""
        if not self.team.leads:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for track in self.trackers:
            track(line["step"], figures_of(line))


def check(learner: Learner, log: Log) -> str:
    """Validate, note the figure, and keep the weights if they are the best so far. The leader judges for all."""
    leads = learner.team.leads
    count = learner.recipe.training.validation_cases or len(learner.valid)
    found = learner.team.share(learner.validate(count) if leads else None)
    if found is None:
        return ""
    log.write({"step": learner.done - 1, "valid": {learner.task.aim: found}})
    learner.stale = 0 if found > learner.best else learner.stale + 1
    if np.isfinite(found) and found >= learner.best:
        learner.best, learner.best_step = found, learner.done - 1
        if leads:
            write_checkpoint(learner.run.best, learner.state())
    return f"{learner.task.aim} {found:.3f}"


def save(learner: Learner) -> float:
    """Write the last checkpoint, and give the time."""
    if not all(torch.isfinite(p).all() for p in learner.network.parameters()):
        raise Diverged("The weights are no longer finite numbers. Lower the rate under [optimiser].")
    if learner.team.leads:
        write_checkpoint(learner.run.last, learner.state())
    return time.monotonic()


def figures_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Flatten a line's numbers: ``loss/dice``, ``valid/dice/mean``, ``rate``."""
    flat: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}/{k}": v for k, v in value.items() if isinstance(v, (int, float))}
        elif isinstance(value, (int, float)) and key != "step":
            flat[key] = float(value)
    return flat


def line_of(step: Step) -> dict[str, Any]:
    """Tell one step as plain values that JSON can hold."""
    loss = {k: v for k, v in step.told.items() if "/" not in k}
    seen = {k: v for k, v in step.told.items() if "/" in k}
    line: dict[str, Any] = {
        "step": step.number,
        "seconds": round(step.seconds, 4),
        "rate": step.rate,
        "loss": loss,
        **seen,
    }
    if step.skipped:
        line |= {"skipped": True, "loss": {k: str(v) for k, v in loss.items()}}
        line = {k: (v if not isinstance(v, float) or np.isfinite(v) else str(v)) for k, v in line.items()}
    return line


def forget_steps(path: Path, done: int) -> None:
    """Drop the lines of steps that will be taken again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            number = json.loads(line)["step"]
        except (ValueError, KeyError):
            continue
        if number < done:
            kept.append(line)
    write_text(path, "".join(f"{k}\n" for k in kept))
