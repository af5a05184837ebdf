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
from ..engine.compute.device import threads_kept
from ..engine.evaluation.compare import pooling
from ..engine.evaluation.evaluate import Judged
from ..engine.evaluation.judge import judge_all
from ..engine.loading.cache import clear
from ..engine.progress import Progress, Silent
from ..engine.runs.provenance import machine, write_cohort
from ..engine.runs.run import Run, open_run
from ..engine.runs.training_data import recorded
from ..engine.training.fit import SPARE, calibrate_and_validate, conclude_run, now, tests_of
from ..errors import SettingError
from ..models import widths
from ..tasks import Task
from ..trust.noninferiority import NonInferiority
from ..trust.paired import compare
from ..version import VERSION
from .search.baselines import NARROW, control, controls_of
from .search.fold import Part
from .search.parents import Child, Parents, named
from .search.selection import FREE, Choice
from .search.stage_plan import best, is_good, more_time
from .search.stages import Effort, Search, search
from .search.target import Target

SENSIBLE = 10
"""What takes more than so many times as long is not foretold in minutes."""
FINISHING = 1.5
"""Calibrating and judging what was chosen takes so many times as long as judging its parent did."""


@threads_kept()
def prune(
    run: Path | str,
    out: Path | str,
    *,
    target: str = "flops=0.1",
    margin: float = 0.01,
    minutes: float = 20.0,
    steps: int = 0,
    choice: Choice | None = None,
    controls: bool = True,
    all_controls: bool = False,
    reach: bool = False,
    taught: float | None = None,
    data: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Prune a run to ``target``, or to the smallest network that is non-inferior to it within ``margin``.

    Half of the validation patients select the checkpoint and the stage; the reported figures are those of the
    other half. Pruning goes in stages: each removes the least important channels and then trains again. A network
    that is not shown to be within the margin (paired by patient, one-sided 95 %) trains on while the ``minutes``
    (or the ``steps``) last, or a size between it and the last non-inferior one is tried. With ``reach`` the
    target is reached whatever it costs. ``taught`` is the distillation weight; by default distillation is tried
    where it may pay. With ``controls`` a narrow network is trained from scratch after the search, for as long.
    With ``all_controls`` pruning by magnitude and at random is run as well, each for as long again.

    The folds of a run are pruned side by side. Each is judged by the patients that it was not trained on and
    distilled from its own parent. A stage is judged by all folds together.
    """
    clock, began, progress, folder = time.perf_counter(), now(), progress or Silent(), Path(out)
    goal, asked = Target.of(target).quick(), Target.of(target)
    if folder.exists() and any(folder.iterdir()) and not (folder / "rungs").exists():
        raise SettingError(f"{str(folder)!r} is not empty. Name a new folder for the pruned run.")
    parents = Parents(Path(run), data, margin, device, seed, progress)
    progress.say(told_patients(parents))
    others = [n for n in controls_of(parents) if n in NARROW or all_controls] if controls else []
    if "narrow" in others and not steps:
        progress.say(f"A narrow network learns for {minutes:g} minutes after the search; --no-baselines leaves it out.")
    choice = choice or Choice(free=FREE)
    effort = Effort(steps, clock + 60 * minutes * SPARE - finishing(parents), minutes, taught, reach, seed)
    kept = search(parents, goal, choice, effort, folder / "rungs" / "search")
    number = kept.best(reach=reach)
    if number is None:
        raise none_good(kept)
    chosen, weight = kept.children[number], kept.weight if kept.stages[number].taught else 0.0
    made, settled = list[Child](), replace(choice, **kept.choice, free=())
    for name in others:
        same = replace(effort, taught=weight, deadline=time.perf_counter() + kept.time)
        made.append(control(name, parents, asked, chosen, same, settled, folder / "rungs" / name))
    told = {
        "parent": str(parents.folder), "target": target, "margin": margin, "criterion": choice.criterion,
        "minutes": minutes, "unused": round(kept.left / (1 if kept.counts_steps else 60), 2),
        "aim": parents.task.primary_metric,
        "chosen": number, "reached": asked.reached(chosen, parents),
        "rungs": [c.as_dict() | asdict(s) for c, s in zip(kept.children, kept.stages, strict=True)],
        "decided": {**kept.choice, "layers": kept.gone, "taught": weight},
        "missed": missed(kept, chosen, asked, parents),
        "patients": {"chose": parents.patients("chooses"), "reported": parents.patients("reported")},
        "widths": chosen.widths, "before": widths_before(parents, chosen),
    }  # fmt: skip
    return finish(parents, chosen, made, folder, told, began)


def finishing(parents: Parents) -> float:
    """Estimate the seconds to calibrate and evaluate the selected network, test cases included."""
    valid, tests = (sum(len(some(c)) for c in parents.cohorts) for some in (lambda c: c.of("val").entries, tests_of))
    return FINISHING * parents.judging_seconds * (1 + tests / max(1, valid))


def told_patients(parents: Parents) -> str:
    """Say how many validation patients select the network and how many are reported."""
    chose, reported = (set(parents.patients(which)) for which in ("chooses", "reported"))
    if chose & reported:
        return f"The validation patients ({len(chose)}) are too few to be parted: the same choose and are reported."
    return f"{patients(len(chose))} choose, and {len(reported)} others are reported."


def patients(count: int) -> str:
    """Count validation patients in words."""
    return f"{count} validation patient{'s' if count != 1 else ''}"


def none_good(kept: Search) -> SettingError:
    """Make the error for a search without a non-inferior network: the nearest one, and the time it still needs."""
    ended = kept.ended
    near = min(range(len(ended)), key=lambda n: ended[n].bound)
    child, more = kept.children[near], more_time(ended, ended[near].stage.down)
    return SettingError(
        f"No smaller network was shown to be as good: {child.verdict}. {told_more(kept, more)} Give the same command "
        "more --minutes and it goes on, or a wider --margin, or --force-target the target whatever it costs."
    )


def told_more(kept: Search, more: float) -> str:
    """Say how much more training is needed, extrapolated from the course of the score."""
    if not isfinite(more):
        return "By the course of its score more learning would not do: more patients would have to choose."
    if more > SENSIBLE * kept.time:
        return f"By the course of its score it would take more than {SENSIBLE} times as long."
    unit, count = ("step", ceil(more)) if kept.counts_steps else ("minute", ceil(more / 60))
    return f"By the course of its score about {count} more {unit}{'s' if count > 1 else ''} of learning would do."


def missed(kept: Search, chosen: Child, goal: Target, parents: Parents) -> dict[str, Any] | None:
    """Describe the loss at the smallest size reached and the time still needed; None where the target was reached."""
    ended = kept.ended
    lowest = max(e.stage.down for e in ended)
    if goal.reached(chosen, parents) or is_good(ended, best(ended, lowest)):
        return None
    child = kept.children[ended.index(best(ended, lowest))]
    more = more_time(ended, lowest)
    says = f"At {child.cost.flops / parents.cost.flops:.1%} of the work {child.verdict}. {told_more(kept, more)}"
    unit = "steps" if kept.counts_steps else "minutes"
    return {"loss": child.verdict.loss, "says": says,
            "more": (more / 60 if unit == "minutes" else more) if isfinite(more) else None, "unit": unit}  # fmt: skip


def widths_before(parents: Parents, child: Child) -> dict[str, list[int]]:
    """Give the parents' widths of the layers that were narrowed."""
    whole = named([widths(ground.network) for ground in parents.each])
    return {name: whole.get(name, []) for name in child.widths}


def finish(
    parents: Parents, best: Child, made: Sequence[Child], folder: Path, told: Mapping[str, Any], began: str
) -> dict[str, Any]:
    """Write the selected network as a run: calibrate it, evaluate it, and return the summary of ``pruned.json``."""
    run, known = Run(folder), recorded(parents.folder)
    judged: list[list[Judged]] = []
    for ground, part, place in zip(parents.each, best.each, parents.places(folder), strict=True):
        one, chooses, reported = copied(part, place), ground.chooses, ground.reported
        calibrate_and_validate(
            one, one.recipe(), ground.task, chooses.cases, chooses.lost, device=ground.device, progress=ground.progress
        )
        clear(one.folder / "pictures")
        trained = open_run(one.folder, device=ground.device)
        judged.append(judge_all(trained, reported.cases, reported.lost, progress=ground.progress, pictures=one.folder))
        one.note(parameters=part.cost.parameters, pruned_from=str(ground.folder))
        one.note(inputs=Run(ground.folder).noted().get("inputs", {}))
        clear(ground.folder / "pruning")
    first = (run.folds or [run])[0].recipe()
    run.write_recipe(first)
    write_cohort(run, parents.cohorts, known.get("look", {}), allow_leak=bool(known.get("allow_leak")))
    run.note(medgrad=VERSION, torch=torch.__version__, machine=machine(), started=began)
    run.note(parameters=best.cost.parameters, pruned_from=str(parents.folder))
    every = [j for each in judged for j in each]
    words = told_of(parents)
    conclude_run(run, parents.cohorts[0], every, device=parents.device, progress=parents.progress, told=words)
    child = parents.beside(best.made, best.each, "reported", judged)
    told = {
        **told,
        "whole": {**asdict(parents.cost), "milliseconds": parents.milliseconds, "score": parents.score("reported"),
                  "chose": parents.score("chooses")},
        "best": child.as_dict(),
        "patients_needed": patients_needed(child.verdict),
        "controls": [c.as_dict() | {"paired": paired(child, c, parents.task)} for c in made],
    }  # fmt: skip
    write_text(folder / "pruned.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
    run.note(finished=now(), ended_by="it was pruned and had learned again", steps=first.training.steps)
    clear(folder / "rungs")
    return told


def patients_needed(verdict: NonInferiority) -> int | None:
    """Estimate how many patients are needed to show that an equal network is non-inferior; None where there are enough.

    The distance from a loss to its bound falls with the root of the number of patients.

    >>> patients_needed(NonInferiority("dice", 0.004, 0.034, 0.01, False, 40))
    360
    """
    width = verdict.bound - verdict.loss
    needed = ceil(round(verdict.n * (width / verdict.margin) ** 2, 6)) if isfinite(width) else None
    return needed if needed is not None and not verdict.holds and needed > verdict.n else None


def paired(best: Child, other: Child, task: Task) -> dict[str, Any]:
    """Give the difference between the selected network and another one, with the 95 % interval, paired by patient."""
    rows = [[j.row for j in child.judged] for child in (other, best)]
    (found,) = compare(
        *rows, patients=[j.patient for j in best.judged], names=[task.primary_metric], pool_many=pooling(task, rows[0])
    )
    return {name: getattr(found, name) for name in ("difference", "low", "high", "n")}


def told_of(parents: Parents) -> list[str]:
    """Say which patients selected the network that is reported."""
    chose, reported = parents.patients("chooses"), parents.patients("reported")
    if set(chose) & set(reported):
        return []
    return [
        f"{patients(len(chose))} chose the size, the weights and the calibration; the figures are of {len(reported)} "
        "others. All of them chose the weights of the parent, so its figure may be a little too good."
    ]


def copied(part: Part, folder: Path) -> Run:
    """Copy the weights, recipe and step log of a pruned network to a new run."""
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("weights", "recipe.toml", "steps.jsonl"):
        source = part.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    begin = folder / "weights" / "begin.safetensors"
    if begin.exists():
        run.write_recipe(replace(run.recipe(), start={"weights": str(begin.resolve())}))
    return run
