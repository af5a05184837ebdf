"""Find the channel groups of a network by following channels through its traced graph."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...engine.compute.cpu_convolutions import CHANNEL_BLOCK
from ...models import CONVOLUTION, layer_width
from .channel_ids import LOCKED, AxisChannels, Numbers, ParameterRef, TensorState, Uniform
from .cost import Example, arguments, count_program_flops, temporary_mode, trace_model
from .cut import cut
from .graph_walk import GraphWalk, op_arguments, op_name, tensor_nodes
from .groups import ChannelGraph, CostModel, CostTerm, Group, TensorAxis, first_names
from .op_rules import RULES, Op, lock_inputs


def list_groups(model: nn.Module, example: Example) -> list[Group]:
    """List the groups of channels that can be removed from a model.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> [dict(group.channel_indices) for group in list_groups(net, torch.zeros(1, 3))][0]
    {('0.weight', 0): (0,), ('0.bias', 0): (0,), ('2.weight', 1): (0,)}
    """
    return list(build_graph(model, example).groups)


def build_graph(model: nn.Module, example: Example) -> ChannelGraph:
    """Trace a model on an example, and tell its groups of channels and what each costs.

    Give the plain network, not one that is wrapped for a device. Channels are followed both as the model answers and as
    it answers while it learns, where it may say more. Those of its inputs and outputs stay, and so do those that meet
    an operation that is not known here. At last a channel of every family is removed on trial: what the model's own
    code does not bear stays as well. The costs are those of the example's shape.
    """
    names = first_names(model)
    walk = GraphWalk(narrowable_tensors(model))
    program = trace_model(model, example)
    walk_program(walk, program, names)
    work, flops = walk.op_costs, count_program_flops(program)
    walk = GraphWalk(walk.narrowable, walk.channels, walk.owned, walk.frozen)
    walk_program(walk, trace_model(model, example, training=True), names)
    lock_shared(walk, model)
    found = keep_removable(model, example, collect_groups(walk))
    number = {root: index for index, root in enumerate(found)}

    def group_numbers(ids: Numbers) -> Numbers:
        return np.array([number.get(int(root), -1) for root in walk.channels.roots(ids)], dtype=np.int64)

    terms = tuple(
        CostTerm(w.flops_per_pair, group_numbers(w.out), None if w.into is None else group_numbers(w.into))
        for w in work
    )
    owned_groups = {place: group_numbers(ids) for place, ids in walk.owned.items()}
    parameters = {name: p.numel() for name, p in model.named_parameters()}
    stored = {id(t): (n, t) for n, t in reversed(model.state_dict(keep_vars=True).items())}
    weighed = {names[n]: t.numel() * t.element_size() for n, t in stored.values()}
    costs = {
        "flops": CostModel(terms, fixed := flops - CostModel(terms, 0).total),
        "lanes": CostModel(terms, fixed, CHANNEL_BLOCK),
        "parameters": build_cost_model(parameters, owned_groups),
        "bytes": build_cost_model(weighed, owned_groups),
    }
    return ChannelGraph(tuple(found.values()), costs)


def build_cost_model(sizes: Mapping[str, int], owned_groups: Mapping[TensorAxis, Numbers]) -> CostModel:
    """Build the cost model of tensor sizes, by the channel groups of their first two axes."""
    terms, fixed = [], 0.0
    for name, size in sizes.items():
        axes = [owned_groups[name, axis] for axis in (0, 1) if (name, axis) in owned_groups]
        if axes and size:
            each = size / prod(len(owners) for owners in axes)
            terms.append(CostTerm(each, axes[0], axes[1] if len(axes) > 1 else None))
        else:
            fixed += size
    return CostModel(tuple(terms), fixed)


def narrowable_tensors(model: nn.Module) -> frozenset[str]:
    """Name the weights of layers that can be narrowed, except those shared by two layers."""
    found: Counter[int] = Counter()
    names: dict[int, str] = {}
    fitting: set[int] = set()
    for path, module in model.named_modules():
        own = [*module.named_parameters(path, recurse=False), *module.named_buffers(path, recurse=False)]
        for name, tensor in own:
            found[id(tensor)] += 1
            names.setdefault(id(tensor), name)
            if layer_width(module):
                fitting.add(id(tensor))
    return frozenset(names[key] for key in fitting if found[key] == 1)


def walk_program(walk: GraphWalk, program: Any, names: Mapping[str, str]) -> None:
    """Propagate channels along the nodes of a traced program."""
    signature = program.graph_signature
    own = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in own:
            walk.states[node] = ParameterRef(names.get(own[node.name], own[node.name]))
        elif node.op == "output":
            for each in tensor_nodes(list(node.args)):
                walk.lock(each)
        elif node.op == "call_function" and (node.users or writes_in_place(node)):
            walk.states[node] = apply_rule(walk, node)


def apply_rule(walk: GraphWalk, node: Any) -> TensorState | list[TensorState]:
    """Apply the rule of one operation and give the state of its output."""
    if getattr(node.target, "__name__", "") == "getitem":
        source, which = node.args
        known = walk.states.get(source)
        return known[which] if isinstance(known, list) else walk.activation_state(source)
    before = walk.state_of(node.args[0]) if writes_in_place(node) else None
    result = RULES.get(op_name(node), lock_inputs)(Op(walk, node, op_arguments(node)))
    if writes_in_place(node) and not has_same_channels(before, result):
        for known in (before, result):
            walk.lock(known)
        walk.has_written_uniform |= isinstance(before, Uniform)
        walk.states[node.args[0]] = None
        return None
    return result


def writes_in_place(node: Any) -> bool:
    """Tell whether an operation writes into one of its arguments."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable and not op_name(node).startswith(("batch_norm", "instance_norm"))


