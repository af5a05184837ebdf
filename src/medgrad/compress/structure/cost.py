"""The cost of inference: flops, parameters, bytes, milliseconds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, config
from torch.fx.node import map_arg
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import SettingError
from ...models import NORM


@dataclass(frozen=True)
class Cost:
    """What one answer to an example costs: ``flops`` (a multiply-add is two), ``parameters``, and their ``bytes``.

    The bytes are those of all that a checkpoint holds, buffers too.
    """

    flops: int
    parameters: int
    bytes: int


Example = Tensor | tuple[Tensor, ...]
"""What is shown to a network: an image (b, channels, *shape), or each of its arguments."""


def count_cost(model: nn.Module, example: Example) -> Cost:
    """Count what a model costs on an example, by tracing it: nothing is timed.

    >>> count_cost(nn.Linear(3, 2), torch.zeros(1, 3))
    Cost(flops=12, parameters=8, bytes=32)
    """
    return Cost(count_model_flops(model, example), sum(p.numel() for p in model.parameters()), count_bytes(model))


def arguments(example: Example) -> tuple[Tensor, ...]:
    """Give the arguments of a network that an example stands for."""
    return example if isinstance(example, tuple) else (example,)


def count_model_flops(model: nn.Module, example: Example) -> int:
    """Count the flops of a forward pass from shapes alone; a network whose code needs numbers is traced instead.

    Tracing takes six times longer.
    """
    shapes = deepcopy(model)
    try:
        with temporary_mode(shapes.to("meta")), torch.no_grad(), FlopCounter() as counter:
            shapes(*[x.to("meta") for x in arguments(example)])
    except Exception:  # whatever code that looks at a number raises where there is none
        return count_program_flops(trace_model(model, example))
    return counter.flops


class FlopCounter(TorchDispatchMode):
    """Count the flops of everything computed while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.flops += count_op_flops(func, args, out)
        return out


def count_bytes(model: nn.Module) -> int:
    """Count the bytes of a model's state dict, each tensor once."""
    kept = {id(t): t for t in model.state_dict(keep_vars=True).values()}
    return sum(t.numel() * t.element_size() for t in kept.values())


@contextmanager
def temporary_mode(model: nn.Module, *, training: bool = False) -> Iterator[None]:
    """Switch a model to evaluation or training mode (norms stay in evaluation mode), and back at the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            module.training = training and not isinstance(module, NORM)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def without_stack_traces() -> Iterator[None]:
    """Keep torch from writing down for each traced operation where it was called, which nothing here reads."""
    before = getattr(config, "do_not_emit_stack_traces", False)
    config.do_not_emit_stack_traces = True  # torch before 2.9 does not look
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


def trace_model(model: nn.Module, example: Example, *, training: bool = False) -> Any:
    """Trace a copy of a model on an example, in one of its two modes: some networks keep what they see."""
    with temporary_mode(model := deepcopy(model), training=training), without_stack_traces():
        try:
            return torch.export.export(model, arguments(example), strict=False)
        except Exception as reason:  # whatever the code of a foreign network raises
            reason_line = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
            shapes = ", ".join(str(tuple(x.shape)) for x in arguments(example))
            raise SettingError(f"This network cannot be traced on {shapes}: {reason_line}") from reason


def count_program_flops(program: Any) -> int:
    """Count the flops of a traced program, submodules included."""
    parts = [part for part in program.graph_module.modules() if isinstance(part, GraphModule)]
    return sum(count_node_flops(node) for part in parts for node in part.graph.nodes)


def count_node_flops(node: Node) -> int:
    """Count the flops of one traced node."""
    if node.op != "call_function":
        return 0
    return count_op_flops(node.target, map_arg(node.args, lambda each: each.meta.get("val")), node.meta.get("val"))


def count_op_flops(operation: Any, args: Sequence[Any], out: Any) -> int:
    """Count the flops of one operation; only matrix products and convolutions count."""
    name = str(operation).removeprefix("aten.").split(".")[0]
    if name.startswith(("conv1d", "conv2d", "conv3d")):
        return 2 * out.numel() * prod(args[1].shape[1:])
    if name.startswith("conv_transpose"):
        return 2 * args[0].numel() * prod(args[1].shape[1:])
    if name == "convolution":
        return 2 * (args[0] if args[6] else out).numel() * prod(args[1].shape[1:])
    if name in ("linear", "matmul", "mm", "bmm"):
        return 2 * out.numel() * args[0].shape[-1]
    if name in ("addmm", "baddbmm"):
        return 2 * out.numel() * args[1].shape[-1]
    if name == "scaled_dot_product_attention":
        depth, (columns, wide) = args[0].shape[-1], args[2].shape[-2:]
        return 2 * (args[0].numel() // depth) * columns * (depth + wide)
    if name == "einsum":
        return count_einsum_flops(args[0], [each.shape for each in args[1]])
    return 0


def count_einsum_flops(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """Count twice the products of a sum over named axes of two tensors.

    >>> count_einsum_flops("ij,jk->ik", [(2, 3), (3, 4)])
    48
    """
    words = equation.replace(" ", "").split("->")[0].split(",")
    sizes = dict(chain.from_iterable(zip(word, each, strict=True) for word, each in zip(words, shapes, strict=True)))
    return 2 * prod(sizes.values()) if len(words) == 2 else 0


def node_shape(node: Node) -> tuple[int, ...]:
    """Give the output shape of a node."""
    return tuple(node.meta["val"].shape)


def measure_milliseconds(model: nn.Module, example: Example, *, rounds: int = 5) -> float:
    """Time one answer to an example on this machine: the median of so many rounds."""
    return median(one for (one,) in time_interleaved([model], example, rounds=rounds))


def time_interleaved(models: Sequence[nn.Module], example: Example, *, rounds: int = 5) -> list[list[float]]:
    """Time one answer of each model, in milliseconds, round by round: others on the machine then disturb all alike.

    Each answers twice in its turn, and what counts is the second: in use, too, answers of one model follow each other.
    """
    if rounds < 1:
        raise ValueError(f"Timing takes at least one round, but 'rounds' is {rounds}.")
    with ExitStack() as modes, torch.inference_mode():
        for model in models:
            modes.enter_context(temporary_mode(model))
        return [[time_second_call(model, example) for model in models] for _ in range(rounds)]


def time_second_call(model: nn.Module, example: Example) -> float:
    """Time a forward pass that follows another, in milliseconds."""
    run_and_synchronise(model, example)
    start = time.perf_counter()
    run_and_synchronise(model, example)
    return 1000 * (time.perf_counter() - start)


def run_and_synchronise(model: nn.Module, example: Example) -> None:
    """Run a forward pass and wait for the device."""
    shown = arguments(example)
    model(*shown)
    if shown[0].device.type == "cuda":
        torch.cuda.synchronize(shown[0].device)
