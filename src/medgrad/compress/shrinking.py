"""Cut a network down to a goal: whole layers first, then the channels that matter least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from .. import registry
from ..engine.learn import Learner
from ..engine.recipe import Recipe
from ..engine.run import Run
from ..errors import SettingError
from ._ground import Ground
from ._group import Graph
from .channels import What, chosen, cut, importance, lowest
from .choice import Choice
from .criteria._criterion import loss_of_part, still
from .goal import NOISY, TIME, Goal
from .layers import dispensable, merged_widths, without

Cut = tuple[nn.Module, dict[str, list[int]]]
"""A smaller network, and the widths that changed."""
SHOWN = 24
"""So many batches tell a criterion what matters."""
TRIED = 6
"""So many batches tell what the loss is without a layer."""
HALVINGS = 7
"""So often is the interval halved in which the share of the work lies that takes so much of the time."""


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
