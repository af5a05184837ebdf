"""Prune a run: find the smallest network that is non-inferior to its parent, and write it as a run of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import torch

from ..data.atomic_files import write_text
from ..engine.compute.device import restore_threads
from ..engine.evaluation.compare import resample_summariser
from ..engine.evaluation.evaluate import JudgedCase
from ..engine.evaluation.judge import judge_all
from ..engine.loading.cache import remove_cache
from ..engine.progress import Progress, SilentProgress
from ..engine.runs.provenance import describe_machine, write_cohort
from ..engine.runs.run import Run, open_run
from ..engine.runs.training_data import read_recorded_cohort
from ..engine.training.fit import (
    PLANNED_TIME_SHARE,
    calibrate_and_validate,
    evaluate_fitted_run,
    list_test_cases,
    timestamp,
)
from ..errors import SettingError
from ..models import layer_widths
from ..tasks import Task
from ..trust.noninferiority import NonInferiority
from ..trust.paired import compare
from ..version import VERSION
from .search.baselines import NARROW_BASELINES, baseline_names, train_baseline
from .search.fold import FoldCandidate
from .search.parents import Candidate, Parents, widths_by_fold
from .search.selection import AUTOMATIC, ChannelSelection
from .search.stage_plan import best_at_depth, estimate_time_needed, is_noninferior
from .search.stages import SearchBudget, SearchState, run_search
from .search.target import Target

MAX_TIME_FACTOR = 10
"""What takes more than so many times as long is not foretold in minutes."""
FINISH_FACTOR = 1.5
"""Calibrating and judging what was chosen takes so many times as long as judging its parent did."""


@restore_threads()
def prune(
    run: Path | str,
    out: Path | str,
    *,
    target: str = "flops=0.1",
    margin: float = 0.01,
    minutes: float = 20.0,
    steps: int = 0,
    selection: ChannelSelection | None = None,
    baselines: bool = True,
    all_baselines: bool = False,
    force_target: bool = False,
    distill_weight: float | None = None,
    data: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Prune a run to ``target``, or to the smallest network that is non-inferior to it within ``margin``.

    Half of the validation patients select the checkpoint and the stage; the reported figures are those of the
    other half. Pruning goes in stages: each removes the least important channels and then trains again. A network
    that is not shown to be within the margin (paired by patient, one-sided 95 %) trains on while the ``minutes``
    (or the ``steps``) last, or a size between it and the last non-inferior one is tried. With ``force_target`` the
    target is reached whatever it costs. ``distill_weight`` is the distillation weight; by default distillation is tried
    where it may pay. With ``baselines`` a narrow network is trained from scratch after the search, for as long.
    With ``all_baselines`` pruning by magnitude and at random is run as well, each for as long again.

    The folds of a run are pruned side by side. Each is judged by the patients that it was not trained on and
    distilled from its own parent. A stage is judged by all folds together.
    """
    clock, began, progress, folder = time.perf_counter(), timestamp(), progress or SilentProgress(), Path(out)
    search_target, requested = Target.parse(target).with_soft_time(), Target.parse(target)
    if folder.exists() and any(folder.iterdir()) and not (folder / "rungs").exists():
        raise SettingError(f"{str(folder)!r} is not empty. Name a new folder for the pruned run.")
    parents = Parents(Path(run), data, margin, device, seed, progress)
    progress.say(describe_patients(parents))
    baseline_list = [n for n in baseline_names(parents) if n in NARROW_BASELINES or all_baselines] if baselines else []
    if "narrow" in baseline_list and not steps:
        progress.say(f"A narrow network learns for {minutes:g} minutes after the search; --no-baselines leaves it out.")
    selection = selection or ChannelSelection(automatic=AUTOMATIC)
    effort = SearchBudget(
        steps,
        clock + 60 * minutes * PLANNED_TIME_SHARE - estimate_finish_seconds(parents),
        minutes,
        distill_weight,
        force_target,
        seed,
    )
    state = run_search(parents, search_target, selection, effort, folder / "rungs" / "search")
    number = state.best_index(force_target=force_target)
    if number is None:
        raise no_candidate_error(state)
    chosen, weight = state.children[number], state.weight if state.stages[number].taught else 0.0
    trained_baselines, settled_selection = list[Candidate](), replace(selection, **state.choice, automatic=())
    for name in baseline_list:
        budget = replace(effort, distill_weight=weight, deadline=time.perf_counter() + state.time)
        trained_baselines.append(
            train_baseline(name, parents, requested, chosen, budget, settled_selection, folder / "rungs" / name)
        )
    summary = {
        "parent": str(parents.folder), "target": target, "margin": margin, "criterion": selection.criterion,
        "minutes": minutes, "unused": round(state.left / (1 if state.counts_steps else 60), 2),
        "aim": parents.task.primary_metric,
        "chosen": number, "reached": requested.is_reached(chosen, parents),
        "rungs": [c.as_dict() | asdict(s) for c, s in zip(state.children, state.stages, strict=True)],
        "decided": {**state.choice, "layers": state.gone, "taught": weight},
        "missed": describe_missed_target(state, chosen, requested, parents),
        "patients": {"chose": parents.patients("chooses"), "reported": parents.patients("reported")},
        "widths": chosen.widths, "before": original_widths(parents, chosen),
    }  # fmt: skip
    return write_pruned_run(parents, chosen, trained_baselines, folder, summary, began)


