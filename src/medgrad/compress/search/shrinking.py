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
from ...descent.gradients import FullSet
from ...errors import SettingError
from ..criteria import batch_loss, frozen_statistics
from ..structure.channels import CostName, choose_groups, cut, importance, smallest_share
from ..structure.cost import count_cost
from ..structure.graph import output_shapes
from ..structure.groups import ChannelGraph
from ..structure.removable_layers import choose_removable_layers, rank_removable_layers, remove_layers
from .fold import FoldContext
from .selection import ChannelSelection
from .target import TIME, TIMING_TOLERANCE, Target

CutNetwork = tuple[nn.Module, dict[str, list[int]]]
"""A smaller network, and the widths that changed."""
CRITERION_BATCHES = 24
"""So many batches tell a criterion what matters."""
LAYER_TRIAL_BATCHES = 4
"""So many batches tell what the loss is without a layer."""
MIN_FLOPS_SHARE = 0.75
"""For the time that is wished for a network may keep at least this share of the multiply-adds that it could."""
FASTER_RATIO = 0.9
"""A network is quicker where it takes at most this share of the time of another: timings differ by less."""
TIMING_ROUNDS = 5
"""For the time that is wished for an answer is timed so many times."""
BISECTION_STEPS = 7
"""So often is the interval halved in which the share of the work lies that takes so much of the time."""


def choose_layers_to_drop(fold: FoldContext, target: Target, selection: ChannelSelection, folder: Path) -> list[str]:
    """Choose the whole layers to drop before any channel: those with the least rise of the loss for what they cost.

    The cost is that of the network with all layers as narrow as allowed. Where their number is not set, layers
    are dropped until an evenly narrowed network is as fast as the target.
    """
    batches = list(islice(fold.draw_batches(fold.recipe, folder / "seen"), LAYER_TRIAL_BATCHES))

    def mean_loss(network: nn.Module) -> float:
        network = deepcopy(network).to(fold.compute.device)
        with frozen_statistics(network), torch.no_grad():
            return sum(float(batch_loss(network, fold.task, batch)) for batch in batches) / len(batches)

    cost = partial(min_cost, fold, target=target, selection=selection)
    if "layers" not in selection.automatic:
        return choose_removable_layers(fold.network, fold.example, selection.layers, loss=mean_loss, cost=cost)
    return choose_layers_for_time(
        fold, target, selection, lambda: rank_removable_layers(fold.network, fold.example, loss=mean_loss, cost=cost)
    )


def choose_layers_for_time(
    fold: FoldContext, target: Target, selection: ChannelSelection, rank: Callable[[], list[str]]
) -> list[str]:
    """Choose layers to drop, in their ranked order, until an evenly narrowed network is as fast as the target.

    At most half of them are dropped, and only those that make it faster.
    """
    gone, left = list[str](), fold.network
    time, limit = (
        time_evenly_narrow(fold, left, target, selection),
        TIMING_TOLERANCE * time_share(target) * fold.milliseconds,
    )
    every, shapes = rank() if time > limit else [], output_shapes(left, fold.example)
    for name in every:
        if time <= limit or len(gone) >= len(every) // 2:
            break
        network = remove_layers(left, [name])
        if output_shapes(network, fold.example) == shapes:
            taken = time_evenly_narrow(fold, network, target, selection)
            if taken < FASTER_RATIO * time:
                gone, left, time = [*gone, name], network, taken
    return gone


def time_share(target: Target) -> float:
    """Give the targeted share of the parent's time, required or wished for; 1 where there is none."""
    return target.shares.get(TIME, target.soft_time_share)


def time_evenly_narrow(fold: FoldContext, network: nn.Module, target: Target, selection: ChannelSelection) -> float:
    """Time a network in milliseconds that is cut to the target with all channels equally important."""
    graph = fold.channel_graph(network)
    shares = shares_of_graph(fold, graph, target.shares)
    try:
        removed = choose_groups(
            graph,
            torch.ones(len(graph.groups)),
            shares,
            min_count=selection.min_channels_by_family(graph, fold.network),
            multiple=selection.channel_multiple,
        )
    except SettingError:  # smaller than it can be
        return inf
    return fold.time_network(cut(network, removed)[0], rounds=TIMING_ROUNDS)


def min_cost(fold: FoldContext, network: nn.Module, target: Target, selection: ChannelSelection) -> float:
    """Give the lowest cost of a network, with all layers as narrow as allowed.

    For a time target the padded flops are counted: timings are too noisy to see one narrow layer.
    """
    graph = fold.channel_graph(network)
    minimums = selection.min_channels_by_family(graph, fold.network)
    cost_name: CostName = "lanes" if time_share(target) < 1 else target.primary_cost  # type: ignore[assignment]
    return (
        smallest_share(graph, cost=cost_name, min_count=minimums, multiple=selection.channel_multiple)
        * graph.costs[cost_name].total
    )


