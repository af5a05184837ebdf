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
from ...errors import Diverged, SettingError
from ...prepare import build_steps
from ...survey.dataset import Look
from ...tasks import Task
from ...trust.holm import holm
from ..compute.device import choose, threads_kept
from ..evaluation.evaluate import Row
from ..loading.cache import clear, load_side
from ..progress import Progress, Silent
from ..runs.recipe import Recipe, merged
from ..runs.run import Run
from ..training.dataset_facts import gather
from ..training.pace import Pace
from ..training.plan import Budget, plan
from ..training.step_log import read_lines
from ..training.timing import FEWEST_CASES, time_steps
from ..training.trainer import Trainer, learn
from .candidates import GRID, Entrant, Search, by_grid, by_optuna
from .over_seeds import estimate, paired
from .parallel import Where, parallel_map

SHOWN = 0.05
"""Another rate than an optimiser's own is taken where chance would do as well in less than this share of cases."""
TURNS = 3
"""So often is a step of each entrant timed."""
SEARCH = 0.25
"""The share of a run's minutes that each rate is tried for."""
ROUNDS = 12
"""How often the curve of a run is measured."""


@dataclass(frozen=True)
class RaceSetup:
    """What all candidates share: cases, recipe, task, device and seconds of a run."""

    folder: Path
    recipe: Recipe
    task: Task
    cases: Sequence[Any]
    valid: Sequence[Any]
    seconds: float
    device: str | None = None
    most_threads: int = 1

    @property
    def patients(self) -> list[str]:
        """The patient of each validation case."""
        return [p.original.patient or p.original.id for p in self.valid]

    def learner(self, name: str, recipe: Recipe) -> Trainer:
        """Build the trainer of one run of the race, in a folder of its own."""
        place = choose(recipe.training.precision, self.device)
        return Trainer(Run(self.folder / name), recipe, self.task, self.cases, self.valid, place)


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


