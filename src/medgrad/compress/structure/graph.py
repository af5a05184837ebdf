"""Find the channel groups of a network by following channels through its traced graph."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...engine.compute.convolutions import BLOCK
from ...models import CONVOLUTION, width_of
from .channel_ids import LOCKED, Known, Leaf, Marks, Numbers, Uniform
from .cost import flops_in, in_mode, traced
from .cut import cut
from .graph_walk import Walk, arguments, name_of, tensors
from .groups import CostModel, CostTerm, Graph, Group, Place, first_names
from .op_rules import RULES, Op, unknown


def groups(model: nn.Module, example: Tensor) -> list[Group]:
    """List the groups of channels that can be removed from a model.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> [dict(group.touches) for group in groups(net, torch.zeros(1, 3))][0]
    {('0.weight', 0): (0,), ('0.bias', 0): (0,), ('2.weight', 1): (0,)}
    """
    return list(graph_of(model, example).groups)


def graph_of(model: nn.Module, example: Tensor) -> Graph:
    """Trace a model on an example (b, channels, *shape), and tell its groups of channels and what each costs.

    Give the plain network, not one that is wrapped for a device. Channels are followed both as the model answers and as
    it answers while it learns, where it may say more. Those of its inputs and outputs stay, and so do those that meet
    an operation that is not known here. At last a channel of every family is removed on trial: what the model's own
    code does not bear stays as well. The costs are those of the example's shape.
    """
    names = first_names(model)
    walk = Walk(movable_of(model))
    program = traced(model, example)
    follow(walk, program, names)
    work, flops = walk.work, flops_in(program)
    walk = Walk(walk.movable, walk.channels, walk.borne, walk.frozen)
    follow(walk, traced(model, example, learns=True), names)
    lock_shared(walk, model)
    found = verified(model, example, gathered(walk))
    number = {root: index for index, root in enumerate(found)}

    def owners(ids: Numbers) -> Numbers:
        return np.array([number.get(int(root), -1) for root in walk.channels.roots(ids)], dtype=np.int64)

    terms = tuple(CostTerm(w.each, owners(w.out), None if w.into is None else owners(w.into)) for w in work)
    held = {place: owners(ids) for place, ids in walk.borne.items()}
    parameters = {name: p.numel() for name, p in model.named_parameters()}
    stored = {id(t): (n, t) for n, t in reversed(model.state_dict(keep_vars=True).items())}
    weighed = {names[n]: t.numel() * t.element_size() for n, t in stored.values()}
    costs = {
        "flops": CostModel(terms, fixed := flops - CostModel(terms, 0).whole),
        "lanes": CostModel(terms, fixed, BLOCK),
        "parameters": tally_of(parameters, held),
        "bytes": tally_of(weighed, held),
    }
    return Graph(tuple(found.values()), costs)


def tally_of(sizes: Mapping[str, int], held: Mapping[Place, Numbers]) -> CostModel:
    """Build the cost model of tensor sizes, by the channel groups of their first two axes."""
    terms, fixed = [], 0.0
    for name, size in sizes.items():
        axes = [held[name, axis] for axis in (0, 1) if (name, axis) in held]
        if axes and size:
            each = size / prod(len(owners) for owners in axes)
            terms.append(CostTerm(each, axes[0], axes[1] if len(axes) > 1 else None))
        else:
            fixed += size
    return CostModel(tuple(terms), fixed)


def movable_of(model: nn.Module) -> frozenset[str]:
    """Name the weights of layers that can be narrowed, except those shared by two layers."""
    found: Counter[int] = Counter()
    names: dict[int, str] = {}
    fitting: set[int] = set()
    for path, module in model.named_modules():
        own = [*module.named_parameters(path, recurse=False), *module.named_buffers(path, recurse=False)]
        for name, tensor in own:
            found[id(tensor)] += 1
            names.setdefault(id(tensor), name)
            if width_of(module):
                fitting.add(id(tensor))
    return frozenset(names[key] for key in fitting if found[key] == 1)


def follow(walk: Walk, program: Any, names: Mapping[str, str]) -> None:
    """Propagate channels along the nodes of a traced program."""
    signature = program.graph_signature
    own = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in own:
            walk.known[node] = Leaf(names.get(own[node.name], own[node.name]))
        elif node.op == "output":
            for each in tensors(list(node.args)):
                walk.lock(each)
        elif node.op == "call_function" and (node.users or is_writing(node)):
            walk.known[node] = step(walk, node)


def step(walk: Walk, node: Any) -> Known | list[Known]:
    """Apply the rule of one operation and give the state of its output."""
    if getattr(node.target, "__name__", "") == "getitem":
        source, which = node.args
        known = walk.known.get(source)
        return known[which] if isinstance(known, list) else walk.no_leaf(source)
    before = walk.of(node.args[0]) if is_writing(node) else None
    told = RULES.get(name_of(node), unknown)(Op(walk, node, arguments(node)))
    if is_writing(node) and not is_same(before, told):
        for known in (before, told):
            walk.lock(known)
        walk.is_blurred |= isinstance(before, Uniform)
        walk.known[node.args[0]] = None
        return None
    return told


def is_writing(node: Any) -> bool:
    """Tell whether an operation writes into one of its arguments."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable and not name_of(node).startswith(("batch_norm", "instance_norm"))


