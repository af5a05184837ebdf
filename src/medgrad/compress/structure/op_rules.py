"""Rules by operation for how channels flow through it; operations without a rule lock their inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.fx import Node

from .channel_ids import AxisChannels, ParameterRef, TensorState, Uniform, reshape_channels
from .cost import node_shape
from .graph_walk import GraphWalk, op_name, tensor_nodes

OpResult = TensorState | list[TensorState]


@dataclass(frozen=True)
class Op:
    """One operation of a traced network: where it stands in the walk, and the arguments by their names."""

    walk: GraphWalk
    node: Node
    arguments: dict[str, Any]


Rule = Callable[[Op], OpResult]
RULES: dict[str, Rule] = {}


def register_rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of some operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def lock_inputs(op: Op) -> OpResult:
    """Lock the channels of all inputs."""
    for each in tensor_nodes(list(op.arguments.values())):
        op.walk.lock(each)
    return None


@register_rule("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like")
@register_rule("scalar_tensor")
def uniform(_: Op) -> OpResult:
    """One number everywhere fits however many channels it meets."""
    return Uniform()


@register_rule("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_size", "sym_constrain_range_for_size")
def ignore_op(_: Op) -> OpResult:
    """Ignore operations that only check."""
    return None


@register_rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution")
def convolution(op: Op) -> OpResult:
    """Own the input channels at one axis of the weight and create the output channels at the other.

    In a grouped convolution all channels of a group are united, so that a group is removed as a whole.
    """
    x, weight, bias, groups = (
        op.arguments["input"],
        op.arguments["weight"],
        op.arguments["bias"],
        op.arguments["groups"],
    )
    leaf, marks, shape = op.walk.state_of(weight), op.walk.state_of(x), node_shape(weight)
    wrong = isinstance(marks, AxisChannels) and marks.axis != 1
    if (
        not isinstance(leaf, ParameterRef)
        or wrong
        or len(node_shape(x)) != len(shape)
        or not op.walk.is_parameter(bias)
    ):
        return lock_inputs(op)
    is_transposed = bool(op.arguments.get("transposed")) or "transpose" in op_name(op.node)
    into, out = (0, 1) if is_transposed else (1, 0)
    input_ids = op.walk.ids_along(x, 1)
    if groups == 1:
        op.walk.own(leaf.name, into, input_ids)
        output_ids = op.walk.create(leaf.name, out, shape[out])
        op.walk.count_flops(op.node, output_ids, input_ids)
    else:
        output_ids = op.walk.unite_groups(input_ids, groups, node_shape(op.node)[1])
        op.walk.own(leaf.name, 0, input_ids if is_transposed else output_ids)
        op.walk.count_flops(op.node, output_ids, None)
    op.walk.own_all([bias], output_ids)
    return op.walk.make_channels(1, output_ids)


@register_rule("linear")
def linear(op: Op) -> OpResult:
    """As a convolution, on the last axis."""
    x, weight, bias = op.arguments["input"], op.arguments["weight"], op.arguments["bias"]
    leaf, marks, last = op.walk.state_of(weight), op.walk.state_of(x), len(node_shape(x)) - 1
    if (
        not isinstance(leaf, ParameterRef)
        or (isinstance(marks, AxisChannels) and marks.axis != last)
        or not op.walk.is_parameter(bias)
    ):
        return lock_inputs(op)
    input_ids = op.walk.ids_along(x, last)
    op.walk.own(leaf.name, 1, input_ids)
    output_ids = op.walk.create(leaf.name, 0, node_shape(weight)[0])
    op.walk.own_all([bias], output_ids)
    op.walk.count_flops(op.node, output_ids, input_ids)
    return op.walk.make_channels(last, output_ids)


@register_rule("batch_norm", "instance_norm")
def norm(op: Op) -> OpResult:
    """Each channel is normalised by itself, and owns its numbers there."""
    x, marks = op.arguments["input"], op.walk.state_of(op.arguments["input"])
    own = [op.arguments[name] for name in ("weight", "bias", "running_mean", "running_var")]
    wrong = isinstance(marks, AxisChannels) and marks.axis != 1
    nowhere = not any(own) and op.walk.is_inside_module(op.node, "InstanceNorm")  # torch's own counts its channels
    if wrong or nowhere or not all(op.walk.is_parameter(each) for each in own):
        return lock_inputs(op)
    op.walk.own_all(own, op.walk.ids_along(x, 1))
    return op.walk.axis_channels(x)


@register_rule("group_norm")
def group_norm(op: Op) -> OpResult:
    """What is normalised together goes together."""
    x, marks, own = (
        op.arguments["input"],
        op.walk.state_of(op.arguments["input"]),
        [op.arguments["weight"], op.arguments["bias"]],
    )
    wrong = isinstance(marks, AxisChannels) and marks.axis != 1
    if wrong or not all(own) or not all(op.walk.is_parameter(each) for each in own):
        return lock_inputs(op)
    input_ids = op.walk.ids_along(x, 1)
    op.walk.own_all(own, op.walk.unite_groups(input_ids, op.arguments["num_groups"], len(input_ids)))
    return op.walk.axis_channels(x)


@register_rule("layer_norm")
def layer_norm(op: Op) -> OpResult:
    """Over one axis of channels the rest is normalised without those that went."""
    x, marks, own = (
        op.arguments["input"],
        op.walk.state_of(op.arguments["input"]),
        [op.arguments["weight"], op.arguments["bias"]],
    )
    last = len(node_shape(x)) - 1
    if len(op.arguments["normalized_shape"]) > 1 or not own[0] or not all(op.walk.is_parameter(each) for each in own):
        return lock_inputs(op)
    if isinstance(marks, AxisChannels) and marks.axis != last:
        return lock_inputs(op)
    op.walk.own_all(own, op.walk.ids_along(x, last))
    return op.walk.axis_channels(x)


@register_rule("prelu")
def prelu(op: Op) -> OpResult:
    """One slope for all, or one a channel."""
    x, weight, marks = op.arguments["self"], op.arguments["weight"], op.walk.state_of(op.arguments["self"])
    if node_shape(weight) in ((), (1,)):
        return op.walk.axis_channels(x)
    if not isinstance(op.walk.state_of(weight), ParameterRef) or (isinstance(marks, AxisChannels) and marks.axis != 1):
        return lock_inputs(op)
    op.walk.own_all([weight], op.walk.ids_along(x, 1))
    return op.walk.axis_channels(x)


@register_rule("embedding_bag", "_embedding_bag")
def embedding_bag(op: Op) -> OpResult:
    """Weighted sums of rows have the columns of the rows."""
    table = op.walk.state_of(op.arguments["weight"])
    if not isinstance(table, AxisChannels) or table.axis != 1:
        return lock_inputs(op)
    lock_inputs(replace(op, arguments={k: v for k, v in op.arguments.items() if k != "weight"}))
    return [table, None, None, None]


@register_rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
@register_rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d")
@register_rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "_adaptive_avg_pool3d")
@register_rule("max_pool2d_with_indices", "max_pool3d_with_indices")
@register_rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d")
@register_rule("_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
@register_rule("upsample_bicubic2d", "pad", "constant_pad_nd")
def spatial_op(op: Op) -> OpResult:
    """Pass channels through operations on the spatial axes."""
    x = op.arguments["self" if "self" in op.arguments else "input"]
    marks = op.walk.state_of(x)
    seen = len(op.arguments["pad"]) // 2 if "pad" in op.arguments else int(re.findall(r"(\d)d", op_name(op.node))[0])
    if isinstance(marks, AxisChannels) and marks.axis >= len(node_shape(x)) - seen:
        return lock_inputs(op)
    return op.walk.repeat_for_outputs(op.node, op.walk.axis_channels(x))


@register_rule(
    "mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "var", "std", "any", "all", "logsumexp"
)
@register_rule(
    "softmax", "log_softmax", "_softmax", "_log_softmax", "cumsum", "cumprod", "flip", "roll", "sort", "topk"
)
@register_rule("index_select")
def reduction(op: Op) -> OpResult:
    """Pass channels through operations along other axes."""
    if op.arguments.get("other") is not None:  # the greater of two, not along an axis
        return elementwise(op)
    x, dims = op.arguments["self"], op.arguments.get("dim", op.arguments.get("dims"))
    marks, before = op.walk.state_of(x), len(node_shape(x))
    if not isinstance(marks, AxisChannels) or dims in (None, [], ()):
        return lock_inputs(op)
    gone = {d % before for d in as_list(dims)}
    if marks.axis in gone:
        return lock_inputs(op)
    value = op.node.meta["val"]
    after = len((value[0] if isinstance(value, (list, tuple)) else value).shape)
    shift = 0 if after == before else sum(d < marks.axis for d in gone)
    return op.walk.repeat_for_outputs(op.node, AxisChannels(marks.axis - shift, marks.ids))


@register_rule("view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as")
def reshape(op: Op) -> OpResult:
    """Follow the channels into another shape, as long as their axis stays whole."""
    marks = op.walk.activation_state(op.arguments["self"])
    if not isinstance(marks, AxisChannels):
        return marks
    found = reshape_channels(marks, node_shape(op.arguments["self"]), node_shape(op.node))
    return found or lock_inputs(op)


@register_rule("permute", "transpose", "t", "movedim", "swapaxes", "swapdims", "mT", "numpy_T")
def permute(op: Op) -> OpResult:
    """Follow the channels to where their axis goes."""
    marks = op.walk.activation_state(op.arguments["self"])
    if not isinstance(marks, AxisChannels):
        return marks
    count, name = len(node_shape(op.arguments["self"])), op_name(op.node)
    if name == "permute":
        order = [d % count for d in op.arguments["dims"]]
    elif name == "movedim":
        order = permutation_of(count, as_list(op.arguments["source"]), as_list(op.arguments["destination"]))
    elif name in ("transpose", "swapaxes", "swapdims"):
        a, b = (value for key, value in op.arguments.items() if key != "self")
        order = permutation_of(count, [a, b], [b, a])
    elif name in ("mT", "t"):
        order = permutation_of(count, [-1, -2], [-2, -1])
    else:
        order = list(reversed(range(count)))
    return AxisChannels(order.index(marks.axis), marks.ids)


def as_list(value: int | Sequence[int]) -> Sequence[int]:
    """Give one number, or several, as several."""
    return [value] if isinstance(value, int) else value


def permutation_of(count: int, sources: Sequence[int], targets: Sequence[int]) -> list[int]:
    """Give, for each axis after moving some to others, the axis that it was.

    >>> permutation_of(3, [1], [-1])
    [0, 2, 1]
    """
    target = {o % count: s % count for s, o in zip(sources, targets, strict=True)}
    rest = iter(axis for axis in range(count) if axis not in target.values())
    return [target[axis] if axis in target else next(rest) for axis in range(count)]


@register_rule("expand", "expand_as", "broadcast_to")
def expand(op: Op) -> OpResult:
    """New axes come first."""
    marks = op.walk.activation_state(op.arguments["self"])
    if not isinstance(marks, AxisChannels):
        return marks
    return AxisChannels(marks.axis + len(node_shape(op.node)) - len(node_shape(op.arguments["self"])), marks.ids)


@register_rule("select", "slice", "narrow")
def slice_axis(op: Op) -> OpResult:
    """Pass channels through a slice along another axis; a slice of the channels locks them."""
    x, marks = op.arguments["self"], op.walk.activation_state(op.arguments["self"])
    if not isinstance(marks, AxisChannels):
        return marks
    before, after = node_shape(x), node_shape(op.node)
    dim = op.arguments["dim"] % len(before)
    if dim == marks.axis:
        return marks if before == after else lock_inputs(op)
    return AxisChannels(marks.axis - (len(before) != len(after) and dim < marks.axis), marks.ids)


@register_rule("chunk", "split", "split_with_sizes", "unbind")
def split(op: Op) -> OpResult:
    """Split channels into equal parts, which are united; unequal parts are locked."""
    marks, values = op.walk.activation_state(op.arguments["self"]), op.node.meta["val"]
    if not isinstance(marks, AxisChannels):
        return [marks] * len(values)
    dim = op.arguments["dim"] % (before := len(node_shape(op.arguments["self"])))
    if dim != marks.axis:
        shift = len(values[0].shape) != before and dim < marks.axis
        return [AxisChannels(marks.axis - shift, marks.ids) for _ in values]
    sizes = {v.shape[dim] if len(v.shape) == before else 0 for v in values}
    if len(sizes) > 1 or 0 in sizes:
        lock_inputs(op)
        return [None] * len(values)
    parts = np.split(marks.ids, len(values))
    for other in parts[1:]:
        op.walk.channels.unite(parts[0], other)
    return [op.walk.make_channels(dim, ids) for ids in parts]


@register_rule("cat", "concat", "concatenate")
def cat(op: Op) -> OpResult:
    """One after another along the channels, or side by side along another axis."""
    nodes, known = op.arguments["tensors"], [op.walk.activation_state(each) for each in op.arguments["tensors"]]
    dim = op.arguments["dim"] % len(node_shape(op.node))
    axes = {k.axis for k in known if isinstance(k, AxisChannels)}
    if not axes:
        return None
    if axes == {dim}:
        return AxisChannels(dim, np.concatenate([op.walk.ids_along(each, dim) for each in nodes]))
    if len(axes) > 1:
        return lock_inputs(op)
    return unite_tensors(op.walk, known, axes.pop())


@register_rule("stack")
def stack(op: Op) -> OpResult:
    """Side by side along a new axis."""
    known = [op.walk.activation_state(each) for each in op.arguments["tensors"]]
    axes = {k.axis for k in known if isinstance(k, AxisChannels)}
    if len(axes) != 1:
        return lock_inputs(op)
    one = unite_tensors(op.walk, known, axes.pop())
    dim = op.arguments["dim"] % len(node_shape(op.node))
    return AxisChannels(one.axis + (dim <= one.axis), one.ids) if isinstance(one, AxisChannels) else one


def unite_tensors(walk: GraphWalk, states: Sequence[TensorState], axis: int) -> TensorState:
    """Unite the channels of several tensors along one axis, in order."""
    first = next(k for k in states if isinstance(k, AxisChannels))
    for each in states:
        if isinstance(each, AxisChannels):
            walk.channels.unite(first.ids, each.ids)
        elif not isinstance(each, Uniform):
            walk.channels.lock(first)
    return AxisChannels(axis, first.ids)


ELEMENTWISE = (
    "add sub rsub mul div pow maximum minimum where masked_fill clamp clamp_min clamp_max lerp addcmul addcdiv fmod "
    "remainder floor_divide eq ne lt le gt ge logical_and logical_or logical_xor logical_not bitwise_and bitwise_or "
    "bitwise_not atan2 relu relu6 leaky_relu gelu silu elu selu celu hardswish hardtanh hardsigmoid softplus mish "
    "sigmoid log_sigmoid tanh exp expm1 log log2 log10 log1p sqrt rsqrt abs neg square sign reciprocal floor ceil "
    "round trunc sin cos erf isnan isfinite nan_to_num clone contiguous to _to_copy detach alias lift_fresh_copy "
    "type_as dropout feature_dropout alpha_dropout threshold"
)


@register_rule(*ELEMENTWISE.split())
def elementwise(op: Op) -> OpResult:
    """Unite the channels of all inputs; an input with one element where another has channels locks these."""
    nodes, after = tensor_nodes(list(op.arguments.values())), len(node_shape(op.node))
    known = [op.walk.activation_state(each) for each in nodes]
    if known and all(isinstance(k, Uniform) for k in known) and "dropout" not in op_name(op.node):
        return Uniform()
    marked = [
        (k.axis + after - len(node_shape(n)), k)
        for n, k in zip(nodes, known, strict=True)
        if isinstance(k, AxisChannels)
    ]
    if not marked:
        return None
    axis, first = marked[0]
    if any(other != axis for other, _ in marked):
        return lock_inputs(op)
    for n, k in zip(nodes, known, strict=True):
        place = axis - (after - len(node_shape(n)))
        if isinstance(k, AxisChannels):
            op.walk.channels.unite(first.ids, k.ids)
        elif not isinstance(k, Uniform) and place >= 0 and node_shape(n)[place] > 1:
            op.walk.channels.lock(first)
    return AxisChannels(axis, first.ids)
