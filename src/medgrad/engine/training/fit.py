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
from ...descent.samplers import build_sampler, sampler_cases
from ...errors import LayoutError, SettingError
from ...inference.input_check import collect_image_facts
from ...prepare import build_steps
from ...survey.dataset import Look
from ...survey.dataset_facts import gather_dataset_facts
from ...tasks import Task
from ...version import VERSION
from ..compute.device import choose_device, restore_threads
from ..compute.distributed import ProcessGroup, join_process_group, leave_process_group
from ..evaluation.calibrate import correct_priors, fit_calibration
from ..evaluation.evaluate import Evaluation, JudgedCase, summarise_evaluation, write_evaluation
from ..evaluation.judge import judge_all
from ..evaluation.nearest import show_nearest_patients
from ..evaluation.planted import plant_and_judge
from ..evaluation.residuals import measure_residuals
from ..evaluation.tune_windows import tune_windows
from ..evaluation.zscore import fit_zscore
from ..loading.cache import Failure, PreparedCase, load_split, remove_cache
from ..loading.degrade import build_degradations
from ..progress import Progress, SilentProgress
from ..runs.pretrained import describe_init
from ..runs.provenance import describe_machine, write_cohort
from ..runs.recipe import Recipe, Training, merge_changes, recipe_from_tables, recipe_to_toml
from ..runs.run import Run, open_run
from .plan import Budget, for_noisy_images, plan
from .remedies import train_with_fixes
from .solve import solve, uses_solver
from .time_budget import TimeBudget, resume_time_budget
from .timing import decide_steps
from .trainer import Trainer

PLANNED_TIME_SHARE = 0.95
"""The share of the minutes that is planned with; the rest is for what nobody foresaw."""


@dataclass(frozen=True)
class FitResult:
    """The result of a fit: folder, evaluation, reason for the end, steps and seconds."""

    folder: Path
    evaluation: Evaluation
    ended_by: str
    steps: int
    seconds: float


@restore_threads()
def fit(
    cohort: Cohort,
    folder: Path | str,
    *,
    minutes: float = 20.0,
    steps: int = 0,
    n_folds: int = 0,
    changes: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | None = None,
    look: Look | None = None,
    allow_leak: bool = False,
    tracker: str | None = None,
    until_plateau: bool = False,
    auto_fix: bool = False,
    progress: Progress | None = None,
) -> FitResult | None:
    """Train a run on a cohort, and write it. Under ``torchrun``, all processes train it; rank 0 returns it.

    ``changes`` are the user's tables, merged over the plan. ``look`` is the survey of the data, for the report.
    With ``n_folds``, cross-validation trains so many models, each judged on its own validation patients; together
    they are an ensemble. With ``auto_fix``, training problems are fixed automatically, and the recipe records how.
    """
    began, started, processes = time.perf_counter(), timestamp(), join_process_group()
    progress, run = progress if progress and processes.is_main else SilentProgress(), Run(Path(folder))
    linked_cases = look.inseparable_pairs if look else ()
    if kind := (changes or {}).get("task", {}).get("kind"):
        settings = {"dims": cohort.dims, **{k: v for k, v in (changes or {})["task"].items() if k != "kind"}}
        task = registry.find("tasks", kind)(**settings)
        check_abnormal(cohort, getattr(task, "abnormal", ()))
        cohort = replace(cohort.serving(kind, task.truth), task=kind)
    if n_folds > 1 and cohort.truth == "pair":
        raise SettingError("Pairs of two patients cannot be parted into folds. Leave --folds out.")
    if n_folds > 1:
        cohorts = make_folds(cohort, n_folds, seed, keep_together=linked_cases)
    else:
        cohorts = (make_split(cohort, seed=seed, keep_together=linked_cases),)
    if processes.is_main:
        asked = Budget(minutes, steps, until_plateau)
        recipe = make_recipe(run, cohorts[0], look, asked, changes or {}, seed, progress)
        seen = look.as_dict() if look else {}
        write_cohort(run, cohorts, seen, allow_leak=allow_leak, survey=look.survey if look else None)
        run.write_facts(
            medgrad=VERSION, torch=torch.__version__, python=platform.python_version(), machine=describe_machine()
        )
        run.write_facts(
            started=started, seed=seed, processes=processes.size, command=" ".join(["medgrad", *sys.argv[1:]])
        )
    judged_cases: list[JudgedCase] = []
    n_test_cases = len(list_test_cases(cohort))
    for number, side in enumerate(cohorts):
        fold_run = Run(run.folder / f"fold-{number}") if n_folds > 1 else run
        if processes.is_main and not (fold_run.has_started and fold_run.recipe_file.exists()):
            fold_run.write_recipe(recipe)
        deadline = began + minutes * 60 * (number + 1) / len(cohorts) * PLANNED_TIME_SHARE
        options = FitOptions(deadline, n_test_cases, device or processes.device, tracker, auto_fix)
        ended, rows = train_one_model(fold_run, side, processes, options, progress)
        judged_cases += rows
    leave_process_group(processes)
    if not processes.is_main:
        return None
    first = (run.fold_runs or [run])[0].load_recipe()
    if n_folds > 1:
        run.write_recipe(first)
    evaluation = evaluate_fitted_run(run, cohorts[0], judged_cases, device=device, progress=progress)
    seconds = time.perf_counter() - began
    run.write_facts(finished=timestamp(), seconds=round(seconds, 1), ended_by=ended, steps=first.training.steps)
    return FitResult(run.folder, evaluation, ended, first.training.steps, seconds)