@threads_kept()
def race(
    cohort: Cohort,
    folder: Path | str,
    *,
    optimisers: Sequence[str],
    minutes: float = 5.0,
    seeds: int = 3,
    changes: Mapping[str, Any] | None = None,
    rates: Sequence[float] = GRID,
    trials: int = 0,
    seed: int = 0,
    device: str | None = None,
    where: Where = "here",
    look: Look | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare optimisers on a cohort, each trained for ``minutes`` a run, and write a table with intervals and tests.

    Each rate of a small grid is tried for a quarter of that time; the best rate, its neighbours and the
    optimiser's default run for all of it. Then the default rate, or one that is significantly better, runs from
    each of the seeds. With ``trials`` the rate and the weight decay are searched by optuna instead. A race that
    was interrupted resumes. ``where`` is "here", one run after another, or "ray", in parallel on a cluster.
    """
    progress = progress or Silent()
    entrants = [Entrant(name) for name in dict.fromkeys(optimisers)]
    if len(entrants) < 2:
        raise SettingError("A race needs at least two optimisers, such as --optimisers sgd,adamw.")
    ground = prepare_race(cohort, Path(folder), entrants, minutes, changes or {}, seed, device, look, progress)
    chosen: dict[str, tuple[Recipe, int, float]] = {}
    seconds = timed_in_turns(ground, [e for e in entrants if not rate_file(ground, e).exists()])
    for entrant in entrants:
        each = seconds.get(entrant.name, 0.0)
        chosen[entrant.name] = tune_rate(ground, entrant, each, Search(rates, trials, where), progress)
    jobs = []
    for number in range(seeds):
        for name, (recipe, steps, each) in chosen.items():
            jobs.append((f"{name}/seed-{number}", name, recipe.with_training(steps=steps, seed=seed + number), each))
    runs: list[Trial] = []
    for trial in parallel_map(run_once, ground, jobs, where=where):
        runs.append(trial)
        progress.say(told(trial, ground.task.primary_metric))
    found = judged(ground, runs, minutes)
    write_text(ground.folder / "race.json", json.dumps(found, indent=1) + "\n")
    return found


def prepare_race(
    cohort: Cohort,
    folder: Path,
    entrants: Sequence[Entrant],
    minutes: float,
    changes: Mapping[str, Any],
    seed: int,
    device: str | None,
    look: Look | None,
    progress: Progress,
) -> RaceSetup:
    """Plan the recipe, load the cases, and check every candidate before the first run."""
    side = make_split(cohort, seed=seed, together=look.together if look else ())
    modality = look.fingerprint.get("modality") if look else None
    planned = plan(gather(side, modality=modality), Budget(minutes), gpu=torch.cuda.is_available(), seed=seed)
    recipe = merged(planned, changes).with_training(validations=ROUNDS)
    for entrant in entrants:
        merged(recipe, entrant.changes)
    steps = build_steps(recipe.prepare)
    cases, _ = load_side(side, "train", steps, folder, progress)
    valid, _ = load_side(side, "val", steps, folder, progress)
    if not cases or not valid:
        raise SettingError("A race needs training cases and validation cases that can be read.")
    task = recipe.build_task()
    ground = RaceSetup(folder, recipe, task, cases, valid, minutes * 60, device)
    step = time_steps(ground.learner("timing", recipe))
    shown = min(max(8, FEWEST_CASES.get(task.outputs.shape, 8)), len(valid))
    recipe = recipe.with_training(threads=step.threads, validation_cases=shown)
    return replace(ground, recipe=recipe, most_threads=step.most)


def rate_file(ground: RaceSetup, entrant: Entrant) -> Path:
    """Return the path of the file that stores a candidate's tuned rate."""
    return ground.folder / entrant.name / "rate.json"


def timed_in_turns(ground: RaceSetup, entrants: Sequence[Entrant]) -> dict[str, float]:
    """Time a step of each candidate in seconds, in turns, so that other load on the machine affects all alike."""
    found: dict[str, list[float]] = {e.name: [] for e in entrants}
    for _ in range(TURNS):
        for entrant in entrants:
            recipe = merged(ground.recipe, entrant.changes)
            try:
                step = time_steps(ground.learner(f"{entrant.name}/timing", recipe))
            except Diverged:
                step = time_steps(ground.learner(f"{entrant.name}/timing", at(recipe, {"rate": 1e-6})))
            found[entrant.name].append(step.seconds)
    return {name: median(seconds) for name, seconds in found.items()}


def tune_rate(
    ground: RaceSetup, entrant: Entrant, each: float, search: Search, progress: Progress
) -> tuple[Recipe, int, float]:
    """Tune a candidate's learning rate by short runs; return its recipe, number of steps and seconds a step."""
    recipe = merged(ground.recipe, entrant.changes)
    path = rate_file(ground, entrant)
    if path.exists():
        known = json.loads(path.read_text())
        return at(recipe, known["optimiser"]), known["steps"], known["seconds_a_step"]
    short = max(10, int(SEARCH * ground.seconds / each))

    def tried(asked: Sequence[Mapping[str, Any]]) -> list[float]:
        jobs = []
        for settings in asked:
            name = "-".join(f"{k}-{v:.3g}" for k, v in settings.items())
            changed = at(recipe, settings).with_training(steps=short, validations=1)
            jobs.append((f"{entrant.name}/{name}", entrant.name, changed, each))
        found = []
        for trial in parallel_map(run_once, ground, jobs, where=search.where):
            progress.say(told(trial, ground.task.primary_metric))
            found.append(trial.figure if trial.figure is not None else -1.0)
        return found

    found = by_optuna(entrant, tried, search.trials) if search.trials else by_grid(entrant, tried, search.rates)
    steps = max(10, int(ground.seconds / each))
    whole = recipe.with_training(steps=steps)
    best = found[0] if len(found) == 1 else run_full(ground, entrant, whole, each, found, progress)
    write_text(path, json.dumps({"optimiser": best, "steps": steps, "seconds_a_step": each}) + "\n")
    return at(recipe, best), steps, each


def at(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with other optimiser settings; the rate boost of short runs stays as planned."""
    return merged(recipe, {"optimiser": dict(settings)}).with_training(brief=recipe.training.brief)


def run_full(
    ground: RaceSetup,
    entrant: Entrant,
    recipe: Recipe,
    each: float,
    found: Sequence[dict[str, Any]],
    progress: Progress,
) -> dict[str, Any]:
    """Run the best settings of the short runs and the default rate at full length; return the settings to use.

    Another rate replaces the default only if the paired test shows that it is better. Its run is kept as seed 0.
    """
    every = [*found, *([] if any(is_close(f["rate"], entrant.rate) for f in found) else [{"rate": entrant.rate}])]
    trials = []
    for number, settings in enumerate(every):
        name = f"{entrant.name}/final-{number}"
        trials.append(run_once(ground, name, entrant.name, at(recipe, settings), each))
        progress.say(told(trials[-1], ground.task.primary_metric))
    place = pick_significantly_better(
        ground, trials, next(i for i, f in enumerate(every) if is_close(f["rate"], entrant.rate))
    )
    clear(ground.folder / entrant.name / "seed-0")
    shutil.move(ground.folder / entrant.name / f"final-{place}", ground.folder / entrant.name / "seed-0")
    return every[place]


def is_close(one: float, other: float) -> bool:
    """Tell whether two rates are equal up to rounding."""
    return abs(one - other) < 0.01 * other


def pick_significantly_better(ground: RaceSetup, trials: Sequence[Trial], own: int) -> int:
    """Choose the best of some trials, or the default one unless the best is significantly better."""
    figures = [-1.0 if t.figure is None else t.figure for t in trials]
    best = max(range(len(trials)), key=lambda i: figures[i])
    if best == own or figures[own] < 0:
        return best
    test = paired(ground.task, [trials[own].rows], [trials[best].rows], ground.patients)
    return best if test["p"] < SHOWN else own


def run_once(ground: RaceSetup, name: str, entrant: str, recipe: Recipe, each: float) -> Trial:
    """Train one run and judge it on every validation case; a finished run at this rate is read from its file."""
    path = ground.folder / name / "trial.json"
    if path.exists():
        known = json.loads(path.read_text())
        if known["rate"] == recipe.optimiser.get("rate", known["rate"]):
            return Trial(**known | {"curve": tuple(tuple(p) for p in known["curve"]), "rows": tuple(known["rows"])})
        clear(ground.folder / name)
    learner = ground.learner(name, recipe)
    learner.run.write_recipe(recipe)
    rate, seed, why = float(learner.optimiser.param_groups[0]["lr"]), recipe.training.seed, ""
    rows: list[Row] = []
    try:
        learn(learner, pace=Pace(most=ground.most_threads))
        rows = [dict(j.row) for j in learner.judged(len(learner.valid))]
    except Diverged as reason:
        why = str(reason)
    figure = ground.task.summarise(rows).get(ground.task.primary_metric) if rows else None
    curve = curve_of(read_lines(learner.run.steps_file))
    trial = Trial(entrant, rate, seed, recipe.training.steps, each, figure, curve, tuple(rows), why)
    write_text(path, json.dumps(asdict(trial)) + "\n")
    return trial


def curve_of(lines: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, float, float], ...]:
    """Return (step, seconds of training so far, metric) of each validation."""
    seconds, found = 0.0, []
    for line in lines:
        seconds += float(line.get("seconds", 0.0)) if "loss" in line else 0.0
        for value in line.get("valid", {}).values():
            if isinstance(value, (int, float)):
                found.append((int(line["step"]) + 1, round(seconds, 3), float(value)))
    return tuple(found)


def told(trial: Trial, aim: str) -> str:
    """Describe one trial in a sentence."""
    ended = f"{aim} {trial.figure:.4f}" if trial.figure is not None else f"failed: {trial.why}"
    return f"{trial.entrant}, rate {trial.rate:.2g}, {trial.steps} steps, seed {trial.seed}: {ended}"


def judged(ground: RaceSetup, runs: Sequence[Trial], minutes: float) -> dict[str, Any]:
    """Summarise the trials of each candidate, sort them, and test the best against each other one."""
    patients = ground.patients
    aim = ground.task.primary_metric
    every: dict[str, list[Trial]] = {}
    for trial in runs:
        every.setdefault(trial.entrant, []).append(trial)
    table: list[dict[str, Any]] = []
    for name, trials in every.items():
        whole = [t.rows for t in trials if t.figure is not None]
        value, low, high = estimate(ground.task, whole, patients) if len(whole) == len(trials) else (None, None, None)
        table.append({
            "entrant": name, "rate": trials[0].rate, "steps": trials[0].steps,
            "seconds_a_step": trials[0].seconds_a_step, "value": value, "low": low, "high": high,
            "by_seed": [t.figure for t in trials], "failed": len(trials) - len(whole), "n": len(set(patients)),
            "curves": [t.curve for t in trials],
        })  # fmt: skip
    table.sort(key=lambda row: -1.0 if row["value"] is None else -row["value"])
    table = [r for r in table if r["value"] is not None] + [r for r in table if r["value"] is None]
    winner = table[0]["entrant"]
    others = [r for r in table[1:] if r["value"] is not None]
    tests = [
        paired(ground.task, [t.rows for t in every[r["entrant"]]], [t.rows for t in every[winner]], patients)
        for r in others
    ]
    for row, test, p in zip(others, tests, holm([t["p"] for t in tests]), strict=True):
        row["behind"] = test | {"p_holm": p}
    return {
        "aim": aim,
        "minutes": minutes,
        "seeds": len(every[winner]),
        "cases": len(patients),
        "patients": len(set(patients)),
        "on_the_way": ground.recipe.training.validation_cases,
        "winner": winner,
        "table": table,
        "when": time.strftime("%Y-%m-%d"),
    }
