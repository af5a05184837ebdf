"""Fit a run on a cohort: plan, train, calibrate, evaluate. Called again on the same folder, it resumes."""

from __future__ import annotations

import platform
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ... import registry
from ...data.cohorts import Cohort, Entry
from ...data.cohorts.split import folds as make_folds
from ...data.cohorts.split import split as make_split
from ...errors import LayoutError, SettingError
from ...inference.input_check import learned_from
from ...prepare import build_steps
from ...survey.dataset import Look
from ...tasks import Task
from ...version import VERSION
from ..compute.device import choose, threads_kept
from ..compute.distributed import Team, join, leave
from ..evaluation.calibrate import calibrated, correct_priors, uncalibrated
from ..evaluation.evaluate import Evaluation, Judged, conclude, write_evaluation
from ..evaluation.judge import judge_all
from ..evaluation.tune_windows import with_overlap
from ..loading.cache import Failure, Prepared, clear, load_side
from ..progress import Progress, Silent
from ..runs.provenance import machine, write_cohort
from ..runs.recipe import Recipe, Training, from_table, merged, to_toml
from ..runs.run import Run, open_run
from .dataset_facts import gather
from .pace import Pace, resumed
from .plan import Budget, plan
from .remedies import train_with_fixes
from .solve import is_solved, solve
from .timing import decide_steps
from .trainer import Trainer

SPARE = 0.95
"""The share of the minutes that is planned with; the rest is for what nobody foresaw."""


@dataclass(frozen=True)
class Fitted:
    """The result of a fit: folder, evaluation, reason for the end, steps and seconds."""

    folder: Path
    evaluation: Evaluation
    ended_by: str
    steps: int
    seconds: float


@threads_kept()
def fit(
    cohort: Cohort,
    folder: Path | str,
    *,
    minutes: float = 20.0,
    steps: int = 0,
    folds: int = 0,
    changes: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | None = None,
    look: Look | None = None,
    allow_leak: bool = False,
    track: str | None = None,
    until_plateau: bool = False,
    heal: bool = False,
    progress: Progress | None = None,
) -> Fitted | None:
    """Train a run on a cohort, and write it. Under ``torchrun``, all processes train it; rank 0 returns it.

    ``changes`` are the user's tables, merged over the plan. ``look`` is the survey of the data, for the report.
    With ``folds``, cross-validation trains so many models, each judged on its own validation patients; together
    they are an ensemble. With ``heal``, training problems are fixed automatically, and the recipe records how.
    """
    began, started, team = time.perf_counter(), now(), join()
    progress, run = progress if progress and team.leads else Silent(), Run(Path(folder))
    together = look.together if look else ()
    if folds > 1 and cohort.task == "registration":
        raise SettingError("Pairs of two patients cannot be parted into folds. Leave --folds out.")
    if folds > 1:
        sides = make_folds(cohort, folds, seed, together=together)
    else:
        sides = (make_split(cohort, seed=seed, together=together),)
    if team.leads:
        asked = Budget(minutes, steps, until_plateau)
        recipe = make_recipe(run, sides[0], look, asked, changes or {}, seed, progress)
        seen = look.as_dict() if look else {}
        write_cohort(run, sides, seen, allow_leak=allow_leak, survey=look.survey if look else None)
        run.note(medgrad=VERSION, torch=torch.__version__, python=platform.python_version(), machine=machine())
        run.note(started=started, seed=seed, processes=team.size, command=" ".join(["medgrad", *sys.argv[1:]]))
    judged: list[Judged] = []
    tests = len(tests_of(cohort))
    for number, side in enumerate(sides):
        each = Run(run.folder / f"fold-{number}") if folds > 1 else run
        if team.leads and not (each.has_begun and each.recipe_file.exists()):
            each.write_recipe(recipe)
        deadline = began + minutes * 60 * (number + 1) / len(sides) * SPARE
        how = FitOptions(deadline, tests, device or team.device, track, heal)
        ended, rows = fit_one(each, side, team, how, progress)
        judged += rows
    leave(team)
    if not team.leads:
        return None
    first = (run.folds or [run])[0].recipe()
    if folds > 1:
        run.write_recipe(first)
    evaluation = conclude_run(run, sides[0], judged, device=device, progress=progress)
    seconds = time.perf_counter() - began
    run.note(finished=now(), seconds=round(seconds, 1), ended_by=ended, steps=first.training.steps)
    return Fitted(run.folder, evaluation, ended, first.training.steps, seconds)


