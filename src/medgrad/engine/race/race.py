"""Race of optimisers: the same data in the same order, the same search for a learning rate, the same training time."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ...data.atomic_files import write_text
from ...data.cohorts import Cohort
from ...data.cohorts.split import split as make_split
from ...data.run_files import read_steps
from ...errors import Diverged, SettingError
from ...prepare import build_steps
from ...survey.dataset import Look
from ...survey.dataset_facts import gather_dataset_facts
from ...tasks import Task
from ...trust.holm import adjust_p_values
from ..compute.device import choose_device, restore_threads
from ..evaluation.evaluate import Row
from ..loading.cache import load_split, remove_cache
from ..loading.degrade import build_degradations
from ..progress import Progress, SilentProgress
from ..runs.recipe import Recipe, merge_changes
from ..runs.run import Run
from ..training.plan import Budget, plan
from ..training.time_budget import TimeBudget
from ..training.timing import MIN_VALIDATION_CASES, time_steps
from ..training.trainer import Trainer, run_training
from .candidates import RATE_FACTORS, Candidate, RateSearch, search_grid, search_with_optuna
from .parallel_map import Executor, parallel_map
from .seed_statistics import estimate_mean, paired

MAX_P_VALUE = 0.05
"""Another rate than an optimiser's own is taken where chance would do as well in less than this share of cases."""
TIMING_ROUNDS = 3
"""So often is a step of each entrant timed."""
SEARCH_TIME_SHARE = 0.25
"""The share of a run's minutes that each rate is tried for."""
N_VALIDATIONS = 12
"""How often the curve of a run is measured."""


@dataclass(frozen=True)
class RaceSetup:
    """What all candidates share: cases, recipe, task, device and seconds of a run."""

    folder: Path
    recipe: Recipe
    task: Task
    training_cases: Sequence[Any]
    validation_cases: Sequence[Any]
    run_seconds: float
    device: str | None = None
    max_threads: int = 1

    @property
    def patients(self) -> list[str]:
        """The patient of each validation case."""
        return [p.original.patient or p.original.id for p in self.validation_cases]

    def make_trainer(self, name: str, recipe: Recipe) -> Trainer:
        """Build the trainer of one run of the race, in a folder of its own."""
        place = choose_device(recipe.training.precision, self.device)
        return Trainer(Run(self.folder / name), recipe, self.task, self.training_cases, self.validation_cases, place)


@dataclass(frozen=True)
class Trial:
    """One finished run: its primary metric (None: it failed), its curve (step, seconds, metric) and its rows."""

    entrant: str
    rate: float
    seed: int
    steps: int
    seconds_a_step: float
    figure: float | None
    curve: tuple[tuple[int, float, float], ...] = ()
    rows: tuple[Row, ...] = ()
    why: str = ""


