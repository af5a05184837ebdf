"""Search the smallest network whose score is not inferior to its parent's, and make it a run of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil, log
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from .. import registry
from ..engine.cache import clear
from ..engine.checkpoint import write_text
from ..engine.device import threads_kept
from ..engine.fit import Way, conclude_run, descend, now, settle, tests_of
from ..engine.home import recorded
from ..engine.learn import Learner
from ..engine.recipe import Recipe
from ..engine.record import machine, write_cohort
from ..engine.run import Run
from ..engine.teller import Silent, Teller
from ..errors import SettingError
from ..version import VERSION
from ._ground import Child, Ground
from .channels import What, chosen, cut, importance
from .graph import graph_of

WHAT = {"flops": "flops", "parameters": "parameters", "size": "bytes", "bytes": "bytes", "latency": "milliseconds"}
STRIDE = 0.4
"""Each rung of the ladder costs at least so much of the one before: who loses little at a time forgets little."""
LAST = 3.0
"""The last rung learns so many times longer than each before it."""
SHOWN = 24
"""So many batches tell a criterion what matters."""
HALVINGS = 7
"""So often is the interval halved in which the share of the work lies that takes so much of the time."""


@dataclass(frozen=True)
class Goal:
    """How small: the ``share`` that may be left of ``what`` the parent costs.

    >>> Goal.of("flops=0.1")
    Goal(what='flops', share=0.1)
    """

    what: str
    share: float

    @classmethod
    def of(cls, text: str) -> Goal:
        """Read a goal as it is typed."""
        what, _, number = text.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if what not in WHAT or not 0 < share < 1:
            raise SettingError(f"A target is {', '.join(WHAT)} and a share below 1, as in flops=0.1, not {text!r}.")
        return cls(WHAT[what], share)

    def of_cost(self, child: Child | Ground) -> float:
        """Give what a network costs, in what the goal is about."""
        return float(child.milliseconds if self.what == "milliseconds" else getattr(child.cost, self.what))


@dataclass(frozen=True)
class Choice:
    """How the channels that go are chosen, and that each layer keeps at least so many, a ``multiple`` of a number.

    ``relative`` holds the channels of a layer only against one another.
    """

    criterion: str = "taylor"
    settings: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False
    least: int = 4
    multiple: int = 1


@dataclass(frozen=True)
class Ladder:
    """How the way down is parted: minutes (or steps) in all, the share of what is taught by the parent in the loss, and
    whether a bad rung ends it.
    """

    minutes: float
    steps: int = 0
    taught: float = 0.5
    stops: bool = True
    seed: int = 0


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
    data: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    teller: Teller | None = None,
) -> dict[str, Any]:
    """Make a run that costs as little as the ``target`` says, or as little as it can while no worse than by ``margin``.

    The way down goes in rungs. At each the channels that matter least are removed, and what is left learns again, also
    from its parent. A rung whose score is not shown to be within the margin (paired by patient, one-sided 95 %) ends
    the search, unless it is to ``reach`` the target whatever it costs. The ``minutes`` (or the ``steps``) are parted
    equally between the search and each of the ``controls``: the same way down by magnitude and by chance, and a narrow
    network that learns from nothing.
    """
    from ._controls import CONTROLS, control

    began, teller, folder, goal = now(), teller or Silent(), Path(out), Goal.of(target)
    if folder.exists() and any(folder.iterdir()) and not (folder / "rungs").exists():
        raise SettingError(f"{str(folder)!r} is not empty. Name a new folder for the pruned run.")
    ground = Ground(Path(run), data, margin, device, teller)
    ways = 1 + len(CONTROLS) if controls else 1
    ladder = Ladder(minutes / ways, steps // ways, stops=not reach, seed=seed)
    choice = choice or Choice()
    rungs = climb(ground, goal, choice, ladder, folder / "rungs" / "search")
    good = [c for c in rungs if c.verdict.holds or reach]
    if not good:
        raise SettingError(
            f"No smaller network was shown to be as good: {rungs[0].verdict}. Give more minutes or a wider --margin, "
            "or --reach the target whatever it costs."
        )
    best = min(good, key=goal.of_cost)
    made = [control(name, ground, goal, best, ladder, choice, folder / "rungs" / name) for name in CONTROLS if controls]
    told = {
        "parent": str(ground.folder), "target": target, "margin": margin, "criterion": choice.criterion,
        "minutes": minutes, "aim": ground.task.aim, "chosen": rungs.index(best), "reached": reached(goal, ground, best),
        "whole": {**vars(ground.cost), "milliseconds": ground.milliseconds, "score": ground.score},
        "rungs": [c.as_dict() for c in rungs], "controls": [c.as_dict() for c in made],
        "widths": {k: list(v) for k, v in best.widths.items()}, "before": widths_before(ground, best),
    }  # fmt: skip
    finish(ground, best, folder, told, began)
    return told


def reached(goal: Goal, ground: Ground, child: Child) -> bool:
    """Tell whether a network costs as little as was asked for; times are noisy, so a tenth more will do."""
    slack = 1.1 if goal.what == "milliseconds" else 1.0
    return goal.of_cost(child) <= slack * goal.share * goal.of_cost(ground)


def climb(ground: Ground, goal: Goal, choice: Choice, ladder: Ladder, folder: Path) -> list[Child]:
    """Go down rung by rung, and give every network on the way; after a bad one, one between it and the last good."""
    count = max(1, ceil(log(goal.share) / log(STRIDE)))
    shares = [goal.share ** ((i + 1) / count) for i in range(count)]
    parts = [*[1.0] * (count - 1), LAST]
    recipe, network, found = ground.recipe, ground.network, list[Child]()
    for number, share in enumerate(shares):
        last = number == count - 1
        ground.teller.say(f"Rung {number + 1} of {count}: {share:.1%} of the {goal.what}.")
        run = Run(folder / str(number))
        shrink(ground, network, recipe, Goal(goal.what, share), choice, run, ladder)
        child, network = learned(ground, run, ladder, parts[number] / sum(parts), choice.criterion)
        recipe = run.recipe()
        found.append(child)
        ground.teller.say(f"{child.score:.4f}, its parent {ground.score:.4f}. {child.verdict}")
        if ladder.stops and not child.verdict.holds and not last:
            ground.teller.say("That is too small, so the search ends here.")
            break
    return found


def shrink(
    ground: Ground, network: nn.Module, recipe: Recipe, goal: Goal, choice: Choice, run: Run, ladder: Ladder
) -> None:
    """Remove the channels that matter least, and write down the recipe with which what is left learns."""
    if run.has_begun:
        return
    learner = Learner(Run(run.folder / "seen"), recipe, ground.task, ground.train, ground.valid, ground.place)
    criterion = registry.find("compress.criteria", choice.criterion)(**choice.settings)
    network = network.to(ground.place.device)
    scores = criterion(network, ground.task, lambda: islice(learner.batches(0), SHOWN))
    network = network.cpu()
    graph = graph_of(network, ground.example)
    weigh = importance(graph.groups, {k: v.cpu() for k, v in scores.items()}, relative=choice.relative)

    def without(what: What, part: float) -> tuple[nn.Module, dict[str, list[int]]]:
        gone = chosen(graph, weigh, target=part, cost=what, least=choice.least, multiple=choice.multiple)
        return cut(network, gone)

    if goal.what == "milliseconds":
        smaller, widths = within_time(ground, goal.share * ground.milliseconds, without)
    else:
        what: What = goal.what  # type: ignore[assignment]
        left = goal.share * getattr(ground.cost, what) / graph.costs[what].whole
        smaller, widths = without(what, min(1.0, left))
    write_child(ground, recipe, smaller, widths, run, ladder)


def within_time(ground: Ground, limit: float, without: Any) -> tuple[nn.Module, dict[str, list[int]]]:
    """Find the largest network that answers within so many milliseconds, by halving the interval of its work."""
    low, high, best = 0.0, 1.0, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        try:
            found = without("flops", middle)
        except SettingError:  # smaller than it can be
            low = middle
            continue
        if ground.timed(found[0]) <= limit:
            low, best = middle, found
        else:
            high = middle
    if best is None:
        raise SettingError(f"No network of this kind answers within {limit:.1f} ms here. Aim for a larger share.")
    return best


def write_child(
    ground: Ground, recipe: Recipe, smaller: nn.Module, widths: Mapping[str, Sequence[int]], run: Run, ladder: Ladder
) -> None:
    """Write the recipe of a child, and the weights that it begins with."""
    begin = run.folder / "weights" / "begin.safetensors"
    begin.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in smaller.state_dict().items()}, begin)
    teaching = ({"name": "taught", "run": str(ground.folder.resolve()), "weight": ladder.taught},)
    own = tuple(g for g in recipe.gradients if g["name"] != "taught")
    child = replace(
        recipe,
        task=ground.task.settings(),
        widths={**recipe.widths, **widths},
        start={"weights": str(begin.resolve())},
        gradients=(*(teaching if ladder.taught and can_be_taught(ground) else ()), *own),
    ).with_training(steps=0, threads=0, seed=recipe.training.seed + ladder.seed)
    run.write_recipe(child)


def can_be_taught(ground: Ground) -> bool:
    """Tell whether the parent can teach: a detector in two stages chooses its candidates itself."""
    return getattr(ground.task, "detector", "") != "two_stage"


def learned(ground: Ground, run: Run, ladder: Ladder, share: float, made: str) -> tuple[Child, nn.Module]:
    """Let the network of a recipe learn for a share of the time, and hold it against its parent."""
    recipe = run.recipe()
    if ladder.steps and not run.has_begun:
        recipe = recipe.with_training(steps=max(1, round(share * ladder.steps)))
    deadline = time.perf_counter() + 60 * share * ladder.minutes
    learner = Learner(run, recipe, ground.task, ground.train, ground.valid, ground.place)
    descend(learner, Way(deadline, len(tests_of(ground.cohort)), ground.device), ground.teller)
    return ground.child(made, run)


def widths_before(ground: Ground, child: Child) -> dict[str, list[int]]:
    """Give the widths that the parent's layers have, of those that lost any."""
    from ..models._narrow import widths

    whole = widths(ground.network)
    return {name: whole[name] for name in child.widths}


