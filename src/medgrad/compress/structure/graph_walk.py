"""State of the walk through a traced network: the channels of each tensor and of each weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node

from .channel_ids import LOCKED, AxisChannels, ChannelSets, Numbers, ParameterRef, TensorState, Uniform
from .cost import count_node_flops, node_shape
from .groups import TensorAxis


@dataclass(frozen=True)
class OpCost:
    """The flops of an operation, for each pair of output and input channel.

    With ``into`` None each output channel counts once.
    """

    flops_per_pair: float
    out: Numbers
    into: Numbers | None


@dataclass
class GraphWalk:
    """The state of the walk; ``narrowable`` names the weights that can be narrowed."""

    narrowable: frozenset[str]
    channels: ChannelSets = field(default_factory=ChannelSets)
    owned: dict[TensorAxis, Numbers] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    states: dict[Node, TensorState | list[TensorState]] = field(default_factory=dict)
    op_costs: list[OpCost] = field(default_factory=list)
    has_written_uniform: bool = False
    """Whether something was written into a uniform tensor, after which none is taken for uniform."""

    def state_of(self, node: Any) -> TensorState:
        """Give the state of a tensor; a plain number is uniform."""
        if not isinstance(node, Node):
            return Uniform()
        known = self.states.get(node)
        if isinstance(known, list) or (isinstance(known, Uniform) and self.has_written_uniform):
            return None
        return known

    def lock(self, node: Any) -> None:
        """Say that nothing of a tensor may be removed."""
        known = self.states.get(node) if isinstance(node, Node) else node
        for each in known if isinstance(known, list) else [known]:
            if isinstance(each, ParameterRef):
                self.frozen.add(each.name)
            else:
                self.channels.lock(each)

    def activation_state(self, node: Any) -> TensorState:
        """Give the state of an activation; a weight is locked instead, since its channels are not followed."""
        known = self.state_of(node)
        if isinstance(known, ParameterRef):
            self.lock(node)
            return None
        return known

    def axis_channels(self, node: Any) -> AxisChannels | None:
        """Give the channels of a tensor; None where none are followed."""
        known = self.activation_state(node)
        return known if isinstance(known, AxisChannels) else None

    def ids_along(self, node: Node, axis: int) -> Numbers:
        """Give the channel ids along an axis; locked ones where none are followed."""
        known = self.state_of(node)
        if isinstance(known, AxisChannels) and known.axis == axis:
            return known.ids
        return np.full(node_shape(node)[axis], LOCKED, dtype=np.int64)

    def is_parameter(self, node: Any) -> bool:
        """Tell whether an argument is a weight of the network, or absent."""
        return node is None or isinstance(self.state_of(node), ParameterRef)

    def own(self, name: str, axis: int, ids: Numbers) -> None:
        """Record the channels of a weight along an axis, united with those recorded before."""
        before = self.owned.setdefault((name, axis), ids)
        if before is not ids:
            self.channels.unite(before, ids)
        if name not in self.narrowable:
            self.frozen.add(name)

    def own_all(self, weights: Sequence[Any], ids: Numbers) -> None:
        """Record the channels of several vectors, such as bias and norm statistics."""
        for node in weights:
            leaf = self.state_of(node)
            if isinstance(leaf, ParameterRef):
                self.own(leaf.name, 0, ids)

    def create(self, name: str, axis: int, count: int) -> Numbers:
        """Create the output channels of a weight, the same at each of its uses; a single channel is locked."""
        if (name, axis) not in self.owned:
            new = self.channels.new_channels(count) if count > 1 else np.zeros(1, dtype=np.int64)
            self.own(name, axis, new)
        return self.owned[name, axis]

    def unite_groups(self, input_ids: Numbers, groups: int, out: int) -> Numbers:
        """Unite the channels of each group, and give the ids of the output channels."""
        table = input_ids.reshape(groups, -1)
        for column in table.T[1:]:
            self.channels.unite(table[:, 0], column)
        return np.repeat(table[:, 0], out // groups)

    def make_channels(self, axis: int, ids: Numbers) -> AxisChannels | None:
        """Give channels along an axis, or nothing where there is but one."""
        return AxisChannels(axis, ids) if len(ids) > 1 else None

    def repeat_for_outputs(self, node: Node, known: TensorState) -> TensorState | list[TensorState]:
        """Give the same for each of the tensors that an operation gives."""
        value = node.meta["val"]
        return [known] * len(value) if isinstance(value, (list, tuple)) else known

    def is_inside_module(self, node: Node, kind: str) -> bool:
        """Tell whether the innermost of torch's own modules about an operation is of a kind."""
        kinds = [str(k) for _, k in node.meta.get("nn_module_stack", {}).values()]
        return bool(kinds) and kinds[-1].startswith("torch.nn") and kind in kinds[-1]

    def count_flops(self, node: Node, out: Numbers, into: Numbers | None) -> None:
        """Record the flops of an operation by its channels."""
        count = len(out) * (1 if into is None else len(into))
        self.op_costs.append(OpCost(count_node_flops(node) / count, out, into))


def op_name(node: Node) -> str:
    """Give the plain name of a node's operation, without the sign that it writes in place; empty if it has none."""
    if not isinstance(node.target, OpOverload):
        return ""
    name = node.target._schema.name.split("::")[1]
    return name if name.startswith("_") or not name.endswith("_") else name[:-1]


def op_arguments(node: Node) -> dict[str, Any]:
    """Give the arguments of a node's operation by their names, with the defaults of those that are absent."""
    if not isinstance(node.target, OpOverload):
        return {"args": node.args, **node.kwargs}
    schema = node.target._schema.arguments
    given = {a.name: a.default_value for a in schema if a.has_default_value()}
    return given | dict(zip((a.name for a in schema), node.args, strict=False)) | node.kwargs


def tensor_nodes(value: Any) -> list[Node]:
    """List the nodes among the arguments of an operation, one an appearance, that stand for tensors."""
    if isinstance(value, Node):
        return [value] if isinstance(value.meta.get("val"), (Tensor, list, tuple)) else []
    if isinstance(value, dict):
        return [node for each in value.values() for node in tensor_nodes(each)]
    return [node for each in value for node in tensor_nodes(each)] if isinstance(value, (list, tuple)) else []