def now() -> str:
    """Return the local time as an ISO timestamp."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def make_recipe(
    run: Run,
    cohort: Cohort,
    look: Look | None,
    budget: Budget,
    changes: Mapping[str, Any],
    seed: int,
    progress: Progress,
) -> Recipe:
    """Return the recipe: the run's own if training has started, else the plan with the user's changes."""
    if run.has_begun and run.recipe_file.exists():
        progress.say("This run has begun before; it goes on with its own recipe.")
        return run.recipe()
    progress.say("Planning ...")
    task = changes.get("task", {}).get("kind")
    modality = look.fingerprint.get("modality") if look else None
    survey = look.survey if look else None
    facts = gather(cohort if task is None else replace(cohort, task=task), modality=modality, survey=survey)
    gpu = torch.cuda.is_available()
    chosen = changes.get("model")
    model = str(chosen.get("name", "")) if isinstance(chosen, Mapping) else ""
    return merged(plan(facts, budget, gpu=gpu, seed=seed, model=model), changes)


@dataclass(frozen=True)
class FitOptions:
    """How one model is trained: deadline, number of test cases, device, tracker and automatic fixes."""

    deadline: float
    tests: int = 0
    device: str | None = None
    track: str | None = None
    heal: bool = False


def fit_one(run: Run, cohort: Cohort, team: Team, how: FitOptions, progress: Progress) -> tuple[str, list[Judged]]:
    """Train one model, calibrate it, and judge it on its validation cases."""
    recipe = shared_recipe(run.recipe() if team.leads else None, team)
    task = uncalibrated(recipe.build_task())
    place = choose(recipe.training.precision, how.device)
    train_cases, valid, failures = read(run, cohort, recipe, progress)
    if team.leads:
        run.note(inputs=learned_from(p.original for p in train_cases))
    if not is_solved(recipe):
        task = correct_priors(task, [p.case.truth for p in train_cases], recipe.training.balance)
    recipe = replace(recipe, task=task.settings())
    if not is_solved(recipe):
        recipe, ended = run_descent(Trainer(run, recipe, task, train_cases, valid, place, team), how, progress)
    elif team.leads:  # a solver needs no team
        recipe, ended = solve(run, recipe, task, train_cases, valid, place, progress=progress)
    if not team.leads:
        return "", []
    progress.say(f"It ended because {ended}.")
    return ended, calibrate_and_validate(run, recipe, task, valid, failures, device=how.device, progress=progress)


def calibrate_and_validate(
    run: Run,
    recipe: Recipe,
    task: Task,
    valid: Sequence[Prepared],
    failures: Sequence[Failure],
    *,
    device: str | None,
    progress: Progress,
) -> list[Judged]:
    """Judge a trained model on its validation cases, with tuned windows, and calibrate it on them."""
    trained, chosen = with_overlap(open_run(run.folder, device=device), valid, progress)
    judged = judge_all(trained, valid, failures, progress=progress, pictures=run.folder) if valid else []
    task, judged, told = calibrated(task, judged)
    run.write_recipe(replace(recipe, task=task.settings(), answering=trained.recipe.answering))
    run.note(calibration=told, **({"overlap": chosen.as_dict()} if chosen else {}))
    clear(run.folder / "cache")
    return judged


def run_descent(learner: Trainer, how: FitOptions, progress: Progress) -> tuple[Recipe, str]:
    """Train by gradient descent; return the recipe that was followed, and the reason for the end."""
    run, team = learner.run, learner.team
    pace = pace_of(run)
    if not learner.recipe.training.steps:
        recipe, pace = decide_steps(learner, how.deadline, how.tests, progress)
        learner.recipe = shared_recipe(recipe, team)
    if team.leads:
        run.write_recipe(learner.recipe)
        run.note(parameters=sum(p.numel() for p in learner.network.parameters()))
        if pace:
            run.note(pace=pace.state())
    trackers = [registry.find("engine.training.trackers", how.track)(run.folder)] if how.track and team.leads else []
    with progress.bar("Learning") as bar:
        ended = train_with_fixes(learner, heal=how.heal, say=progress.say, watch=bar, trackers=trackers, pace=pace)
    if learner.recipe.training.replanned:
        progress.say(told_replans(learner.recipe.training))
    return learner.recipe, ended


def pace_of(run: Run) -> Pace | None:
    """Resume the time budget of an interrupted run; None where its steps were not planned by time."""
    state = run.noted().get("pace") if run.has_begun else None
    return resumed(state) if state else None


def told_replans(training: Training) -> str:
    """Describe how the planned steps and threads changed during training."""
    (_, threads, first), *later = training.replanned
    counts = [threads, *(t for _, t, _ in later)]
    switches = sum(a != b for a, b in pairwise(counts))
    return (
        f"The machine did not keep its pace: {first} steps were planned and {training.steps} taken; "
        f"the number of threads changed {switches} times. The recipe says when."
    )


def shared_recipe(recipe: Recipe | None, team: Team) -> Recipe:
    """Broadcast the recipe of rank 0 to every process."""
    return from_table(tomllib.loads(team.share(to_toml(recipe) if recipe is not None else "")))


def read(
    run: Run, cohort: Cohort, recipe: Recipe, progress: Progress
) -> tuple[list[Prepared], list[Prepared], list[Failure]]:
    """Load and prepare training and validation cases; training cases that fail are reported and left out."""
    steps = build_steps(recipe.prepare)
    ready, failed = load_side(cohort, "train", steps, run.folder, progress)
    valid, lost = load_side(cohort, "val", steps, run.folder, progress)
    for failure in [*failed, *lost]:
        progress.say(f"Case {failure.id!r} failed: {failure.why}")
    if failed:
        run.note(left_out=[{"case": f.id, "why": f.why} for f in failed])
    if not ready:
        raise LayoutError(f"No training case of {str(cohort.root)!r} could be read. See the lines above.")
    return ready, valid, lost


def tests_of(cohort: Cohort) -> list[Entry]:
    """List the test cases that have a truth."""
    return [e for e in cohort.entries if e.split == "test" and e.truth is not None]


CHOSE = (
    "These cases also chose the best weights and the temperature, so the figures may be a little too good. "
    "Judge on cases of their own with evaluate."
)


def conclude_run(
    run: Run,
    cohort: Cohort,
    judged: Sequence[Judged],
    *,
    device: str | None,
    progress: Progress,
    told: Sequence[str] = (CHOSE,),
) -> Evaluation:
    """Evaluate on the test cases, or on the validation cases where there are none, and write the evaluation.

    The given messages are shown beside the figures of validation cases.
    """
    trained = open_run(run.folder, device=device)
    split = "val"
    if tests_of(cohort):
        ready, failures = load_side(cohort, "test", trained.steps, run.folder, progress)
        judged, split = judge_all(trained, ready, failures, progress=progress, pictures=run.folder), "test"
        clear(run.folder / "cache")
        told = ()
    if not judged:
        raise LayoutError("There is neither a validation nor a test case with a truth to judge by.")
    calibration = run.noted().get("calibration")
    evaluation = conclude(trained.task, judged, split=split, told=told, calibration=calibration)
    write_evaluation(run.folder, evaluation)
    return evaluation
