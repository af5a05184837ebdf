"""Channel groups of a network, and cost models by their channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from .channel_ids import Numbers

TensorAxis = tuple[str, int]
"""A parameter or buffer, by its name, and one of its axes."""


@dataclass(frozen=True)
class Group:
    """Channels that live and die together: what they touch, as indices along an axis of a parameter or buffer.

    Groups of one ``family`` touch the same axes of the same tensors, each as often: they are the channels of one layer,
    or of the layers that a sum ties together.
    """

    family: int
    channel_indices: Mapping[TensorAxis, tuple[int, ...]]

    @property
    def size(self) -> int:
        """The number of channels, in the layer where there are the fewest."""
        return min(len(indices) for indices in self.channel_indices.values())


@dataclass(frozen=True)
class CostTerm:
    """A part of what an answer costs: so much for each pair of one that comes out and one that goes in.

    ``out`` and ``into`` say for each channel which group it is of, -1 for none; without ``into`` each out counts once.
    """

    unit_cost: float
    out: Numbers
    into: Numbers | None


@dataclass(frozen=True)
class CostModel:
    """A cost by the channels that it depends on, and what no group changes (``fixed``).

    Channels that come out are counted in full blocks of so many: a block costs the same, however much of it is used.
    """

    terms: tuple[CostTerm, ...]
    fixed: float
    block: int = 1

    @property
    def total(self) -> float:
        """The cost before anything is removed."""
        blocks = (self.block * -(-len(t.out) // self.block) for t in self.terms)
        each = (t.unit_cost * (1 if t.into is None else len(t.into)) for t in self.terms)
        return self.fixed + sum(a * b for a, b in zip(each, blocks, strict=True))


@dataclass(frozen=True)
class ChannelGraph:
    """The groups of a network, and what an answer costs by their channels: ``flops``, ``parameters``, ``bytes``.

    ``lanes`` are the flops that a processor spends, which multiplies a ``BLOCK`` of channels that come out at once.
    """

    groups: tuple[Group, ...]
    costs: Mapping[str, CostModel]


def first_names(model: nn.Module) -> dict[str, str]:
    """Map each name of a parameter or buffer to the first of the names that it has.

    A layer that stands at several places has several.
    """
    first: dict[int, str] = {}
    found = {}
    every = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in every:
        found[name] = first.setdefault(id(tensor), name)
    return found