def check_abnormal(cohort: Cohort, names: Sequence[str]) -> None:
    """Raise if what a task calls abnormal is no label or class of a cohort."""
    for name in names:
        if name not in cohort.labels:
            known = f"has {', '.join(cohort.labels)}" if cohort.labels else "has neither masks nor classes"
            raise SettingError(
                f"'abnormal' names {name!r}, but {str(cohort.root)!r} {known}. "
                "Name its labels or classes, and leave --task out."
            )


def timestamp() -> str:
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
    if run.has_started and run.recipe_file.exists():
        progress.say("This run has begun before; it goes on with its own recipe.")
        return run.load_recipe()
    progress.say("Planning ...")
    modality = look.statistics.get("modality") if look else None
    survey = look.survey if look else None
    facts = gather_dataset_facts(cohort, modality=modality, survey=survey)
    gpu = torch.cuda.is_available()
    chosen = changes.get("model")
    model, body = (str(chosen.get(k, "")) if isinstance(chosen, Mapping) else "" for k in ("name", "body"))
    planned = merge_changes(plan(facts, budget, has_gpu=gpu, seed=seed, model=model, body=body), changes)
    return for_noisy_images(planned, changes)


@dataclass(frozen=True)
class FitOptions:
    """How one model is trained: deadline, number of test cases, device, tracker and automatic fixes."""

    deadline: float
    n_test_cases: int = 0
    device: str | None = None
    tracker: str | None = None
    auto_fix: bool = False


def train_one_model(
    run: Run, cohort: Cohort, processes: ProcessGroup, options: FitOptions, progress: Progress
) -> tuple[str, list[JudgedCase]]:
    """Train one model, calibrate it, and judge it on its validation cases."""
    recipe = broadcast_recipe(run.load_recipe() if processes.is_main else None, processes)
    task = recipe.build_task().without_calibration()
    compute = choose_device(recipe.training.precision, options.device)
    train_cases, validation_cases, failures = load_cases(run, cohort, recipe, progress)
    if processes.is_main:
        with_spacing = task.depends_on_spacing and all(table["name"] != "resample" for table in recipe.prepare)
        run.write_facts(inputs=collect_image_facts((p.original for p in train_cases), with_spacing=with_spacing))
    if not uses_solver(recipe):
        sampler = build_sampler(recipe.sampler, sampler_cases(p.case for p in train_cases))
        task = correct_priors(task, sampler.oversampling)
    recipe = replace(recipe, task=task.settings())
    if not uses_solver(recipe):
        recipe, ended = run_descent(
            Trainer(run, recipe, task, train_cases, validation_cases, compute, processes), options, progress
        )
    elif processes.is_main:  # a solver needs no team
        recipe, ended = solve(run, recipe, task, train_cases, validation_cases, compute, progress=progress)
    if not processes.is_main:
        return "", []
    progress.say(f"It ended because {ended}.")
    fit_zscore(run, task, train_cases)
    if nearest := show_nearest_patients(run.folder, open_run(run.folder, device=options.device), train_cases):
        run.write_facts(nearest_patients=nearest.as_dict())
    return ended, calibrate_and_validate(
        run, recipe, task, validation_cases, failures, device=options.device, progress=progress
    )


def calibrate_and_validate(
    run: Run,
    recipe: Recipe,
    task: Task,
    validation_cases: Sequence[PreparedCase],
    failures: Sequence[Failure],
    *,
    device: str | None,
    progress: Progress,
) -> list[JudgedCase]:
    """Judge a trained model on its validation cases, with tuned windows, and calibrate it on them."""
    trained, tuned = tune_windows(open_run(run.folder, device=device), validation_cases, progress)
    judged_cases = (
        judge_all(trained, validation_cases, failures, progress=progress, pictures_folder=run.folder)
        if validation_cases
        else []
    )
    task, judged_cases, report = fit_calibration(task, judged_cases)
    run.write_recipe(replace(recipe, task=task.settings(), inference=trained.recipe.inference))
    planted = plant_and_judge(trained, validation_cases, build_degradations(recipe.augment, task))
    facts = {"overlap": tuned, "planted_lesions": planted, "residuals": measure_residuals(trained, validation_cases)}
    run.write_facts(calibration=report, **{name: found.as_dict() for name, found in facts.items() if found})
    remove_cache(run.folder / "cache")
    return judged_cases


