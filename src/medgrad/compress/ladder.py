"""The way down: rung by rung the channels that matter least go, and what is left learns again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from .. import registry
from ..engine.fit import Way, descend, tests_of
from ..engine.learn import Learner
from ..engine.recipe import Recipe
from ..engine.run import Run
from ..errors import SettingError
from ._ground import Ground, Part
from ._group import Graph
from ._parents import Child, Parents
from .channels import What, chosen, cut, importance, leasts, lowest
from .criteria._criterion import loss_of_part, still
from .goal import NOISY, TIME, Goal
from .layers import dispensable, merged_widths, without

Cut = tuple[nn.Module, dict[str, list[int]]]
"""A smaller network, and the widths that changed."""
STRIDE = 0.4
"""Each rung of the ladder costs at least so much of the one before: who loses little at a time forgets little."""
LAST = 5.0
"""The last rung learns so many times longer than each before it."""
SHOWN = 24
"""So many batches tell a criterion what matters."""
TRIED = 6
"""So many batches tell what the loss is without a layer."""
HALVINGS = 7
"""So often is the interval halved in which the share of the work lies that takes so much of the time."""


@dataclass(frozen=True)
class Choice:
    """How the channels that go are chosen, and that each layer keeps at least so many, a ``multiple`` of a number.

    It also keeps the ``floor``, a share of the channels that the parent has there, rounded down to such a number.
    ``relative`` holds the channels of a layer only against one another. Before any channel so many whole ``layers`` go.
    """

    criterion: str = "taylor"
    settings: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False
    least: int = 4
    multiple: int = 1
    floor: float = 0.0
    layers: int = 0

    def leasts(self, graph: Graph, whole: nn.Module) -> dict[int, int]:
        """Give for each family of a graph how many channels it keeps at least; the ``whole`` is the parent."""
        return leasts(graph, whole.state_dict(), self.least, self.floor, self.multiple)


@dataclass(frozen=True)
class Ladder:
    """How the way down is parted: minutes (or steps) in all, the share of what is taught by the parent in the loss, of
    how much of each batch the parent is ``heard``, and whether a bad rung ends it.
    """

    minutes: float
    steps: int = 0
    taught: float = 0.5
    heard: float = 0.5
    stops: bool = True
    seed: int = 0


def climb(parents: Parents, goal: Goal, choice: Choice, ladder: Ladder, folder: Path) -> list[Child]:
    """Go down rung by rung, all parents side by side, and give what came of them on each; a bad rung may be the last.

    The time is parted equally between the parents.
    """
    goals = goal.rungs(STRIDE)
    parts = [*[1.0] * (len(goals) - 1), LAST]
    whole, places, found = parents.each, parents.places(folder), list[Child]()
    state = [(ground.network, ground.recipe) for ground in whole]
    if not Run(places[-1] / "0").has_begun:
        if choice.layers:
            state = [shallower(g, goal, choice, at) for g, at in zip(whole, places, strict=True)]
        for (network, _), ground in zip(state, whole, strict=True):
            refuse_what_cannot_be(ground, network, goal, choice)
    for number, near in enumerate(goals):
        last = number == len(goals) - 1
        parents.teller.say(f"Rung {number + 1} of {len(goals)}: {near}.")
        part, made = parts[number] / sum(parts) / len(whole), []
        for place, ground in enumerate(whole):
            run = Run(places[place] / str(number))
            shrink(ground, *state[place], near, choice, run, ladder)
            one, network = learned(ground, run, ladder, part)
            state[place] = network, run.recipe()
            made.append(one)
        child = parents.child(choice.criterion, made)
        found.append(child)
        parents.teller.say(f"{child.score:.4f}, its parent {parents.score:.4f}. {child.verdict}")
        if ladder.stops and not child.verdict.holds and not last:
            parents.teller.say("That is too small, so the search ends here.")
            break
    return found


def shallower(ground: Ground, goal: Goal, choice: Choice, folder: Path) -> tuple[nn.Module, Recipe]:
    """Leave whole layers out of the parent: those without which its loss grows least for what they cost.

    That is what they cost when all layers are as narrow as they may become.
    """
    learner = Learner(Run(folder / "seen"), ground.recipe, ground.task, ground.train, ground.valid, ground.place)
    batches = list(islice(learner.batches(0), TRIED))

    def damage(network: nn.Module) -> float:
        network = deepcopy(network).to(ground.place.device)
        with still(network), torch.no_grad():
            return sum(float(loss_of_part(network, ground.task, batch)) for batch in batches) / len(batches)

    cost = partial(slimmest, ground, goal=goal, choice=choice)
    gone = dispensable(ground.network, ground.example, choice.layers, damage=damage, cost=cost)
    ground.teller.say(f"Left out whole: {', '.join(gone) or 'nothing, for no layer can be'}.")
    recipe = replace(ground.recipe, widths=merged_widths(ground.recipe.widths, dict.fromkeys(gone, ())))
    return without(ground.network, gone), recipe


def slimmest(ground: Ground, network: nn.Module, goal: Goal, choice: Choice) -> float:
    """Give what a network would cost whose layers were all as narrow as they may become.

    Where time is aimed at that is what a processor spends, counted: one narrow layer takes less time than two timings
    of the rest differ by.
    """
    graph = ground.graph(network)
    least = choice.leasts(graph, ground.network)
    what: What = "lanes" if TIME in goal.shares else goal.first  # type: ignore[assignment]
    return lowest(graph, cost=what, least=least, multiple=choice.multiple) * graph.costs[what].whole


def refuse_what_cannot_be(ground: Ground, network: nn.Module, goal: Goal, choice: Choice) -> None:
    """End with a word, before anything has learned for it, where no network of this kind is as small or as quick."""
    graph, multiple = ground.graph(network), choice.multiple
    least, alike = choice.leasts(graph, ground.network), torch.ones(len(graph.groups))
    for what, share in counted(ground, graph, goal.shares).items():
        chosen(graph, alike, {what: share}, least=least, multiple=multiple)
    if TIME in goal.shares:
        fewest = lowest(graph, cost="lanes", least=least, multiple=multiple)
        smallest, _ = cut(network, chosen(graph, alike, {"lanes": fewest}, least=least, multiple=multiple))
        limit = goal.shares[TIME] * ground.milliseconds
        if ground.timed(smallest) > NOISY * limit:
            raise too_slow(limit)


def counted(ground: Ground, graph: Graph, shares: Mapping[str, float]) -> dict[What, float]:
    """Give shares of what the parent costs as shares of what a graph does, but for its time."""
    return {
        what: min(1.0, share * getattr(ground.cost, what) / graph.costs[what].whole)  # type: ignore[misc]
        for what, share in shares.items()
        if what != TIME
    }


def too_slow(limit: float) -> SettingError:
    """Say that no network is as quick as is asked for."""
    return SettingError(f"No network of this kind answers within {limit:.1f} ms here. Aim for a larger share.")


def shrink(
    ground: Ground, network: nn.Module, recipe: Recipe, goal: Goal, choice: Choice, run: Run, ladder: Ladder
) -> None:
    """Remove the channels that matter least, and write down the recipe with which what is left learns."""
    if run.has_begun:
        return
    learner = Learner(Run(run.folder / "seen"), recipe, ground.task, ground.train, ground.valid, ground.place)
    smaller, widths = lessened(ground, network, goal.shares, choice, learner)
    write_child(ground, recipe, smaller, widths, run, ladder)


def lessened(ground: Ground, network: nn.Module, shares: Mapping[str, float], choice: Choice, learner: Learner) -> Cut:
    """Remove the channels that matter least until so little is left of what the parent costs, and of its time."""
    graph, multiple = ground.graph(network), choice.multiple
    least, wanted = choice.leasts(graph, ground.network), counted(ground, graph, shares)
    if TIME not in shares and all(share == 1 for share in wanted.values()):
        return network, {}
    criterion = registry.find("compress.criteria", choice.criterion)(**choice.settings)
    network = network.to(ground.place.device)
    scores = criterion(network, ground.task, lambda: islice(learner.batches(0), SHOWN))
    network = network.cpu()
    weigh = importance(graph.groups, {k: v.cpu() for k, v in scores.items()}, relative=choice.relative)

    def smaller_by(lanes: float) -> Cut:
        return cut(network, chosen(graph, weigh, {**wanted, "lanes": lanes}, least=least, multiple=multiple))

    if TIME not in shares:
        return smaller_by(1.0)
    fewest = lowest(graph, cost="lanes", least=least, multiple=multiple)
    return within_time(ground, shares[TIME] * ground.milliseconds, smaller_by, fewest)


def within_time(ground: Ground, limit: float, smaller_by: Callable[[float], Cut], fewest: float) -> Cut:
    """Find the largest network that answers within so many milliseconds, by halving the interval of its work.

    The work is a share between the ``fewest`` that can be left and all.
    """
    found = smaller_by(1.0)
    if ground.timed(found[0]) <= limit:
        return found
    low, high, best = fewest, 1.0, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        try:
            found = smaller_by(middle)
        except SettingError:  # smaller than it can be
            low = middle
            continue
        if ground.timed(found[0]) <= limit:
            low, best = middle, found
        else:
            high = middle
    if best is None:
        raise too_slow(limit)
    return best


def write_child(
    ground: Ground, recipe: Recipe, smaller: nn.Module, widths: Mapping[str, Sequence[int]], run: Run, ladder: Ladder
) -> None:
    """Write the recipe of a child, and the weights that it begins with."""
    begin = run.folder / "weights" / "begin.safetensors"
    begin.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in smaller.state_dict().items()}, begin)
    parent = str(ground.folder.resolve())
    teaching = ({"name": "taught", "run": parent, "weight": ladder.taught, "share": ladder.heard},)
    own = tuple(g for g in recipe.gradients if g["name"] != "taught")
    child = replace(
        recipe,
        task=ground.task.settings(),
        widths=merged_widths(recipe.widths, widths),
        start={"weights": str(begin.resolve())},
        gradients=(*(teaching if ladder.taught and can_be_taught(ground) else ()), *own),
    ).with_training(steps=0, threads=0, brief=0, replanned=(), seed=recipe.training.seed + ladder.seed)
    run.write_recipe(child)


def can_be_taught(ground: Ground) -> bool:
    """Tell whether the parent can teach: a detector in two stages chooses its candidates itself."""
    return getattr(ground.task, "detector", "") != "two_stage"


def learned(ground: Ground, run: Run, ladder: Ladder, share: float) -> tuple[Part, nn.Module]:
    """Let the network of a recipe learn for a share of the time, and tell what it costs and how it does."""
    recipe = run.recipe()
    if ladder.steps and not run.has_begun:
        recipe = recipe.with_training(steps=max(1, round(share * ladder.steps)))
    deadline = time.perf_counter() + 60 * share * ladder.minutes
    learner = Learner(run, recipe, ground.task, ground.train, ground.valid, ground.place)
    descend(learner, Way(deadline, len(tests_of(ground.cohort)), ground.device), ground.teller)
    return ground.part(run)