def check_feasible(fold: FoldContext, network: nn.Module, target: Target, selection: ChannelSelection) -> None:
    """Raise before any training if no network of this kind can be as small or as fast as the target."""
    graph, multiple = fold.channel_graph(network), selection.channel_multiple
    minimums, equal_importance = selection.min_channels_by_family(graph, fold.network), torch.ones(len(graph.groups))
    for what, share in shares_of_graph(fold, graph, target.shares).items():
        choose_groups(graph, equal_importance, {what: share}, min_count=minimums, multiple=multiple)
    if TIME in target.shares:
        fewest = smallest_share(graph, cost="lanes", min_count=minimums, multiple=multiple)
        smallest, _ = cut(
            network, choose_groups(graph, equal_importance, {"lanes": fewest}, min_count=minimums, multiple=multiple)
        )
        limit = target.shares[TIME] * fold.milliseconds
        if fold.time_network(smallest) > TIMING_TOLERANCE * limit:
            raise too_slow_error(limit)


def shares_of_graph(fold: FoldContext, graph: ChannelGraph, shares: Mapping[str, float]) -> dict[CostName, float]:
    """Turn shares of the parent's costs into shares of a graph's costs (time excluded)."""
    return {
        what: min(1.0, share * getattr(fold.cost, what) / graph.costs[what].total)  # type: ignore[misc]
        for what, share in shares.items()
        if what != TIME
    }


def too_slow_error(limit_ms: float) -> SettingError:
    """Make the error for a time target that no network can reach."""
    return SettingError(f"No network of this kind answers within {limit_ms:.1f} ms here. Aim for a larger share.")


def prune_channels(
    fold: FoldContext, network: nn.Module, target: Target, selection: ChannelSelection, batches: FullSet
) -> CutNetwork:
    """Remove the least important channels until the target shares of cost and time are met."""
    graph, multiple = fold.channel_graph(network), selection.channel_multiple
    minimums, wanted = (
        selection.min_channels_by_family(graph, fold.network),
        shares_of_graph(fold, graph, target.shares),
    )
    if time_share(target) == 1 and all(share == 1 for share in wanted.values()):
        return network, {}
    criterion = registry.find("compress.criteria", selection.criterion)(**selection.settings)
    network = network.to(fold.compute.device)
    scores = criterion(network, fold.task, lambda: islice(batches(), CRITERION_BATCHES))
    network = network.cpu()
    importances = importance(graph.groups, {k: v.cpu() for k, v in scores.items()}, relative=selection.relative)

    def cut_to(padded_share: float) -> CutNetwork:
        return cut(
            network,
            choose_groups(graph, importances, {**wanted, "lanes": padded_share}, min_count=minimums, multiple=multiple),
        )

    if time_share(target) == 1:
        return cut_to(1.0)
    smallest = smallest_share(graph, cost="lanes", min_count=minimums, multiple=multiple)
    limit = time_share(target) * fold.milliseconds
    if TIME in target.shares:
        return cut_to_time(fold, limit, cut_to, smallest)
    return cut_to_time_if_cheap(
        fold, TIMING_TOLERANCE * limit, cut_to, smallest, MIN_FLOPS_SHARE * target.shares["flops"] * fold.cost.flops
    )


def cut_to_time(
    fold: FoldContext, limit_ms: float, cut_to: Callable[[float], CutNetwork], smallest: float
) -> CutNetwork:
    """Find the largest network that answers within so many milliseconds, by bisection of its padded flops."""
    best = largest_cut_in_time(fold.time_network, limit_ms, cut_to, smallest)
    if best is None:
        raise too_slow_error(limit_ms)
    return best


def cut_to_time_if_cheap(
    fold: FoldContext, limit_ms: float, cut_to: Callable[[float], CutNetwork], smallest: float, min_flops: float
) -> CutNetwork:
    """Find the largest network that answers within so many milliseconds and keeps at least so many ``min_flops``.

    Where there is none, time is ignored: the fastest networks, whose largest levels are the narrowest, train the
    slowest.
    """

    def has_enough_flops(network: nn.Module) -> bool:
        return count_cost(network, fold.example).flops >= min_flops

    def time_network(network: nn.Module) -> float:
        return fold.time_network(network, rounds=TIMING_ROUNDS)

    return largest_cut_in_time(time_network, limit_ms, cut_to, smallest, has_enough_flops) or cut_to(1.0)


def largest_cut_in_time(
    time_network: Callable[[nn.Module], float],
    limit_ms: float,
    cut_to: Callable[[float], CutNetwork],
    smallest: float,
    is_allowed: Callable[[nn.Module], bool] = lambda _: True,
) -> CutNetwork | None:
    """Give the largest allowed network that answers in time; None where there is none."""
    found = cut_to(1.0)
    if time_network(found[0]) <= limit_ms:
        return found
    low, high, best = smallest, 1.0, None
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        try:
            found = cut_to(middle)
        except SettingError:  # smaller than it can be
            low = middle
            continue
        if not is_allowed(found[0]):
            low = middle
        elif time_network(found[0]) <= limit_ms:
            low, best = middle, found
        else:
            high = middle
    return best
