"""Channel ids of tensor elements, as tensors flow through a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

LOCKED = 0
"""The channel of all that must stay."""


@dataclass(frozen=True)
class AxisChannels:
    """Channel ids along one axis of a tensor; along all other axes the channel is the same."""

    axis: int
    ids: Numbers


@dataclass(frozen=True)
class ParameterRef:
    """A reference to a parameter or buffer of the network."""

    name: str


class Uniform:
    """A tensor with the same number everywhere, which broadcasts to any number of channels."""


TensorState = AxisChannels | ParameterRef | Uniform | None
"""What is known of a tensor; None is a tensor of which nothing can be removed."""


class ChannelSets:
    """Disjoint sets of channel ids (union-find): united channels must be removed together."""

    def __init__(self) -> None:
        self.parent = [LOCKED]

    def new_channels(self, count: int) -> Numbers:
        """Make so many new channel ids."""
        first = len(self.parent)
        self.parent += range(first, first + count)
        return np.arange(first, first + count)

    def root(self, channel: int) -> int:
        """Find the representative of a channel's set."""
        while self.parent[channel] != channel:
            self.parent[channel] = self.parent[self.parent[channel]]
            channel = self.parent[channel]
        return channel

    def roots(self, ids: Numbers) -> Numbers:
        """Find the representative of each channel's set."""
        return np.array([self.root(int(i)) for i in ids], dtype=np.int64)

    def unite(self, first: Numbers, second: Numbers) -> None:
        """Unite channels pairwise, in order; the smallest id represents a set."""
        for a, b in zip(first, second, strict=True):
            low, high = sorted((self.root(int(a)), self.root(int(b))))
            self.parent[high] = low

    def lock(self, state: TensorState) -> None:
        """Lock the channels of a tensor, so that they are not removed."""
        if isinstance(state, AxisChannels):
            self.unite(state.ids, np.zeros_like(state.ids))


def reshape_channels(channels: AxisChannels, before: Sequence[int], after: Sequence[int]) -> AxisChannels | None:
    """Follow channels into another shape, where their axis may join others; None where it is split.

    >>> reshape_channels(AxisChannels(1, np.array([1, 2])), (5, 2, 3), (5, 6)).ids.tolist()
    [1, 1, 1, 2, 2, 2]
    """
    if not prod(before):
        return None
    start, stop, first, last = matching_block(channels.axis, before, after)
    shape = np.ones(stop - start, dtype=int)
    shape[channels.axis - start] = before[channels.axis]
    spread_ids = np.broadcast_to(channels.ids.reshape(shape), before[start:stop]).reshape(after[first:last])
    found: AxisChannels | None = None
    for axis, size in enumerate(spread_ids.shape):
        if size == 1 or bool((spread_ids == spread_ids.take([0], axis)).all()):
            continue
        if found is not None:
            return None
        found = AxisChannels(first + axis, np.moveaxis(spread_ids, axis, 0).reshape(size, -1)[:, 0])
    return found if found is None or after[found.axis] % before[channels.axis] == 0 else None


def matching_block(axis: int, before: Sequence[int], after: Sequence[int]) -> tuple[int, int, int, int]:
    """Give the fewest neighbouring axes, around one, that are as many elements before as after (start, stop of each).

    >>> matching_block(1, (5, 2, 3, 7), (5, 6, 7))
    (1, 3, 1, 2)
    """
    start = first = stop = last = 0
    while True:
        stop, last = start + 1, first + 1
        while (a := prod(before[start:stop])) != (b := prod(after[first:last])):
            if a < b:
                stop += 1
            else:
                last += 1
        if start <= axis < stop:
            return start, stop, first, last
        start, first = stop, last