def has_same_channels(before: TensorState, after: TensorState | list[TensorState]) -> bool:
    """Tell whether a tensor that was written into has the channels that it had."""
    if isinstance(before, AxisChannels) and isinstance(after, AxisChannels):
        return before.axis == after.axis and bool((before.ids == after.ids).all())
    return before is None and after is None


def lock_shared(walk: GraphWalk, model: nn.Module) -> None:
    """Lock the channels of weights that must stay, and of layers of which not every weight was met."""
    for path, module in model.named_modules():
        own = [n for n, _ in module.named_parameters(path, recurse=False)]
        own += [n for n, t in module.named_buffers(path, recurse=False) if t.ndim]
        if not layer_width(module) or not any((name, 0) in walk.owned for name in own):
            continue
        vectors = [n for n in own if not n.endswith("weight") or not isinstance(module, (CONVOLUTION, nn.Linear))]
        if any((name, 0) not in walk.owned for name in vectors):
            walk.frozen.update(own)
    for (name, _), ids in walk.owned.items():
        if name in walk.frozen:
            walk.channels.unite(ids, np.full_like(ids, LOCKED))


def collect_groups(walk: GraphWalk) -> dict[int, Group]:
    """Collect the tensor indices of each channel, and form families of channels with the same axes."""
    touched: dict[int, dict[TensorAxis, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, ids in walk.owned.items():
        for index, root in enumerate(walk.channels.roots(ids)):
            if root != LOCKED:
                touched[int(root)][place].append(index)
    families: dict[tuple[tuple[TensorAxis, int], ...], int] = {}
    found = {}
    for root, places in sorted(touched.items()):
        kind = tuple(sorted((place, len(indices)) for place, indices in places.items()))
        family = families.setdefault(kind, len(families))
        found[root] = Group(family, {place: tuple(indices) for place, indices in places.items()})
    return found


def keep_removable(model: nn.Module, example: Example, found: Mapping[int, Group]) -> dict[int, Group]:
    """Keep the families of which a channel can be removed without a change of the output shapes.

    A family of a single group keeps it, so that no layer is left without channels.
    """
    last = {group.family: group for group in found.values()}
    several = sorted(f for f, count in Counter(group.family for group in found.values()).items() if count > 1)
    wanted = output_shapes(model, example)

    def is_removable(families: Sequence[int]) -> bool:
        try:
            return output_shapes(cut(model, [last[f] for f in families])[0], example) == wanted
        except Exception:  # whatever the code of a foreign network raises
            return False

    left = set(find_removable(several, is_removable))
    return {root: group for root, group in found.items() if group.family in left}


def find_removable(families: Sequence[int], is_removable: Callable[[Sequence[int]], bool]) -> list[int]:
    """Find the families that can be removed together, by bisection."""
    if not families or is_removable(families):
        return list(families)
    if len(families) == 1:
        return []
    half = len(families) // 2
    left = find_removable(families[:half], is_removable) + find_removable(families[half:], is_removable)
    return left if is_removable(left) else []


def output_shapes(model: nn.Module, example: Example) -> list[tuple[int, ...]]:
    """Give the output shapes of a model in evaluation and in training mode."""
    found: list[Tensor] = []
    for learns in (False, True):
        with temporary_mode(model, training=learns), torch.no_grad():
            out = model(*arguments(example))
        found += out if isinstance(out, (tuple, list)) else [out]
    return [tuple(each.shape) for each in found]