@restore_threads()
def race(
    cohort: Cohort,
    folder: Path | str,
    *,
    optimisers: Sequence[str],
    minutes_per_run: float = 5.0,
    n_seeds: int = 3,
    changes: Mapping[str, Any] | None = None,
    rate_factors: Sequence[float] = RATE_FACTORS,
    n_trials: int = 0,
    seed: int = 0,
    device: str | None = None,
    executor: Executor = "here",
    look: Look | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare optimisers on a cohort, each trained ``minutes_per_run``, and write a table with intervals and tests.

    Each rate of a small grid is tried for a quarter of that time; the best rate, its neighbours and the
    optimiser's default run for all of it. Then the default rate, or one that is significantly better, runs from
    each of the seeds. With ``n_trials`` the rate and the weight decay are searched by optuna instead. A race that
    was interrupted resumes. ``executor`` is "here", one run after another, or "ray", in parallel on a cluster.
    """
    progress = progress or SilentProgress()
    candidates = [Candidate(name) for name in dict.fromkeys(optimisers)]
    if len(candidates) < 2:
        raise SettingError("A race needs at least two optimisers, such as --optimisers sgd,adamw.")
    setup = prepare_race(cohort, Path(folder), candidates, minutes_per_run, changes or {}, seed, device, look, progress)
    tuned: dict[str, tuple[Recipe, int, float]] = {}
    seconds = time_candidates(setup, [e for e in candidates if not rate_path(setup, e).exists()])
    for entrant in candidates:
        each = seconds.get(entrant.name, 0.0)
        tuned[entrant.name] = tune_rate(setup, entrant, each, RateSearch(rate_factors, n_trials, executor), progress)
    jobs = []
    for number in range(n_seeds):
        for name, (recipe, steps, each) in tuned.items():
            jobs.append((f"{name}/seed-{number}", name, recipe.with_training(steps=steps, seed=seed + number), each))
    runs: list[Trial] = []
    for trial in parallel_map(run_once, setup, jobs, executor=executor):
        runs.append(trial)
        progress.say(describe_trial(trial, setup.task.primary_metric))
    result = rank_candidates(setup, runs, minutes_per_run)
    write_text(setup.folder / "race.json", json.dumps(result, indent=1) + "\n")
    return result


def prepare_race(
    cohort: Cohort,
    folder: Path,
    candidates: Sequence[Candidate],
    minutes_per_run: float,
    changes: Mapping[str, Any],
    seed: int,
    device: str | None,
    look: Look | None,
    progress: Progress,
) -> RaceSetup:
    """Plan the recipe, load the cases, and check every candidate before the first run."""
    split_cohort = make_split(cohort, seed=seed, keep_together=look.inseparable_pairs if look else ())
    modality = look.statistics.get("modality") if look else None
    planned = plan(
        gather_dataset_facts(split_cohort, modality=modality),
        Budget(minutes_per_run),
        has_gpu=torch.cuda.is_available(),
        seed=seed,
    )
    recipe = merge_changes(planned, changes).with_training(validations=N_VALIDATIONS)
    for entrant in candidates:
        merge_changes(recipe, entrant.recipe_changes)
    steps = build_steps(recipe.prepare)
    task = recipe.build_task()
    cases, _ = load_split(split_cohort, "train", steps, folder, progress, (), task)
    degradations = build_degradations(recipe.augment, task)
    validation_cases, _ = load_split(split_cohort, "val", steps, folder, progress, degradations, task)
    if not cases or not validation_cases:
        raise SettingError("A race needs training cases and validation cases that can be read.")
    setup = RaceSetup(folder, recipe, task, cases, validation_cases, minutes_per_run * 60, device)
    step = time_steps(setup.make_trainer("timing", recipe))
    n_shown_cases = min(max(8, MIN_VALIDATION_CASES.get(task.outputs.shape, 8)), len(validation_cases))
    recipe = recipe.with_training(threads=step.threads, validation_cases=n_shown_cases)
    return replace(setup, recipe=recipe, max_threads=step.max_threads)


def rate_path(setup: RaceSetup, candidate: Candidate) -> Path:
    """Return the path of the file that stores a candidate's tuned rate."""
    return setup.folder / candidate.name / "rate.json"


def time_candidates(setup: RaceSetup, candidates: Sequence[Candidate]) -> dict[str, float]:
    """Time a step of each candidate in seconds, in turns, so that other load on the machine affects all alike."""
    found: dict[str, list[float]] = {e.name: [] for e in candidates}
    for _ in range(TIMING_ROUNDS):
        for entrant in candidates:
            recipe = merge_changes(setup.recipe, entrant.recipe_changes)
            try:
                step = time_steps(setup.make_trainer(f"{entrant.name}/timing", recipe))
            except Diverged:
                step = time_steps(
                    setup.make_trainer(f"{entrant.name}/timing", with_optimiser_settings(recipe, {"rate": 1e-6}))
                )
            found[entrant.name].append(step.seconds)
    return {name: median(seconds) for name, seconds in found.items()}


def tune_rate(
    setup: RaceSetup, candidate: Candidate, step_seconds: float, search: RateSearch, progress: Progress
) -> tuple[Recipe, int, float]:
    """Tune a candidate's learning rate by short runs; return its recipe, number of steps and seconds a step."""
    recipe = merge_changes(setup.recipe, candidate.recipe_changes)
    path = rate_path(setup, candidate)
    if path.exists():
        known = json.loads(path.read_text())
        return with_optimiser_settings(recipe, known["optimiser"]), known["steps"], known["seconds_a_step"]
    short = max(10, int(SEARCH_TIME_SHARE * setup.run_seconds / step_seconds))

    def try_settings(settings_to_try: Sequence[Mapping[str, Any]]) -> list[float]:
        jobs = []
        for settings in settings_to_try:
            name = "-".join(f"{k}-{v:.3g}" for k, v in settings.items())
            changed = with_optimiser_settings(recipe, settings).with_training(steps=short, validations=1)
            jobs.append((f"{candidate.name}/{name}", candidate.name, changed, step_seconds))
        found = []
        for trial in parallel_map(run_once, setup, jobs, executor=search.executor):
            progress.say(describe_trial(trial, setup.task.primary_metric))
            found.append(trial.figure if trial.figure is not None else -1.0)
        return found

    found = (
        search_with_optuna(candidate, try_settings, search.trials)
        if search.trials
        else search_grid(candidate, try_settings, search.factors)
    )
    steps = max(10, int(setup.run_seconds / step_seconds))
    whole = recipe.with_training(steps=steps)
    best = found[0] if len(found) == 1 else run_full_length(setup, candidate, whole, step_seconds, found, progress)
    write_text(path, json.dumps({"optimiser": best, "steps": steps, "seconds_a_step": step_seconds}) + "\n")
    return with_optimiser_settings(recipe, best), steps, step_seconds


def with_optimiser_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with other optimiser settings; the rate boost of short runs stays as planned."""
    return merge_changes(recipe, {"optimiser": dict(settings)}).with_training(
        boost_below_steps=recipe.training.boost_below_steps
    )


def run_full_length(
    setup: RaceSetup,
    candidate: Candidate,
    recipe: Recipe,
    step_seconds: float,
    best_settings: Sequence[dict[str, Any]],
    progress: Progress,
) -> dict[str, Any]:
    """Run the best settings of the short runs and the default rate at full length; return the settings to use.

    Another rate replaces the default only if the paired test shows that it is better. Its run is kept as seed 0.
    """
    settings_to_run = [
        *best_settings,
        *(
            []
            if any(is_same_rate(f["rate"], candidate.default_rate) for f in best_settings)
            else [{"rate": candidate.default_rate}]
        ),
    ]
    trials = []
    for number, settings in enumerate(settings_to_run):
        name = f"{candidate.name}/final-{number}"
        trials.append(run_once(setup, name, candidate.name, with_optimiser_settings(recipe, settings), step_seconds))
        progress.say(describe_trial(trials[-1], setup.task.primary_metric))
    best_index = pick_significantly_better(
        setup, trials, next(i for i, f in enumerate(settings_to_run) if is_same_rate(f["rate"], candidate.default_rate))
    )
    remove_cache(setup.folder / candidate.name / "seed-0")
    shutil.move(setup.folder / candidate.name / f"final-{best_index}", setup.folder / candidate.name / "seed-0")
    return settings_to_run[best_index]


def is_same_rate(rate: float, other: float) -> bool:
    """Tell whether two rates are equal up to rounding."""
    return abs(rate - other) < 0.01 * other


def pick_significantly_better(setup: RaceSetup, trials: Sequence[Trial], default_index: int) -> int:
    """Choose the best of some trials, or the default one unless the best is significantly better."""
    figures = [-1.0 if t.figure is None else t.figure for t in trials]
    best = max(range(len(trials)), key=lambda i: figures[i])
    if best == default_index or figures[default_index] < 0:
        return best
    test = paired(setup.task, [trials[default_index].rows], [trials[best].rows], setup.patients)
    return best if test["p"] < MAX_P_VALUE else default_index


def run_once(setup: RaceSetup, name: str, candidate_name: str, recipe: Recipe, step_seconds: float) -> Trial:
    """Train one run and judge it on every validation case; a finished run at this rate is read from its file."""
    path = setup.folder / name / "trial.json"
    if path.exists():
        known = json.loads(path.read_text())
        if known["rate"] == recipe.optimiser.get("rate", known["rate"]):
            return Trial(**known | {"curve": tuple(tuple(p) for p in known["curve"]), "rows": tuple(known["rows"])})
        remove_cache(setup.folder / name)
    trainer = setup.make_trainer(name, recipe)
    trainer.run.write_recipe(recipe)
    rate, seed, failure_reason = float(trainer.optimiser.param_groups[0]["lr"]), recipe.training.seed, ""
    rows: list[Row] = []
    try:
        run_training(trainer, time_budget=TimeBudget(max_threads=setup.max_threads))
        rows = [dict(j.row) for j in trainer.judge_validation_cases(len(trainer.validation_cases))]
    except Diverged as reason:
        failure_reason = str(reason)
    figure = setup.task.summarise(rows).get(setup.task.primary_metric) if rows else None
    curve = validation_curve(read_steps(trainer.run.steps_file))
    trial = Trial(
        candidate_name, rate, seed, recipe.training.steps, step_seconds, figure, curve, tuple(rows), failure_reason
    )
    write_text(path, json.dumps(asdict(trial)) + "\n")
    return trial


def validation_curve(step_lines: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, float, float], ...]:
    """Return (step, seconds of training so far, metric) of each validation."""
    seconds, found = 0.0, []
    for line in step_lines:
        seconds += float(line.get("seconds", 0.0)) if "loss" in line else 0.0
        for value in line.get("valid", {}).values():
            if isinstance(value, (int, float)):
                found.append((int(line["step"]) + 1, round(seconds, 3), float(value)))
    return tuple(found)


def describe_trial(trial: Trial, metric: str) -> str:
    """Describe one trial in a sentence."""
    ended = f"{metric} {trial.figure:.4f}" if trial.figure is not None else f"failed: {trial.why}"
    return f"{trial.entrant}, rate {trial.rate:.2g}, {trial.steps} steps, seed {trial.seed}: {ended}"


def rank_candidates(setup: RaceSetup, all_trials: Sequence[Trial], minutes: float) -> dict[str, Any]:
    """Summarise the trials of each candidate, sort them, and test the best against each other one."""
    patients = setup.patients
    metric = setup.task.primary_metric
    trials_by_candidate: dict[str, list[Trial]] = {}
    for trial in all_trials:
        trials_by_candidate.setdefault(trial.entrant, []).append(trial)
    table: list[dict[str, Any]] = []
    for name, trials in trials_by_candidate.items():
        finished_rows = [t.rows for t in trials if t.figure is not None]
        value, low, high = (
            estimate_mean(setup.task, finished_rows, patients)
            if len(finished_rows) == len(trials)
            else (None, None, None)
        )
        table.append({
            "entrant": name, "rate": trials[0].rate, "steps": trials[0].steps,
            "seconds_a_step": trials[0].seconds_a_step, "value": value, "low": low, "high": high,
            "by_seed": [t.figure for t in trials], "failed": len(trials) - len(finished_rows), "n": len(set(patients)),
            "curves": [t.curve for t in trials],
        })  # fmt: skip
    table.sort(key=lambda row: -1.0 if row["value"] is None else -row["value"])
    table = [r for r in table if r["value"] is not None] + [r for r in table if r["value"] is None]
    winner = table[0]["entrant"]
    others = [r for r in table[1:] if r["value"] is not None]
    tests = [
        paired(
            setup.task,
            [t.rows for t in trials_by_candidate[r["entrant"]]],
            [t.rows for t in trials_by_candidate[winner]],
            patients,
        )
        for r in others
    ]
    for row, test, p in zip(others, tests, adjust_p_values([t["p"] for t in tests]), strict=True):
        row["behind"] = test | {"p_holm": p}
    return {
        "aim": metric,
        "minutes": minutes,
        "seeds": len(trials_by_candidate[winner]),
        "cases": len(patients),
        "patients": len(set(patients)),
        "on_the_way": setup.recipe.training.validation_cases,
        "winner": winner,
        "table": table,
        "when": time.strftime("%Y-%m-%d"),
    }
