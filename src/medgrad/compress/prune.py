"""Search the smallest network whose score is not inferior to its parent's, and make it a run of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..engine.cache import clear
from ..engine.checkpoint import write_text
from ..engine.device import threads_kept
from ..engine.evaluate import Judged
from ..engine.fit import conclude_run, now, settle
from ..engine.home import recorded
from ..engine.record import machine, write_cohort
from ..engine.run import Run
from ..engine.teller import Silent, Teller
from ..errors import SettingError
from ..models._narrow import widths
from ..version import VERSION
from ._controls import CONTROLS, control
from ._ground import Part
from ._parents import Child, Parents, named
from .choice import Choice
from .goal import Goal, cost
from .stages import Ladder, climb


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
    reach: bool = False,
    taught: float = 0.5,
    data: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    teller: Teller | None = None,
) -> dict[str, Any]:
    """Make a run that costs as little as the ``target`` says, or as little as it can while no worse than by ``margin``.

    The way down goes in rungs. At each the channels that matter least are removed, and what is left learns again, also
    from its parent, whose answers make so much of the loss as is ``taught``. A rung whose score is not shown to be
    within the margin (paired by patient, one-sided 95 %) ends the search, unless it is to ``reach`` the target whatever
    it costs. The ``minutes`` (or the ``steps``) are parted equally between the search and each of the ``controls``: the
    same way down by magnitude and by chance, and a narrow network that learns from nothing.

    The folds of a run are pruned side by side, each judged by the patients that it did not learn from and taught by its
    own parent; a rung counts by all of them together, so that no few patients decide how small is too small.
    """
    began, teller, folder, goal = now(), teller or Silent(), Path(out), Goal.of(target)
    if folder.exists() and any(folder.iterdir()) and not (folder / "rungs").exists():
        raise SettingError(f"{str(folder)!r} is not empty. Name a new folder for the pruned run.")
    parents = Parents(Path(run), data, margin, device, teller)
    ways = 1 + len(CONTROLS) if controls else 1
    ladder = Ladder(minutes / ways, steps // ways, taught=taught, stops=not reach, seed=seed)
    choice = choice or Choice()
    rungs = climb(parents, goal, choice, ladder, folder / "rungs" / "search")
    good = [c for c in rungs if c.verdict.holds or reach]
    if not good:
        raise SettingError(
            f"No smaller network was shown to be as good: {rungs[0].verdict}. Give more minutes or a wider --margin, "
            "or --reach the target whatever it costs."
        )
    best = min(good, key=lambda child: cost(child, goal.first))
    made = [
        control(name, parents, goal, best, ladder, choice, folder / "rungs" / name) for name in CONTROLS if controls
    ]
    told = {
        "parent": str(parents.folder), "target": target, "margin": margin, "criterion": choice.criterion,
        "minutes": minutes, "aim": parents.task.aim,
        "chosen": rungs.index(best), "reached": goal.reached(best, parents),
        "whole": {**vars(parents.cost), "milliseconds": parents.milliseconds, "score": parents.score},
        "rungs": [c.as_dict() for c in rungs], "controls": [c.as_dict() for c in made],
        "widths": best.widths, "before": widths_before(parents, best),
    }  # fmt: skip
    finish(parents, best, folder, told, began)
    return told


def widths_before(parents: Parents, child: Child) -> dict[str, list[int]]:
    """Give the widths that the parents' layers have, of those that lost any."""
    whole = named([widths(ground.network) for ground in parents.each])
    return {name: whole.get(name, []) for name in child.widths}


def finish(parents: Parents, best: Child, folder: Path, told: Mapping[str, Any], began: str) -> None:
    """Make what was chosen a run of its own: calibrated, judged, with its cases and with what was told."""
    run, known = Run(folder), recorded(parents.folder)
    judged: list[Judged] = []
    for ground, part, place in zip(parents.each, best.each, parents.places(folder), strict=True):
        one = copied(part, place)
        judged += settle(
            one, one.recipe(), ground.task, ground.valid, ground.lost, device=ground.device, teller=ground.teller
        )
        one.note(parameters=part.cost.parameters, pruned_from=str(ground.folder))
        one.note(inputs=Run(ground.folder).noted().get("inputs", {}))
        clear(ground.folder / "pruning")
    first = (run.folds or [run])[0].recipe()
    run.write_recipe(first)
    write_cohort(run, parents.cohorts, known.get("look", {}), allow_leak=bool(known.get("allow_leak")))
    run.note(medgrad=VERSION, torch=torch.__version__, machine=machine(), started=began)
    run.note(parameters=best.cost.parameters, pruned_from=str(parents.folder))
    conclude_run(run, parents.cohorts[0], judged, device=parents.device, teller=parents.teller)
    write_text(folder / "pruned.json", json.dumps(told, indent=1) + "\n")
    run.note(finished=now(), ended_by="it was pruned and had learned again", steps=first.training.steps)
    clear(folder / "rungs")


def copied(part: Part, folder: Path) -> Run:
    """Copy a network with what it learned by; its recipe begins with the weights that are copied too."""
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("weights", "recipe.toml", "steps.jsonl"):
        source = part.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    begin = folder / "weights" / "begin.safetensors"
    if begin.exists():
        run.write_recipe(replace(run.recipe(), start={"weights": str(begin.resolve())}))
    return run