def finish(ground: Ground, best: Child, folder: Path, told: Mapping[str, Any], began: str) -> None:
    """Make the chosen network a run of its own: calibrated, judged, with its cases and with what was told."""
    run = Run(folder)
    for name in ("weights", "recipe.toml", "steps.jsonl"):
        source = best.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    recipe = best_recipe(run)
    run.write_recipe(recipe)
    known = recorded(ground.folder)
    write_cohort(run, (ground.cohort,), known.get("look", {}), allow_leak=bool(known.get("allow_leak")))
    run.note(medgrad=VERSION, torch=torch.__version__, machine=machine(), started=began)
    run.note(parameters=best.cost.parameters, pruned_from=str(ground.folder))
    judged = settle(run, recipe, ground.task, ground.valid, ground.lost, device=ground.device, teller=ground.teller)
    conclude_run(run, ground.cohort, judged, device=ground.device, teller=ground.teller)
    write_text(folder / "pruned.json", json.dumps(told, indent=1) + "\n")
    run.note(finished=now(), ended_by="it was pruned and had learned again", steps=recipe.training.steps)
    clear(folder / "rungs")
    clear(ground.folder / "pruning")


def best_recipe(run: Run) -> Recipe:
    """Give the recipe of a copied run, which begins with the weights that were copied too."""
    recipe = run.recipe()
    begin = run.folder / "weights" / "begin.safetensors"
    return replace(recipe, start={"weights": str(begin.resolve())}) if begin.exists() else recipe
