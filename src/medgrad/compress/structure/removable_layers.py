"""Whole layers that can be removed, because their input and output have the same shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ...models import CONVOLUTION, with_widths
from .cost import Example
from .graph import output_shapes

NetworkLoss = Callable[[nn.Module], float]


def list_removable_layers(model: nn.Module, example: Example) -> list[str]:
    """Name the parts of a network that can be left out: those of several layers, one of them a convolution or linear.

    Of parts that lie in one another the innermost are named.

    >>> import torch
    >>> part = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    >>> list_removable_layers(nn.Sequential(nn.Linear(3, 4), part, nn.Linear(4, 2)), torch.zeros(1, 3))
    ['1']
    """
    shapes: dict[str, list[bool]] = {}

    def shape_hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, given: tuple[Any, ...], out: Any) -> None:
            same = len(given) == 1 and isinstance(given[0], Tensor) and isinstance(out, Tensor)
            shapes.setdefault(name, []).append(same and given[0].shape == out.shape)

        return hook

    parts = {n: m for n, m in model.named_modules() if n and is_block(m)}
    hooks = [module.register_forward_hook(shape_hook(name)) for name, module in parts.items()]
    try:
        wanted = output_shapes(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    twice = Counter(id(m) for _, m in model.named_modules(remove_duplicate=False))
    fitting = [n for n in parts if shapes.get(n) and all(shapes[n]) and twice[id(parts[n])] == 1]
    inner = [n for n in fitting if not any(other.startswith(f"{n}.") for other in fitting)]
    return [n for n in inner if output_shapes(with_widths(model, {n: ()}), example) == wanted]


def is_block(module: nn.Module) -> bool:
    """Tell whether a module is a block of several modules with a convolution or linear layer."""
    return bool(module._modules) and any(isinstance(m, (CONVOLUTION, nn.Linear)) for m in module.modules())


def choose_removable_layers(
    model: nn.Module, example: Example, count: int, *, loss: NetworkLoss, cost: Callable[[nn.Module], float]
) -> list[str]:
    """Choose so many blocks to remove, one after another, each with the least rise of the loss for the cost it saves.

    ``loss`` gives the loss of a network. A block whose removal lowers the loss counts as almost free.
    """
    removed: list[str] = []
    for _ in range(count):
        found = rank_removable_layers(remove_layers(model, removed), example, loss=loss, cost=cost)
        if not found:
            break
        removed.append(found[0])
    return removed


def rank_removable_layers(
    model: nn.Module, example: Example, *, loss: NetworkLoss, cost: Callable[[nn.Module], float]
) -> list[str]:
    """Rank the removable blocks by the rise of the loss for the cost saved, lowest first."""
    before, whole = loss(model), cost(model)
    found: Mapping[str, float] = {
        name: max(loss(smaller) - before, 1e-6 * abs(before)) / max(whole - cost(smaller), 1e-12)
        for name in list_removable_layers(model, example)
        for smaller in [remove_layers(model, [name])]
    }
    return sorted(found, key=lambda name: found[name])


def remove_layers(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """Give a copy of a network without some of its parts; what is left keeps its weights."""
    return with_widths(model, dict.fromkeys(names, ()))


def merge_widths(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Lay widths over others; nothing is told of what lies in a part that is left out.

    >>> merge_widths({"a.0": [3]}, {"a": [], "b": [2]})
    {'a': [], 'b': [2]}
    """
    both = {**old, **new}
    gone = [name for name, numbers in both.items() if not numbers]
    return {name: numbers for name, numbers in both.items() if not any(name.startswith(f"{g}.") for g in gone)}