def estimate_finish_seconds(parents: Parents) -> float:
    """Estimate the seconds to calibrate and evaluate the selected network, test cases included."""
    valid, tests = (
        sum(len(some(c)) for c in parents.cohorts) for some in (lambda c: c.in_splits("val").entries, list_test_cases)
    )
    return FINISH_FACTOR * parents.judging_seconds * (1 + tests / max(1, valid))


def describe_patients(parents: Parents) -> str:
    """Say how many validation patients select the network and how many are reported."""
    chose, reported = (set(parents.patients(which)) for which in ("chooses", "reported"))
    if chose & reported:
        return f"The validation patients ({len(chose)}) are too few to be parted: the same choose and are reported."
    return f"{format_patient_count(len(chose))} choose, and {len(reported)} others are reported."


def format_patient_count(count: int) -> str:
    """Count validation patients in words."""
    return f"{count} validation patient{'s' if count != 1 else ''}"


def no_candidate_error(state: SearchState) -> SettingError:
    """Make the error for a search without a non-inferior network: the nearest one, and the time it still needs."""
    ended = state.results
    nearest = min(range(len(ended)), key=lambda n: ended[n].bound)
    child, more = state.children[nearest], estimate_time_needed(ended, ended[nearest].stage.down)
    return SettingError(
        f"No smaller network was shown to be as good: {child.verdict}. {describe_more_time(state, more)} "
        "Give the same command "
        "more --minutes and it goes on, or a wider --margin, or --force-target the target whatever it costs."
    )


def describe_more_time(state: SearchState, needed_time: float) -> str:
    """Say how much more training is needed, extrapolated from the course of the score."""
    if not isfinite(needed_time):
        return "By the course of its score more learning would not do: more patients would have to choose."
    if needed_time > MAX_TIME_FACTOR * state.time:
        return f"By the course of its score it would take more than {MAX_TIME_FACTOR} times as long."
    unit, count = ("step", ceil(needed_time)) if state.counts_steps else ("minute", ceil(needed_time / 60))
    return f"By the course of its score about {count} more {unit}{'s' if count > 1 else ''} of learning would do."


def describe_missed_target(
    state: SearchState, candidate: Candidate, target: Target, parents: Parents
) -> dict[str, Any] | None:
    """Describe the loss at the smallest size reached and the time still needed; None where the target was reached."""
    ended = state.results
    lowest = max(e.stage.down for e in ended)
    if target.is_reached(candidate, parents) or is_noninferior(ended, best_at_depth(ended, lowest)):
        return None
    child = state.children[ended.index(best_at_depth(ended, lowest))]
    needed_time = estimate_time_needed(ended, lowest)
    says = (
        f"At {child.cost.flops / parents.cost.flops:.1%} of the work {child.verdict}. "
        f"{describe_more_time(state, needed_time)}"
    )
    unit = "steps" if state.counts_steps else "minutes"
    return {
        "loss": child.verdict.loss,
        "says": says,
        "more": (needed_time / 60 if unit == "minutes" else needed_time) if isfinite(needed_time) else None,
        "unit": unit,
    }


def original_widths(parents: Parents, candidate: Candidate) -> dict[str, list[int]]:
    """Give the parents' widths of the layers that were narrowed."""
    whole = widths_by_fold([layer_widths(fold.network) for fold in parents.folds])
    return {name: whole.get(name, []) for name in candidate.widths}