def run_descent(trainer: Trainer, options: FitOptions, progress: Progress) -> tuple[Recipe, str]:
    """Train by gradient descent; return the recipe that was followed, and the reason for the end."""
    run, processes = trainer.run, trainer.processes
    if processes.is_main and trainer.recipe.init and not run.last_checkpoint.exists():
        progress.say(describe_init(run.read_facts()["init"]))
    time_budget = load_time_budget(run)
    if not trainer.recipe.training.steps:
        recipe, time_budget = decide_steps(trainer, options.deadline, options.n_test_cases, progress)
        trainer.recipe = broadcast_recipe(recipe, processes)
    if processes.is_main:
        run.write_recipe(trainer.recipe)
        run.write_facts(parameters=sum(p.numel() for p in trainer.network.parameters()))
        if time_budget:
            run.write_facts(pace=time_budget.state())
    trackers = (
        [registry.find("engine.training.trackers", options.tracker)(run.folder)]
        if options.tracker and processes.is_main
        else []
    )
    with progress.bar("Learning") as bar:
        ended = train_with_fixes(
            trainer,
            auto_fix=options.auto_fix,
            on_message=progress.say,
            on_step=bar,
            trackers=trackers,
            time_budget=time_budget,
        )
    if trainer.recipe.training.replanned:
        progress.say(describe_replans(trainer.recipe.training))
    return trainer.recipe, ended


def load_time_budget(run: Run) -> TimeBudget | None:
    """Resume the time budget of an interrupted run; None where its steps were not planned by time."""
    state = run.read_facts().get("pace") if run.has_started else None
    return resume_time_budget(state) if state else None


def describe_replans(training: Training) -> str:
    """Describe how the planned steps and threads changed during training."""
    (_, threads, first), *later = training.replanned
    counts = [threads, *(t for _, t, _ in later)]
    switches = sum(a != b for a, b in pairwise(counts))
    return (
        f"The machine did not keep its pace: {first} steps were planned and {training.steps} taken; "
        f"the number of threads changed {switches} times. The recipe says when."
    )


def broadcast_recipe(recipe: Recipe | None, processes: ProcessGroup) -> Recipe:
    """Broadcast the recipe of rank 0 to every process."""
    return recipe_from_tables(tomllib.loads(processes.broadcast(recipe_to_toml(recipe) if recipe is not None else "")))


def load_cases(
    run: Run, cohort: Cohort, recipe: Recipe, progress: Progress
) -> tuple[list[PreparedCase], list[PreparedCase], list[Failure]]:
    """Load and prepare training and validation cases; training cases that fail are reported and left out."""
    steps, task = build_steps(recipe.prepare), recipe.build_task()
    training_cases, training_failures = load_split(cohort, "train", steps, run.folder, progress, (), task)
    degradations = build_degradations(recipe.augment, task)
    validation_cases, validation_failures = load_split(cohort, "val", steps, run.folder, progress, degradations, task)
    for failure in [*training_failures, *validation_failures]:
        progress.say(f"Case {failure.id!r} failed: {failure.reason}")
    if training_failures:
        run.write_facts(left_out=[{"case": f.id, "why": f.reason} for f in training_failures])
    if unfit := len(cohort.in_splits("train").entries) - len(training_cases) - len(training_failures):
        progress.say(f"{unfit} training cases are left out: the task learns from none like them.")
    if not training_cases:
        raise LayoutError(f"No training case of {str(cohort.root)!r} can be learned from. See the lines above.")
    return training_cases, validation_cases, validation_failures


def list_test_cases(cohort: Cohort) -> list[Entry]:
    """List the test cases that have a truth."""
    return [e for e in cohort.entries if e.split == "test" and e.truth is not None]


VALIDATION_WARNING = (
    "These cases also chose the best weights and the temperature, so the figures may be a little too good. "
    "Judge on cases of their own with evaluate."
)


def evaluate_fitted_run(
    run: Run,
    cohort: Cohort,
    judged_cases: Sequence[JudgedCase],
    *,
    device: str | None,
    progress: Progress,
    messages: Sequence[str] = (VALIDATION_WARNING,),
) -> Evaluation:
    """Evaluate on the test cases, or on the validation cases where there are none, and write the evaluation.

    The given messages are shown beside the figures of validation cases.
    """
    trained = open_run(run.folder, device=device)
    split = "val"
    if list_test_cases(cohort):
        degradations = build_degradations(trained.recipe.augment, trained.task)
        ready, failures = load_split(
            cohort, "test", trained.prepare_steps, run.folder, progress, degradations, trained.task
        )
        judged_cases, split = judge_all(trained, ready, failures, progress=progress, pictures_folder=run.folder), "test"
        remove_cache(run.folder / "cache")
        messages = ()
    if not judged_cases:
        raise LayoutError("There is neither a validation nor a test case with a truth to judge by.")
    calibration = run.read_facts().get("calibration")
    evaluation = summarise_evaluation(
        trained.task, judged_cases, split=split, messages=messages, calibration=calibration
    )
    write_evaluation(run.folder, evaluation)
    return evaluation
