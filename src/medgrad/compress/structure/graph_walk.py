"""State of the walk through a traced network: the channels of each tensor and of each weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node

from .channel_ids import LOCKED, Channels, Known, Leaf, Marks, Numbers, Uniform
from .cost import flops_of, shape_of
from .groups import Place


@dataclass(frozen=True)
class Work:
    """The flops of an operation, for each pair of output and input channel.

    With ``into`` None each output channel counts once.
    """

    each: float
    out: Numbers
    into: Numbers | None


@dataclass
class Walk:
    """The state of the walk; ``movable`` names the weights that can be narrowed."""

    movable: frozenset[str]
    channels: Channels = field(default_factory=Channels)
    borne: dict[Place, Numbers] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    known: dict[Node, Known | list[Known]] = field(default_factory=dict)
    work: list[Work] = field(default_factory=list)
    is_blurred: bool = False
    """Whether something was written into a uniform tensor, after which none is taken for uniform."""

    def of(self, node: Any) -> Known:
        """Give the state of a tensor; a plain number is uniform."""
        if not isinstance(node, Node):
            return Uniform()
        known = self.known.get(node)
        if isinstance(known, list) or (isinstance(known, Uniform) and self.is_blurred):
            return None
        return known

    def lock(self, node: Any) -> None:
        """Say that nothing of a tensor may be removed."""
        known = self.known.get(node) if isinstance(node, Node) else node
        for each in known if isinstance(known, list) else [known]:
            if isinstance(each, Leaf):
                self.frozen.add(each.name)
            else:
                self.channels.lock(each)

    def no_leaf(self, node: Any) -> Known:
        """Give the state of an activation; a weight is locked instead, since its channels are not followed."""
        known = self.of(node)
        if isinstance(known, Leaf):
            self.lock(node)
            return None
        return known

    def marked(self, node: Any) -> Marks | None:
        """Give the channels of a tensor; None where none are followed."""
        known = self.no_leaf(node)
        return known if isinstance(known, Marks) else None

    def ids(self, node: Node, axis: int) -> Numbers:
        """Give the channel ids along an axis; locked ones where none are followed."""
        known = self.of(node)
        if isinstance(known, Marks) and known.axis == axis:
            return known.ids
        return np.full(shape_of(node)[axis], LOCKED, dtype=np.int64)

    def is_own(self, node: Any) -> bool:
        """Tell whether an argument is a weight of the network, or absent."""
        return node is None or isinstance(self.of(node), Leaf)

    def bear(self, name: str, axis: int, ids: Numbers) -> None:
        """Record the channels of a weight along an axis, united with those recorded before."""
        before = self.borne.setdefault((name, axis), ids)
        if before is not ids:
            self.channels.unite(before, ids)
        if name not in self.movable:
            self.frozen.add(name)

    def bear_all(self, own: Sequence[Any], ids: Numbers) -> None:
        """Record the channels of several vectors, such as bias and norm statistics."""
        for node in own:
            leaf = self.of(node)
            if isinstance(leaf, Leaf):
                self.bear(leaf.name, 0, ids)

    def born(self, name: str, axis: int, count: int) -> Numbers:
        """Create the output channels of a weight, the same at each of its uses; a single channel is locked."""
        if (name, axis) not in self.borne:
            new = self.channels.fresh(count) if count > 1 else np.zeros(1, dtype=np.int64)
            self.bear(name, axis, new)
        return self.borne[name, axis]

    def by_group(self, came: Numbers, groups: int, out: int) -> Numbers:
        """Unite the channels of each group, and give the ids of the output channels."""
        table = came.reshape(groups, -1)
        for column in table.T[1:]:
            self.channels.unite(table[:, 0], column)
        return np.repeat(table[:, 0], out // groups)

    def marks(self, axis: int, ids: Numbers) -> Marks | None:
        """Give channels along an axis, or nothing where there is but one."""
        return Marks(axis, ids) if len(ids) > 1 else None

    def as_many(self, node: Node, known: Known) -> Known | list[Known]:
        """Give the same for each of the tensors that an operation gives."""
        value = node.meta["val"]
        return [known] * len(value) if isinstance(value, (list, tuple)) else known

    def is_within(self, node: Node, kind: str) -> bool:
        """Tell whether the innermost of torch's own modules about an operation is of a kind."""
        kinds = [str(k) for _, k in node.meta.get("nn_module_stack", {}).values()]
        return bool(kinds) and kinds[-1].startswith("torch.nn") and kind in kinds[-1]

    def works(self, node: Node, out: Numbers, into: Numbers | None) -> None:
        """Record the flops of an operation by its channels."""
        count = len(out) * (1 if into is None else len(into))
        self.work.append(Work(flops_of(node) / count, out, into))


def name_of(node: Node) -> str:
    """Give the plain name of a node's operation, without the sign that it writes in place; empty if it has none."""
    if not isinstance(node.target, OpOverload):
        return ""
    name = node.target._schema.name.split("::")[1]
    return name if name.startswith("_") or not name.endswith("_") else name[:-1]


def arguments(node: Node) -> dict[str, Any]:
    """Give the arguments of a node's operation by their names, with the defaults of those that are absent."""
    if not isinstance(node.target, OpOverload):
        return {"args": node.args, **node.kwargs}
    schema = node.target._schema.arguments
    given = {a.name: a.default_value for a in schema if a.has_default_value()}
    return given | dict(zip((a.name for a in schema), node.args, strict=False)) | node.kwargs


def tensors(value: Any) -> list[Node]:
    """List the nodes among the arguments of an operation, one an appearance, that stand for tensors."""
    if isinstance(value, Node):
        return [value] if isinstance(value.meta.get("val"), (Tensor, list, tuple)) else []
    if isinstance(value, dict):
        return [node for each in value.values() for node in tensors(each)]
    return [node for each in value for node in tensors(each)] if isinstance(value, (list, tuple)) else []