def write_pruned_run(
    parents: Parents,
    selected: Candidate,
    trained_baselines: Sequence[Candidate],
    folder: Path,
    summary: Mapping[str, Any],
    started: str,
) -> dict[str, Any]:
    """Write the selected network as a run: calibrate it, evaluate it, and return the summary of ``pruned.json``."""
    run, known = Run(folder), read_recorded_cohort(parents.folder)
    judged: list[list[JudgedCase]] = []
    for fold, fold_candidate, place in zip(parents.folds, selected.folds, parents.fold_folders(folder), strict=True):
        fold_run, chooses, reported = copy_run(fold_candidate, place), fold.selection_subset, fold.report_subset
        if Run(fold.folder).zscore_file.exists():
            shutil.copy2(Run(fold.folder).zscore_file, fold_run.zscore_file)
        calibrate_and_validate(
            fold_run,
            fold_run.load_recipe(),
            fold.task,
            chooses.cases,
            chooses.failed,
            device=fold.device,
            progress=fold.progress,
        )
        remove_cache(fold_run.folder / "pictures")
        trained = open_run(fold_run.folder, device=fold.device)
        judged.append(
            judge_all(trained, reported.cases, reported.failed, progress=fold.progress, pictures_folder=fold_run.folder)
        )
        fold_run.write_facts(parameters=fold_candidate.cost.parameters, pruned_from=str(fold.folder))
        fold_run.write_facts(inputs=Run(fold.folder).read_facts().get("inputs", {}))
        remove_cache(fold.folder / "pruning")
    first = (run.fold_runs or [run])[0].load_recipe()
    run.write_recipe(first)
    write_cohort(run, parents.cohorts, known.get("look", {}), allow_leak=bool(known.get("allow_leak")))
    run.write_facts(medgrad=VERSION, torch=torch.__version__, machine=describe_machine(), started=started)
    run.write_facts(parameters=selected.cost.parameters, pruned_from=str(parents.folder))
    every = [j for each in judged for j in each]
    words = selection_notes(parents)
    evaluate_fitted_run(
        run, parents.cohorts[0], every, device=parents.device, progress=parents.progress, messages=words
    )
    child = parents.compare_with_parents(selected.method, selected.folds, "reported", judged)
    summary = {
        **summary,
        "whole": {**asdict(parents.cost), "milliseconds": parents.milliseconds, "score": parents.score("reported"),
                  "chose": parents.score("chooses")},
        "best": child.as_dict(),
        "patients_needed": patients_needed(child.verdict),
        "controls": [c.as_dict() | {"paired": paired_difference(child, c, parents.task)} for c in trained_baselines],
    }  # fmt: skip
    write_text(folder / "pruned.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    run.write_facts(finished=timestamp(), ended_by="it was pruned and had learned again", steps=first.training.steps)
    remove_cache(folder / "rungs")
    return summary


def patients_needed(verdict: NonInferiority) -> int | None:
    """Estimate how many patients are needed to show that an equal network is non-inferior; None where there are enough.

    The distance from a loss to its bound falls with the root of the number of patients.

    >>> patients_needed(NonInferiority("dice", 0.004, 0.034, 0.01, False, 40))
    360
    """
    width = verdict.bound - verdict.loss
    needed = ceil(round(verdict.n * (width / verdict.margin) ** 2, 6)) if isfinite(width) else None
    return needed if needed is not None and not verdict.holds and needed > verdict.n else None


def paired_difference(selected: Candidate, baseline: Candidate, task: Task) -> dict[str, Any]:
    """Give the difference between the selected network and another one, with the 95 % interval, paired by patient."""
    rows = [[j.row for j in child.judged] for child in (baseline, selected)]
    (found,) = compare(
        *rows,
        patients=[j.patient for j in selected.judged],
        names=[task.primary_metric],
        pool_many=resample_summariser(task, rows[0]),
    )
    return {name: getattr(found, name) for name in ("difference", "low", "high", "n")}


def selection_notes(parents: Parents) -> list[str]:
    """Say which patients selected the network that is reported."""
    chose, reported = parents.patients("chooses"), parents.patients("reported")
    if set(chose) & set(reported):
        return []
    return [
        f"{format_patient_count(len(chose))} chose the size, the weights and the calibration; the figures "
        f"are of {len(reported)} "
        "others. All of them chose the weights of the parent, so its figure may be a little too good."
    ]


def copy_run(candidate: FoldCandidate, folder: Path) -> Run:
    """Copy the weights, recipe and step log of a pruned network to a new run."""
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("weights", "recipe.toml", "steps.jsonl"):
        source = candidate.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    start_weights = folder / "weights" / "begin.safetensors"
    if start_weights.exists():
        run.write_recipe(replace(run.load_recipe(), init={"weights": str(start_weights.resolve())}))
    return run
