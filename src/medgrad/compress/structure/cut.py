"""Remove channel groups from a network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...models import CONVOLUTION, widths, with_widths
from .groups import Group, Place, first_names


def cut(model: nn.Module, gone: Sequence[Group]) -> tuple[nn.Module, dict[str, list[int]]]:
    """Give a copy of a model without some groups of its channels, and the widths of the layers that this changed.

    The model of the same settings, narrowed to these widths, takes the weights of the copy.
    """
    lost = indices_of(gone)
    names = first_names(model)
    new = shapes_left(model, lost)
    smaller = with_widths(model, new)
    with torch.no_grad():
        state = {name: without(tensor, names.get(name, name), lost) for name, tensor in model.state_dict().items()}
        smaller.load_state_dict(state)
    smaller.train(model.training)
    return smaller, new


def indices_of(groups: Sequence[Group]) -> dict[Place, list[int]]:
    """Collect the tensor indices of several groups."""
    found: dict[Place, list[int]] = defaultdict(list)
    for group in groups:
        for place, indices in group.touches.items():
            found[place] += indices
    return dict(found)


def without(tensor: Tensor, name: str, lost: Mapping[Place, Sequence[int]]) -> Tensor:
    """Drop the removed indices from a tensor."""
    for axis in range(tensor.ndim):
        gone = lost.get((name, axis))
        if gone:
            kept = torch.ones(tensor.shape[axis], dtype=torch.bool)
            kept[list(gone)] = False
            tensor = tensor.index_select(axis, kept.nonzero().flatten().to(tensor.device))
    return tensor


def shapes_left(model: nn.Module, lost: Mapping[Place, Sequence[int]]) -> dict[str, list[int]]:
    """Give the new widths of the layers that lose channels."""
    found = {}
    for name, old in widths(model).items():
        module, dot = model.get_submodule(name), f"{name}." if name else ""
        count = [len(lost.get((f"{dot}weight", axis), ())) for axis in (0, 1)]
        count[0] = count[0] or len(lost.get((f"{dot}running_mean", 0), ()))
        if any(count):
            found[name] = left(module, old, count)
    return found


def left(module: nn.Module, old: Sequence[int], lost: Sequence[int]) -> list[int]:
    """Give the new widths of one layer from the indices removed along the first two axes of its weight."""
    if isinstance(module, CONVOLUTION):
        into, out, groups = old
        if groups > 1:  # whole groups went, and with them as large a part of what goes in and what comes out
            share, whole = (lost[0], into if module.transposed else out)
            return [n - n * share // whole for n in (into, out, groups)]
        return [into - lost[0], out - lost[1], 1] if module.transposed else [into - lost[1], out - lost[0], 1]
    if isinstance(module, nn.Linear):
        return [old[0] - lost[1], old[1] - lost[0]]
    return [n - n * lost[0] // old[0] for n in old]  # the groups of a norm stay as large as they were