def is_same(before: Known, after: Known | list[Known]) -> bool:
    """Tell whether a tensor that was written into has the channels that it had."""
    if isinstance(before, Marks) and isinstance(after, Marks):
        return before.axis == after.axis and bool((before.ids == after.ids).all())
    return before is None and after is None


def lock_shared(walk: Walk, model: nn.Module) -> None:
    """Lock the channels of weights that must stay, and of layers of which not every weight was met."""
    for path, module in model.named_modules():
        own = [n for n, _ in module.named_parameters(path, recurse=False)]
        own += [n for n, t in module.named_buffers(path, recurse=False) if t.ndim]
        if not width_of(module) or not any((name, 0) in walk.borne for name in own):
            continue
        vectors = [n for n in own if not n.endswith("weight") or not isinstance(module, (CONVOLUTION, nn.Linear))]
        if any((name, 0) not in walk.borne for name in vectors):
            walk.frozen.update(own)
    for (name, _), ids in walk.borne.items():
        if name in walk.frozen:
            walk.channels.unite(ids, np.full_like(ids, LOCKED))


def gathered(walk: Walk) -> dict[int, Group]:
    """Collect the tensor indices of each channel, and form families of channels with the same axes."""
    touched: dict[int, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, ids in walk.borne.items():
        for index, root in enumerate(walk.channels.roots(ids)):
            if root != LOCKED:
                touched[int(root)][place].append(index)
    families: dict[tuple[tuple[Place, int], ...], int] = {}
    found = {}
    for root, places in sorted(touched.items()):
        kind = tuple(sorted((place, len(indices)) for place, indices in places.items()))
        family = families.setdefault(kind, len(families))
        found[root] = Group(family, {place: tuple(indices) for place, indices in places.items()})
    return found


def verified(model: nn.Module, example: Tensor, found: Mapping[int, Group]) -> dict[int, Group]:
    """Keep the families of which a channel can be removed without a change of the output shapes.

    A family of a single group keeps it, so that no layer is left without channels.
    """
    last = {group.family: group for group in found.values()}
    several = sorted(f for f, count in Counter(group.family for group in found.values()).items() if count > 1)
    wanted = answer_shapes(model, example)

    def bears(some: Sequence[int]) -> bool:
        try:
            return answer_shapes(cut(model, [last[f] for f in some])[0], example) == wanted
        except Exception:  # whatever the code of a foreign network raises
            return False

    left = set(bearing(several, bears))
    return {root: group for root, group in found.items() if group.family in left}


def bearing(some: Sequence[int], bears: Callable[[Sequence[int]], bool]) -> list[int]:
    """Find the families that can be removed together, by bisection."""
    if not some or bears(some):
        return list(some)
    if len(some) == 1:
        return []
    half = len(some) // 2
    left = bearing(some[:half], bears) + bearing(some[half:], bears)
    return left if bears(left) else []


def answer_shapes(model: nn.Module, example: Tensor) -> list[tuple[int, ...]]:
    """Give the output shapes of a model in evaluation and in training mode."""
    found: list[Tensor] = []
    for learns in (False, True):
        with in_mode(model, learns=learns), torch.no_grad():
            out = model(example)
        found += out if isinstance(out, (tuple, list)) else [out]
    return [tuple(each.shape) for each in found]
