"""Cut a network to a target: drop whole layers first, then the least important channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from itertools import islice
from math import inf
from pathlib import Path

import torch
from torch import nn

from ... import registry
from ...descent.gradients import Everything
from ...errors import SettingError
from ..criteria import frozen_statistics, loss_of_part
from ..structure.channels import What, chosen, cut, importance, smallest_share
from ..structure.cost import cost_of
from ..structure.graph import answer_shapes
from ..structure.groups import Graph
from ..structure.layers import dispensable, ranked, without
from .fold import FoldContext
from .selection import Choice
from .target import NOISY, TIME, Target

Cut = tuple[nn.Module, dict[str, list[int]]]
"""A smaller network, and the widths that changed."""
SHOWN = 24
"""So many batches tell a criterion what matters."""
TRIED = 4
"""So many batches tell what the loss is without a layer."""
SPARED = 0.75
"""For the time that is wished for a network may keep at least this share of the multiply-adds that it could."""
QUICKER = 0.9
"""A network is quicker where it takes at most this share of the time of another: timings differ by less."""
ROUNDS = 5
"""For the time that is wished for an answer is timed so many times."""
HALVINGS = 7
"""So often is the interval halved in which the share of the work lies that takes so much of the time."""


def drop_layers(ground: FoldContext, goal: Target, choice: Choice, folder: Path) -> list[str]:
    """Choose the whole layers to drop before any channel: those with the least rise of the loss for what they cost.

    The cost is that of the network with all layers as narrow as allowed. Where their number is not set, layers
    are dropped until an evenly narrowed network is as fast as the target.
    """
    batches = list(islice(ground.batches(ground.recipe, folder / "seen"), TRIED))

    def damage(network: nn.Module) -> float:
        network = deepcopy(network).to(ground.place.device)
        with frozen_statistics(network), torch.no_grad():
            return sum(float(loss_of_part(network, ground.task, batch)) for batch in batches) / len(batches)

    cost = partial(min_cost, ground, goal=goal, choice=choice)
    if "layers" not in choice.free:
        return dispensable(ground.network, ground.example, choice.layers, damage=damage, cost=cost)
    return quick_without(ground, goal, choice, lambda: ranked(ground.network, ground.example, damage=damage, cost=cost))


def quick_without(ground: FoldContext, goal: Target, choice: Choice, ranked: Callable[[], list[str]]) -> list[str]:
    """Choose layers to drop, in their ranked order, until an evenly narrowed network is as fast as the target.

    At most half of them are dropped, and only those that make it faster.
    """
    gone, left = list[str](), ground.network
    time, limit = evenly_narrow(ground, left, goal, choice), NOISY * share_of_time(goal) * ground.milliseconds
    every, shapes = ranked() if time > limit else [], answer_shapes(left, ground.example)
    for name in every:
        if time <= limit or len(gone) >= len(every) // 2:
            break
        network = without(left, [name])
        if answer_shapes(network, ground.example) == shapes:
            taken = evenly_narrow(ground, network, goal, choice)
            if taken < QUICKER * time:
                gone, left, time = [*gone, name], network, taken
    return gone


def share_of_time(goal: Target) -> float:
    """Give the targeted share of the parent's time, required or wished for; 1 where there is none."""
    return goal.shares.get(TIME, goal.wished)


def evenly_narrow(ground: FoldContext, network: nn.Module, goal: Target, choice: Choice) -> float:
    """Time a network in milliseconds that is cut to the target with all channels equally important."""
    graph = ground.graph(network)
    shares = counted(ground, graph, goal.shares)
    try:
        gone = chosen(graph, torch.ones(len(graph.groups)), shares, least=choice.leasts(graph, ground.network),
                      multiple=choice.multiple)  # fmt: skip
    except SettingError:  # smaller than it can be
        return inf
    return ground.timed(cut(network, gone)[0], rounds=ROUNDS)


def min_cost(ground: FoldContext, network: nn.Module, goal: Target, choice: Choice) -> float:
    """Give the lowest cost of a network, with all layers as narrow as allowed.

    For a time target the padded flops are counted: timings are too noisy to see one narrow layer.
    """
    graph = ground.graph(network)
    least = choice.leasts(graph, ground.network)
    what: What = "lanes" if share_of_time(goal) < 1 else goal.first  # type: ignore[assignment]
    return smallest_share(graph, cost=what, least=least, multiple=choice.multiple) * graph.costs[what].whole


