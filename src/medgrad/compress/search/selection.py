"""Settings that select the channels to remove, and the minimum widths of the layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import log2, sqrt
from typing import Any

from torch import nn

from ..structure.channels import min_channels, smallest_share
from ..structure.groups import Graph

FREE = ("multiple", "floor", "layers")
"""What is chosen from the network where nobody named it."""
BLOCKS = 16
"""Widths need be no multiples of more: a processor takes so many channels at once."""
EVEN = 0.8
"""Each layer keeps at least this share of the width that all would have if all were equally narrow."""
FLOOR = 0.01
"""A smaller share of the channels is none."""


@dataclass(frozen=True)
class Choice:
    """How the channels that go are chosen, and that each layer keeps at least so many, a ``multiple`` of a number.

    It also keeps the ``floor``, a share of the channels that the parent has there, rounded down to such a number.
    ``relative`` holds the channels of a layer only against one another. Before any channel so many whole ``layers`` go.
    What is named in ``free`` is yet to be chosen from the network.
    """

    criterion: str = "taylor"
    settings: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False
    least: int = 4
    multiple: int = 1
    floor: float = 0.0
    layers: int = 0
    free: Collection[str] = ()

    def leasts(self, graph: Graph, whole: nn.Module) -> dict[int, int]:
        """Give the minimum number of channels of each family of a graph."""
        return min_channels(graph, whole.state_dict(), self.least, self.floor, self.multiple)

    def can_reach(self, graph: Graph, whole: nn.Module, shares: Mapping[str, float]) -> bool:
        """Tell whether a network can be cut to these shares of its costs (time excluded)."""
        least = self.leasts(graph, whole)
        return all(
            smallest_share(graph, cost=what, least=least, multiple=self.multiple) <= share  # type: ignore[arg-type]
            for what, share in shares.items()
        )


def widths_for(choice: Choice, each: Iterable[tuple[Graph, nn.Module]], shares: Mapping[str, float]) -> Choice:
    """Choose the multiple and the floor, where they are free, so that layers stay evenly wide and the shares are met.

    A network whose layers all kept the same share of their channels would keep the root of its multiply-adds; the floor
    is a little less, so that layers that matter more can keep more. The multiple is a quarter of the narrowest layer.
    """
    every = list(each)
    if "floor" in choice.free and shares:
        choice = replace(choice, floor=round(EVEN * sqrt(min(shares.values())), 3))
    if "multiple" in choice.free:
        narrowest = min((fewest(graph, whole) for graph, whole in every if graph.groups), default=1)
        choice = replace(choice, multiple=min(BLOCKS, 2 ** int(log2(max(1, narrowest // 4)))))

    def is_enough() -> bool:
        return all(choice.can_reach(graph, whole, shares) for graph, whole in every)

    while not is_enough() and ("floor" in choice.free and choice.floor > FLOOR):
        choice = replace(choice, floor=choice.floor / 2)
    while not is_enough() and ("multiple" in choice.free and choice.multiple > 1):
        choice = replace(choice, multiple=choice.multiple // 2)
    return replace(choice, free=tuple(name for name in choice.free if name == "layers"))


def fewest(graph: Graph, whole: nn.Module) -> int:
    """Give the width of the narrowest layer that can lose channels."""
    weights = whole.state_dict()
    return min(weights[name].shape[axis] for group in graph.groups for name, axis in group.touches)


def as_wide_as_can_be(choice: Choice, each: Iterable[tuple[Graph, nn.Module]], shares: Mapping[str, float]) -> Choice:
    """Lower the minimum widths just as far as the shares require."""
    every = list(each)
    while not all(choice.can_reach(graph, whole, shares) for graph, whole in every):
        if choice.least == 1 and choice.floor <= FLOOR:
            break
        choice = replace(choice, least=max(1, choice.least // 2), floor=choice.floor / 2)
    return choice
