"""Rules by operation for how channels flow through it; operations without a rule lock their inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.fx import Node

from .channel_ids import Known, Leaf, Marks, Uniform, reshaped
from .cost import shape_of
from .graph_walk import Walk, name_of, tensors

Told = Known | list[Known]


@dataclass(frozen=True)
class Op:
    """One operation of a traced network: where it stands in the walk, and the arguments by their names."""

    walk: Walk
    node: Node
    given: dict[str, Any]


Rule = Callable[[Op], Told]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of some operations."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def unknown(op: Op) -> Told:
    """Lock the channels of all inputs."""
    for each in tensors(list(op.given.values())):
        op.walk.lock(each)
    return None


@rule("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like")
@rule("scalar_tensor")
def uniform(_: Op) -> Told:
    """One number everywhere fits however many channels it meets."""
    return Uniform()


@rule("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_size", "sym_constrain_range_for_size")
def nothing(_: Op) -> Told:
    """Ignore operations that only check."""
    return None


@rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution")
def convolution(op: Op) -> Told:
    """Own the input channels at one axis of the weight and create the output channels at the other.

    In a grouped convolution all channels of a group are united, so that a group is removed as a whole.
    """
    x, weight, bias, groups = op.given["input"], op.given["weight"], op.given["bias"], op.given["groups"]
    leaf, marks, shape = op.walk.of(weight), op.walk.of(x), shape_of(weight)
    wrong = isinstance(marks, Marks) and marks.axis != 1
    if not isinstance(leaf, Leaf) or wrong or len(shape_of(x)) != len(shape) or not op.walk.is_own(bias):
        return unknown(op)
    turned = bool(op.given.get("transposed")) or "transpose" in name_of(op.node)
    into, out = (0, 1) if turned else (1, 0)
    came = op.walk.ids(x, 1)
    if groups == 1:
        op.walk.bear(leaf.name, into, came)
        born = op.walk.born(leaf.name, out, shape[out])
        op.walk.works(op.node, born, came)
    else:
        born = op.walk.by_group(came, groups, shape_of(op.node)[1])
        op.walk.bear(leaf.name, 0, came if turned else born)
        op.walk.works(op.node, born, None)
    op.walk.bear_all([bias], born)
    return op.walk.marks(1, born)


@rule("linear")
def linear(op: Op) -> Told:
    """As a convolution, on the last axis."""
    x, weight, bias = op.given["input"], op.given["weight"], op.given["bias"]
    leaf, marks, last = op.walk.of(weight), op.walk.of(x), len(shape_of(x)) - 1
    if not isinstance(leaf, Leaf) or (isinstance(marks, Marks) and marks.axis != last) or not op.walk.is_own(bias):
        return unknown(op)
    came = op.walk.ids(x, last)
    op.walk.bear(leaf.name, 1, came)
    born = op.walk.born(leaf.name, 0, shape_of(weight)[0])
    op.walk.bear_all([bias], born)
    op.walk.works(op.node, born, came)
    return op.walk.marks(last, born)


@rule("batch_norm", "instance_norm")
def norm(op: Op) -> Told:
    """Each channel is normalised by itself, and owns its numbers there."""
    x, marks = op.given["input"], op.walk.of(op.given["input"])
    own = [op.given[name] for name in ("weight", "bias", "running_mean", "running_var")]
    wrong = isinstance(marks, Marks) and marks.axis != 1
    nowhere = not any(own) and op.walk.is_within(op.node, "InstanceNorm")  # torch's own counts its channels
    if wrong or nowhere or not all(op.walk.is_own(each) for each in own):
        return unknown(op)
    op.walk.bear_all(own, op.walk.ids(x, 1))
    return op.walk.marked(x)


@rule("group_norm")
def group_norm(op: Op) -> Told:
    """What is normalised together goes together."""
    x, marks, own = op.given["input"], op.walk.of(op.given["input"]), [op.given["weight"], op.given["bias"]]
    wrong = isinstance(marks, Marks) and marks.axis != 1
    if wrong or not all(own) or not all(op.walk.is_own(each) for each in own):
        return unknown(op)
    came = op.walk.ids(x, 1)
    op.walk.bear_all(own, op.walk.by_group(came, op.given["num_groups"], len(came)))
    return op.walk.marked(x)


@rule("layer_norm")
def layer_norm(op: Op) -> Told:
    """Over one axis of channels the rest is normalised without those that went."""
    x, marks, own = op.given["input"], op.walk.of(op.given["input"]), [op.given["weight"], op.given["bias"]]
    last = len(shape_of(x)) - 1
    if len(op.given["normalized_shape"]) > 1 or not own[0] or not all(op.walk.is_own(each) for each in own):
        return unknown(op)
    if isinstance(marks, Marks) and marks.axis != last:
        return unknown(op)
    op.walk.bear_all(own, op.walk.ids(x, last))
    return op.walk.marked(x)


@rule("prelu")
def prelu(op: Op) -> Told:
    """One slope for all, or one a channel."""
    x, weight, marks = op.given["self"], op.given["weight"], op.walk.of(op.given["self"])
    if shape_of(weight) in ((), (1,)):
        return op.walk.marked(x)
    if not isinstance(op.walk.of(weight), Leaf) or (isinstance(marks, Marks) and marks.axis != 1):
        return unknown(op)
    op.walk.bear_all([weight], op.walk.ids(x, 1))
    return op.walk.marked(x)


@rule("embedding_bag", "_embedding_bag")
def embedding_bag(op: Op) -> Told:
    """Weighted sums of rows have the columns of the rows."""
    table = op.walk.of(op.given["weight"])
    if not isinstance(table, Marks) or table.axis != 1:
        return unknown(op)
    unknown(replace(op, given={k: v for k, v in op.given.items() if k != "weight"}))
    return [table, None, None, None]


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d")
@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "_adaptive_avg_pool3d")
@rule("max_pool2d_with_indices", "max_pool3d_with_indices")
@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d")
@rule("_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
@rule("upsample_bicubic2d", "pad", "constant_pad_nd")
def over_space(op: Op) -> Told:
    """Pass channels through operations on the spatial axes."""
    x = op.given["self" if "self" in op.given else "input"]
    marks = op.walk.of(x)
    seen = len(op.given["pad"]) // 2 if "pad" in op.given else int(re.findall(r"(\d)d", name_of(op.node))[0])
    if isinstance(marks, Marks) and marks.axis >= len(shape_of(x)) - seen:
        return unknown(op)
    return op.walk.as_many(op.node, op.walk.marked(x))


@rule("mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "var", "std", "any", "all", "logsumexp")
@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "cumsum", "cumprod", "flip", "roll", "sort", "topk")
@rule("index_select")
def along(op: Op) -> Told:
    """Pass channels through operations along other axes."""
    if op.given.get("other") is not None:  # the greater of two, not along an axis
        return elementwise(op)
    x, dims = op.given["self"], op.given.get("dim", op.given.get("dims"))
    marks, before = op.walk.of(x), len(shape_of(x))
    if not isinstance(marks, Marks) or dims in (None, [], ()):
        return unknown(op)
    gone = {d % before for d in listed(dims)}
    if marks.axis in gone:
        return unknown(op)
    value = op.node.meta["val"]
    after = len((value[0] if isinstance(value, (list, tuple)) else value).shape)
    shift = 0 if after == before else sum(d < marks.axis for d in gone)
    return op.walk.as_many(op.node, Marks(marks.axis - shift, marks.ids))


@rule("view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as")
def reshape(op: Op) -> Told:
    """Follow the channels into another shape, as long as their axis stays whole."""
    marks = op.walk.no_leaf(op.given["self"])
    if not isinstance(marks, Marks):
        return marks
    found = reshaped(marks, shape_of(op.given["self"]), shape_of(op.node))
    return found or unknown(op)


@rule("permute", "transpose", "t", "movedim", "swapaxes", "swapdims", "mT", "numpy_T")
def turn(op: Op) -> Told:
    """Follow the channels to where their axis goes."""
    marks = op.walk.no_leaf(op.given["self"])
    if not isinstance(marks, Marks):
        return marks
    count, name = len(shape_of(op.given["self"])), name_of(op.node)
    if name == "permute":
        order = [d % count for d in op.given["dims"]]
    elif name == "movedim":
        order = moved(count, listed(op.given["source"]), listed(op.given["destination"]))
    elif name in ("transpose", "swapaxes", "swapdims"):
        a, b = (value for key, value in op.given.items() if key != "self")
        order = moved(count, [a, b], [b, a])
    elif name in ("mT", "t"):
        order = moved(count, [-1, -2], [-2, -1])
    else:
        order = list(reversed(range(count)))
    return Marks(order.index(marks.axis), marks.ids)


def listed(value: int | Sequence[int]) -> Sequence[int]:
    """Give one number, or several, as several."""
    return [value] if isinstance(value, int) else value


def moved(count: int, some: Sequence[int], others: Sequence[int]) -> list[int]:
    """Give, for each axis after moving some to others, the axis that it was.

    >>> moved(3, [1], [-1])
    [0, 2, 1]
    """
    target = {o % count: s % count for s, o in zip(some, others, strict=True)}
    rest = iter(axis for axis in range(count) if axis not in target.values())
    return [target[axis] if axis in target else next(rest) for axis in range(count)]


@rule("expand", "expand_as", "broadcast_to")
def expand(op: Op) -> Told:
    """New axes come first."""
    marks = op.walk.no_leaf(op.given["self"])
    if not isinstance(marks, Marks):
        return marks
    return Marks(marks.axis + len(shape_of(op.node)) - len(shape_of(op.given["self"])), marks.ids)


@rule("select", "slice", "narrow")
def part(op: Op) -> Told:
    """Pass channels through a slice along another axis; a slice of the channels locks them."""
    x, marks = op.given["self"], op.walk.no_leaf(op.given["self"])
    if not isinstance(marks, Marks):
        return marks
    before, after = shape_of(x), shape_of(op.node)
    dim = op.given["dim"] % len(before)
    if dim == marks.axis:
        return marks if before == after else unknown(op)
    return Marks(marks.axis - (len(before) != len(after) and dim < marks.axis), marks.ids)


@rule("chunk", "split", "split_with_sizes", "unbind")
def split(op: Op) -> Told:
    """Split channels into equal parts, which are united; unequal parts are locked."""
    marks, values = op.walk.no_leaf(op.given["self"]), op.node.meta["val"]
    if not isinstance(marks, Marks):
        return [marks] * len(values)
    dim = op.given["dim"] % (before := len(shape_of(op.given["self"])))
    if dim != marks.axis:
        shift = len(values[0].shape) != before and dim < marks.axis
        return [Marks(marks.axis - shift, marks.ids) for _ in values]
    sizes = {v.shape[dim] if len(v.shape) == before else 0 for v in values}
    if len(sizes) > 1 or 0 in sizes:
        unknown(op)
        return [None] * len(values)
    parts = np.split(marks.ids, len(values))
    for other in parts[1:]:
        op.walk.channels.unite(parts[0], other)
    return [op.walk.marks(dim, ids) for ids in parts]


@rule("cat", "concat", "concatenate")
def cat(op: Op) -> Told:
    """One after another along the channels, or side by side along another axis."""
    nodes, known = op.given["tensors"], [op.walk.no_leaf(each) for each in op.given["tensors"]]
    dim = op.given["dim"] % len(shape_of(op.node))
    axes = {k.axis for k in known if isinstance(k, Marks)}
    if not axes:
        return None
    if axes == {dim}:
        return Marks(dim, np.concatenate([op.walk.ids(each, dim) for each in nodes]))
    if len(axes) > 1:
        return unknown(op)
    return side_by_side(op.walk, known, axes.pop())


@rule("stack")
def stack(op: Op) -> Told:
    """Side by side along a new axis."""
    known = [op.walk.no_leaf(each) for each in op.given["tensors"]]
    axes = {k.axis for k in known if isinstance(k, Marks)}
    if len(axes) != 1:
        return unknown(op)
    one = side_by_side(op.walk, known, axes.pop())
    dim = op.given["dim"] % len(shape_of(op.node))
    return Marks(one.axis + (dim <= one.axis), one.ids) if isinstance(one, Marks) else one


def side_by_side(walk: Walk, known: Sequence[Known], axis: int) -> Known:
    """Unite the channels of several tensors along one axis, in order."""
    first = next(k for k in known if isinstance(k, Marks))
    for each in known:
        if isinstance(each, Marks):
            walk.channels.unite(first.ids, each.ids)
        elif not isinstance(each, Uniform):
            walk.channels.lock(first)
    return Marks(axis, first.ids)


ELEMENTWISE = (
    "add sub rsub mul div pow maximum minimum where masked_fill clamp clamp_min clamp_max lerp addcmul addcdiv fmod "
    "remainder floor_divide eq ne lt le gt ge logical_and logical_or logical_xor logical_not bitwise_and bitwise_or "
    "bitwise_not atan2 relu relu6 leaky_relu gelu silu elu selu celu hardswish hardtanh hardsigmoid softplus mish "
    "sigmoid log_sigmoid tanh exp expm1 log log2 log10 log1p sqrt rsqrt abs neg square sign reciprocal floor ceil "
    "round trunc sin cos erf isnan isfinite nan_to_num clone contiguous to _to_copy detach alias lift_fresh_copy "
    "type_as dropout feature_dropout alpha_dropout threshold"
)


@rule(*ELEMENTWISE.split())
def elementwise(op: Op) -> Told:
    """Unite the channels of all inputs; an input with one element where another has channels locks these."""
    nodes, after = tensors(list(op.given.values())), len(shape_of(op.node))
    known = [op.walk.no_leaf(each) for each in nodes]
    if known and all(isinstance(k, Uniform) for k in known) and "dropout" not in name_of(op.node):
        return Uniform()
    marked = [(k.axis + after - len(shape_of(n)), k) for n, k in zip(nodes, known, strict=True) if isinstance(k, Marks)]
    if not marked:
        return None
    axis, first = marked[0]
    if any(other != axis for other, _ in marked):
        return unknown(op)
    for n, k in zip(nodes, known, strict=True):
        place = axis - (after - len(shape_of(n)))
        if isinstance(k, Marks):
            op.walk.channels.unite(first.ids, k.ids)
        elif not isinstance(k, Uniform) and place >= 0 and shape_of(n)[place] > 1:
            op.walk.channels.lock(first)
    return Marks(axis, first.ids)