def check_feasible(ground: FoldContext, network: nn.Module, goal: Target, choice: Choice) -> None:
    """Raise before any training if no network of this kind can be as small or as fast as the target."""
    graph, multiple = ground.graph(network), choice.multiple
    least, alike = choice.leasts(graph, ground.network), torch.ones(len(graph.groups))
    for what, share in counted(ground, graph, goal.shares).items():
        chosen(graph, alike, {what: share}, least=least, multiple=multiple)
    if TIME in goal.shares:
        fewest = smallest_share(graph, cost="lanes", least=least, multiple=multiple)
        smallest, _ = cut(network, chosen(graph, alike, {"lanes": fewest}, least=least, multiple=multiple))
        limit = goal.shares[TIME] * ground.milliseconds
        if ground.timed(smallest) > NOISY * limit:
            raise too_slow(limit)


def counted(ground: FoldContext, graph: Graph, shares: Mapping[str, float]) -> dict[What, float]:
    """Turn shares of the parent's costs into shares of a graph's costs (time excluded)."""
    return {
        what: min(1.0, share * getattr(ground.cost, what) / graph.costs[what].whole)  # type: ignore[misc]
        for what, share in shares.items()
        if what != TIME
    }


def too_slow(limit: float) -> SettingError:
    """Make the error for a time target that no network can reach."""
    return SettingError(f"No network of this kind answers within {limit:.1f} ms here. Aim for a larger share.")


def prune_channels(ground: FoldContext, network: nn.Module, goal: Target, choice: Choice, batches: Everything) -> Cut:
    """Remove the least important channels until the target shares of cost and time are met."""
    graph, multiple = ground.graph(network), choice.multiple
    least, wanted = choice.leasts(graph, ground.network), counted(ground, graph, goal.shares)
    if share_of_time(goal) == 1 and all(share == 1 for share in wanted.values()):
        return network, {}
    criterion = registry.find("compress.criteria", choice.criterion)(**choice.settings)
    network = network.to(ground.place.device)
    scores = criterion(network, ground.task, lambda: islice(batches(), SHOWN))
    network = network.cpu()
    weigh = importance(graph.groups, {k: v.cpu() for k, v in scores.items()}, relative=choice.relative)

    def smaller_by(lanes: float) -> Cut:
        return cut(network, chosen(graph, weigh, {**wanted, "lanes": lanes}, least=least, multiple=multiple))

    if share_of_time(goal) == 1:
        return smaller_by(1.0)
    fewest = smallest_share(graph, cost="lanes", least=least, multiple=multiple)
    limit = share_of_time(goal) * ground.milliseconds
    if TIME in goal.shares:
        return within_time(ground, limit, smaller_by, fewest)
    return within_time_if_cheap(
        ground, NOISY * limit, smaller_by, fewest, SPARED * goal.shares["flops"] * ground.cost.flops
    )


def within_time(ground: FoldContext, limit: float, smaller_by: Callable[[float], Cut], fewest: float) -> Cut:
    """Find the largest network that answers within so many milliseconds, by bisection of its padded flops."""
    best = largest_within_time(ground.timed, limit, smaller_by, fewest)
    if best is None:
        raise too_slow(limit)
    return best


def within_time_if_cheap(
    ground: FoldContext, limit: float, smaller_by: Callable[[float], Cut], fewest: float, flops: float
) -> Cut:
    """Find the largest network that answers within so many milliseconds and keeps at least so many ``flops``.

    Where there is none, time is ignored: the fastest networks, whose largest levels are the narrowest, train the
    slowest.
    """

    def allowed(network: nn.Module) -> bool:
        return cost_of(network, ground.example).flops >= flops

    def timed(network: nn.Module) -> float:
        return ground.timed(network, rounds=ROUNDS)

    return largest_within_time(timed, limit, smaller_by, fewest, allowed) or smaller_by(1.0)


def largest_within_time(
    timed: Callable[[nn.Module], float],
    limit: float,
    smaller_by: Callable[[float], Cut],
    fewest: float,
    allowed: Callable[[nn.Module], bool] = lambda _: True,
) -> Cut | None:
    """Give the largest allowed network that answers in time; None where there is none."""
    found = smaller_by(1.0)
    if timed(found[0]) <= limit:
        return found
    low, high, best = fewest, 1.0, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        try:
            found = smaller_by(middle)
        except SettingError:  # smaller than it can be
            low = middle
            continue
        if not allowed(found[0]):
            low = middle
        elif timed(found[0]) <= limit:
            low, best = middle, found
        else:
            high = middle
    return best
