"""Choose the channels to remove so that a model meets cost targets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import SettingError
from .cut import cut
from .groups import ChannelGraph, CostModel, Group, TensorAxis

__all__ = ["choose_groups", "cut", "importance", "min_channels", "smallest_share"]

CostName = Literal["flops", "parameters", "bytes", "lanes"]
MinChannels = int | Mapping[int, int]
"""How many channels a layer keeps at least: one number for all, or one for each family."""


def importance(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor],
    *,
    reduction: Literal["sum", "mean"] = "sum",
    relative: bool = True,
) -> Tensor:
    """Give the importance of each group (n,), from the score of each weight, by the weights' names.

    All weights of a channel go with it, both those that make it and those that read it; so theirs are added (or their
    ``mean`` is taken). ``relative`` divides by the mean of the family: scores have other scales in other layers,
    unless they say what the loss would lose, and no layer is to go whole because its weights are small throughout.

    >>> say = {"a": torch.tensor([[1.0, 2.0], [3.0, 6.0]])}
    >>> importance([Group(0, {("a", 0): (0,)}), Group(0, {("a", 0): (1,)})], say).tolist()
    [0.5, 1.5]
    """
    axis_sums: dict[TensorAxis, list[float]] = {}
    sums, counts = torch.zeros(len(groups), dtype=torch.float64), torch.zeros(len(groups), dtype=torch.float64)
    for number, group in enumerate(groups):
        for tensor_axis, indices in group.channel_indices.items():
            name, axis = tensor_axis
            if name in scores:
                length = scores[name].shape[axis]
                if tensor_axis not in axis_sums:
                    axis_sums[tensor_axis] = (
                        scores[name].detach().double().movedim(axis, 0).reshape(length, -1).sum(1).tolist()
                    )
                sums[number] += sum(axis_sums[tensor_axis][index] for index in indices)
                counts[number] += len(indices) * scores[name].numel() / length
    found = sums / counts.clamp_min(1) if reduction == "mean" else sums
    if relative:
        families = torch.tensor([group.family for group in groups], dtype=torch.long)
        for family in families.unique():
            mean = found[families == family].mean()
            found[families == family] /= mean if mean > 0 else 1.0
    return found


def choose_groups(
    graph: ChannelGraph,
    importances: Tensor,
    shares: Mapping[CostName, float],
    *,
    min_count: MinChannels = 4,
    multiple: int = 1,
) -> list[Group]:
    """Choose the groups that go so that each cost that is named comes down to its share of what it is.

    They go one after another, the least important for what it saves first; of several costs counts what is saved of
    those that are still too high, each by the way that it has to go. Each family keeps at least so many channels, and
    above that a ``multiple`` of a number of them where it loses any: kernels like multiples of 8 or 16. What is
    infinitely important stays.
    """
    for target in shares.values():
        if not 0 < target <= 1:
            raise SettingError(f"The share of the cost that is to be left is above 0 and at most 1, not {target}.")
    steps = list(removal_order(graph, importances, shares, min_count=min_count, multiple=multiple))
    left = steps[-1][1] if steps else dict.fromkeys(shares, 1.0)
    for cost, target in shares.items():
        if left[cost] > target:
            raise SettingError(
                f"The {cost} of this model come down to {left[cost]:.1%} of what they are, not to {target:.1%}, as "
                f"each layer keeps {describe_min_count(min_count)} channels. Aim for a larger share, let "
                "layers keep fewer, or leave out "
                "whole layers first."
            )
    return [group for lump, _ in steps for group in lump]


def min_channels(
    graph: ChannelGraph, parent_weights: Mapping[str, Tensor], min_count: int, min_share: float, multiple: int = 1
) -> dict[int, int]:
    """Give for each family how many channels it keeps at least.

    So many, and a share of what it is in the ``parent_weights``.

    The share is rounded down to a ``multiple`` of a number. A network of which one layer is far narrower than those
    about it loses more than one that is evenly narrow.

    >>> whole = {"a": torch.zeros(8, 3), "b": torch.zeros(2, 8)}
    >>> graph = ChannelGraph(tuple(Group(0, {("a", 0): (n,), ("b", 1): (n,)}) for n in range(5)), {})
    >>> [min_channels(graph, whole, 2, floor, multiple)[0] for floor, multiple in ((0.6, 1), (0.6, 4), (0.0, 1))]
    [5, 4, 2]
    """
    found = {}
    for group in graph.groups:
        before = min(parent_weights[name].shape[axis] for name, axis in group.channel_indices)
        found[group.family] = max(min_count, ceil(min_share * before) // multiple * multiple)
    return found


def describe_min_count(min_count: MinChannels) -> str:
    """Describe the minimum numbers of channels."""
    numbers = {min_count} if isinstance(min_count, int) else set(min_count.values())
    return " to ".join(str(n) for n in sorted({min(numbers), max(numbers)})) if numbers else "all of its"


def smallest_share(
    graph: ChannelGraph, *, cost: CostName = "flops", min_count: MinChannels = 4, multiple: int = 1
) -> float:
    """Give the smallest share that a cost can be brought down to."""
    order = removal_order(graph, torch.ones(len(graph.groups)), {cost: 0.0}, min_count=min_count, multiple=multiple)
    return min((left[cost] for _, left in order), default=1.0)


@dataclass
class GroupFamily:
    """The groups of a family that are left, most important first, with their size and minimum number of channels."""

    members: list[int]
    size: int
    min_count: int

    def step_size(self, multiple: int) -> int:
        """Give how many groups to remove at once, so that a multiple of channels or the minimum is left.

        0 where too few would be left.
        """
        for count in range(1, len(self.members)):
            left = (len(self.members) - count) * self.size
            if left < self.min_count:
                return 0
            if left % multiple == 0 or left - self.size < self.min_count:
                return count
        return 0


class CostTracker:
    """Track the share of a cost that is left while families lose groups."""

    def __init__(self, model: CostModel, groups: Sequence[Group], families: Sequence[int], target_share: float) -> None:
        first = {group.family: number for number, group in reversed(list(enumerate(groups)))}
        one = [first[family] for family in families]
        self.fixed, self.block = model.fixed, model.block
        self.unit_costs = np.array([t.unit_cost for t in model.terms])
        self.out = np.array([float(len(t.out)) for t in model.terms])
        self.into = np.array([1.0 if t.into is None else float(len(t.into)) for t in model.terms])
        self.by_out = np.array([[np.sum(t.out == g) for t in model.terms] for g in one], dtype=float)
        self.by_into = np.array(
            [[0 if t.into is None else np.sum(t.into == g) for t in model.terms] for g in one], dtype=float
        )

        self.target_share, self.total = target_share, 1.0
        self.total = self.share_left() or 1.0

    @property
    def is_met(self) -> bool:
        """Whether the target share is met."""
        return self.share_left() <= self.target_share

    def share_left(self, family: int = 0, count: int = 0) -> float:
        """Give the share of the cost that is left if a family lost so many groups."""
        out, into = self.out, self.into
        if count:
            out, into = out - count * self.by_out[family], into - count * self.by_into[family]
        return float(self.fixed + (self.unit_costs * self.block * np.ceil(out / self.block) * into).sum()) / self.total

    def progress_towards_target(self, family: int, count: int) -> float:
        """Give the progress towards the target if a family lost so many groups, as a share; 0 once it is met."""
        return 0.0 if self.is_met else (self.share_left() - self.share_left(family, count)) / (1 - self.target_share)

    def remove_groups(self, family: int, count: int) -> None:
        """Remove so many groups of a family."""
        self.out -= count * self.by_out[family]
        self.into -= count * self.by_into[family]


def removal_order(
    graph: ChannelGraph,
    importances: Tensor,
    target_shares: Mapping[CostName, float],
    *,
    min_count: MinChannels,
    multiple: int,
) -> Iterator[tuple[list[Group], dict[CostName, float]]]:
    """Yield the groups to remove together, with the cost shares that are left, until all target shares are met."""
    if min([min_count] if isinstance(min_count, int) else min_count.values(), default=1) < 1 or multiple < 1:
        raise SettingError(
            "A layer keeps at least 1 channel, and multiples of 1 or more, not "
            f"{describe_min_count(min_count)} and {multiple}."
        )
    if len(importances) != len(graph.groups):
        raise ValueError(f"{len(graph.groups)} groups need as many importances, but got {len(importances)}.")
    if bool(importances.isnan().any()):
        raise ValueError("An importance is not a number. Look at the scores of the weights.")
    sorted_in: dict[int, list[int]] = defaultdict(list)
    for number in importances.argsort(descending=True, stable=True).tolist():
        sorted_in[graph.groups[number].family].append(number)
    numbers = sorted(sorted_in)
    families = [
        GroupFamily(
            sorted_in[f], graph.groups[sorted_in[f][0]].size, min_count if isinstance(min_count, int) else min_count[f]
        )
        for f in numbers
    ]
    trackers = {
        cost: CostTracker(graph.costs[cost], graph.groups, numbers, share) for cost, share in target_shares.items()
    }
    while not all(price.is_met for price in trackers.values()):
        best, ratio, step = -1, np.inf, 0
        for which, family in enumerate(families):
            count = family.step_size(multiple)
            saved = sum(price.progress_towards_target(which, count) for price in trackers.values()) if count else 0.0
            if saved > 0:
                lost = float(importances[family.members[-count:]].sum()) / saved
                if lost < ratio:
                    best, ratio, step = which, lost, count
        if best < 0:
            return
        removed = [families[best].members.pop() for _ in range(step)]
        for tracker in trackers.values():
            tracker.remove_groups(best, step)
        yield (
            [graph.groups[number] for number in removed],
            {cost: price.share_left() for cost, price in trackers.items()},
        )
