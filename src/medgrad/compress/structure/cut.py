"""Remove channel groups from a network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...models import CONVOLUTION, layer_widths, with_widths
from .groups import Group, TensorAxis, first_names


def cut(model: nn.Module, removed: Sequence[Group]) -> tuple[nn.Module, dict[str, list[int]]]:
    """Give a copy of a model without some groups of its channels, and the widths of the layers that this changed.

    The model of the same settings, narrowed to these widths, takes the weights of the copy.
    """
    indices = group_indices(removed)
    names = first_names(model)
    new = remaining_widths(model, indices)
    smaller = with_widths(model, new)
    with torch.no_grad():
        state = {
            name: drop_indices(tensor, names.get(name, name), indices) for name, tensor in model.state_dict().items()
        }
        smaller.load_state_dict(state)
    smaller.train(model.training)
    return smaller, new


def group_indices(groups: Sequence[Group]) -> dict[TensorAxis, list[int]]:
    """Collect the tensor indices of several groups."""
    found: dict[TensorAxis, list[int]] = defaultdict(list)
    for group in groups:
        for place, indices in group.channel_indices.items():
            found[place] += indices
    return dict(found)


def drop_indices(tensor: Tensor, name: str, removed: Mapping[TensorAxis, Sequence[int]]) -> Tensor:
    """Drop the removed indices from a tensor."""
    for axis in range(tensor.ndim):
        gone = removed.get((name, axis))
        if gone:
            kept = torch.ones(tensor.shape[axis], dtype=torch.bool)
            kept[list(gone)] = False
            tensor = tensor.index_select(axis, kept.nonzero().flatten().to(tensor.device))
    return tensor


def remaining_widths(model: nn.Module, removed: Mapping[TensorAxis, Sequence[int]]) -> dict[str, list[int]]:
    """Give the new widths of the layers that lose channels."""
    found = {}
    for name, old in layer_widths(model).items():
        module, dot = model.get_submodule(name), f"{name}." if name else ""
        count = [len(removed.get((f"{dot}weight", axis), ())) for axis in (0, 1)]
        count[0] = count[0] or len(removed.get((f"{dot}running_mean", 0), ()))
        if any(count):
            found[name] = remaining_layer_widths(module, old, count)
    return found


def remaining_layer_widths(module: nn.Module, before: Sequence[int], removed: Sequence[int]) -> list[int]:
    """Give the new widths of one layer from the indices removed along the first two axes of its weight."""
    if isinstance(module, CONVOLUTION):
        into, out, groups = before
        if groups > 1:  # whole groups went, and with them as large a part of what goes in and what comes out
            share, whole = (removed[0], into if module.transposed else out)
            return [n - n * share // whole for n in (into, out, groups)]
        return (
            [into - removed[0], out - removed[1], 1] if module.transposed else [into - removed[1], out - removed[0], 1]
        )
    if isinstance(module, nn.Linear):
        return [before[0] - removed[1], before[1] - removed[0]]
    return [n - n * removed[0] // before[0] for n in before]  # the groups of a norm stay as large as they were
