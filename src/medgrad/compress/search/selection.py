"""Settings that select the channels to remove, and the minimum widths of the layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import log2, sqrt
from typing import Any

from torch import nn

from ..structure.channels import min_channels, smallest_share
from ..structure.groups import ChannelGraph

AUTOMATIC = ("channel_multiple", "min_share", "layers")
"""What is chosen from the network where nobody named it."""
MAX_MULTIPLE = 16
"""Widths need be no multiples of more: a processor takes so many channels at once."""
EVEN_FRACTION = 0.8
"""Each layer keeps at least this share of the width that all would have if all were equally narrow."""
MIN_FLOOR = 0.01
"""A smaller share of the channels is none."""


@dataclass(frozen=True)
class ChannelSelection:
    """How channels are chosen for removal, and how many each layer keeps: a multiple of ``channel_multiple``.

    It also keeps the ``min_share``, a share of the channels that the parent has there, rounded down to such a number.
    ``relative`` holds the channels of a layer only against one another. Before any channel so many whole ``layers`` go.
    What is named in ``automatic`` is yet to be chosen from the network.
    """

    criterion: str = "taylor"
    settings: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False
    min_per_layer: int = 4
    channel_multiple: int = 1
    min_share: float = 0.0
    layers: int = 0
    automatic: Collection[str] = ()

    def min_channels_by_family(self, graph: ChannelGraph, parent: nn.Module) -> dict[int, int]:
        """Give the minimum number of channels of each family of a graph."""
        return min_channels(graph, parent.state_dict(), self.min_per_layer, self.min_share, self.channel_multiple)

    def can_reach(self, graph: ChannelGraph, parent: nn.Module, shares: Mapping[str, float]) -> bool:
        """Tell whether a network can be cut to these shares of its costs (time excluded)."""
        minimums = self.min_channels_by_family(graph, parent)
        return all(
            smallest_share(graph, cost=what, min_count=minimums, multiple=self.channel_multiple) <= share  # type: ignore[arg-type]
            for what, share in shares.items()
        )


def choose_widths(
    selection: ChannelSelection, graphs: Iterable[tuple[ChannelGraph, nn.Module]], shares: Mapping[str, float]
) -> ChannelSelection:
    """Choose the multiple and the floor, where they are free, so that layers stay evenly wide and the shares are met.

    A network whose layers all kept the same share of their channels would keep the root of its multiply-adds; the floor
    is a little less, so that layers that matter more can keep more. The multiple is a quarter of the narrowest layer.
    """
    every = list(graphs)
    if "min_share" in selection.automatic and shares:
        selection = replace(selection, min_share=round(EVEN_FRACTION * sqrt(min(shares.values())), 3))
    if "channel_multiple" in selection.automatic:
        narrowest = min((narrowest_width(graph, whole) for graph, whole in every if graph.groups), default=1)
        selection = replace(selection, channel_multiple=min(MAX_MULTIPLE, 2 ** int(log2(max(1, narrowest // 4)))))

    def is_enough() -> bool:
        return all(selection.can_reach(graph, whole, shares) for graph, whole in every)

    while not is_enough() and ("min_share" in selection.automatic and selection.min_share > MIN_FLOOR):
        selection = replace(selection, min_share=selection.min_share / 2)
    while not is_enough() and ("channel_multiple" in selection.automatic and selection.channel_multiple > 1):
        selection = replace(selection, channel_multiple=selection.channel_multiple // 2)
    return replace(selection, automatic=tuple(name for name in selection.automatic if name == "layers"))


def narrowest_width(graph: ChannelGraph, parent: nn.Module) -> int:
    """Give the width of the narrowest layer that can lose channels."""
    weights = parent.state_dict()
    return min(weights[name].shape[axis] for group in graph.groups for name, axis in group.channel_indices)


def lower_minimums(
    selection: ChannelSelection, graphs: Iterable[tuple[ChannelGraph, nn.Module]], shares: Mapping[str, float]
) -> ChannelSelection:
    """Lower the minimum widths just as far as the shares require."""
    every = list(graphs)
    while not all(selection.can_reach(graph, whole, shares) for graph, whole in every):
        if selection.min_per_layer == 1 and selection.min_share <= MIN_FLOOR:
            break
        selection = replace(
            selection, min_per_layer=max(1, selection.min_per_layer // 2), min_share=selection.min_share / 2
        )
    return selection
