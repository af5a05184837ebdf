"""Networks with fewer channels in some of their layers than their settings gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from ..errors import SettingError, nearest
from ._blocks import InstanceNorm

CONVOLUTION = nn.modules.conv._ConvNd
NORM = nn.modules.batchnorm._NormBase
BORN = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0, "bias": 0.0}
"""What the numbers of a norm begin as."""


def widths(model: nn.Module) -> dict[str, list[int]]:
    """Tell the widths of each layer that has any, by its name.

    A convolution has channels in, channels out and groups, a linear layer numbers in and out, a group norm channels
    and groups, any other norm its channels. A layer that stands at several places is told once.

    >>> widths(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.GroupNorm(2, 4)))
    {'0': [1, 4, 1], '2': [4, 2]}
    """
    found = {name: width_of(module) for name, module in model.named_modules()}
    return {name: numbers for name, numbers in found.items() if numbers}


def width_of(module: nn.Module) -> list[int]:
    """Tell the widths of one layer; none of what is no such layer, or cannot have another width."""
    if isinstance(module, CONVOLUTION):
        return [module.in_channels, module.out_channels, module.groups]
    if isinstance(module, nn.Linear):
        return [module.in_features, module.out_features]
    if isinstance(module, nn.GroupNorm):
        return [module.num_channels, module.num_groups]
    if isinstance(module, NORM):
        return [module.num_features]
    if isinstance(module, InstanceNorm):
        return [] if module.weight is None else [len(module.weight)]
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return [module.normalized_shape[0]]
    if isinstance(module, nn.PReLU):
        return [module.num_parameters]
    return []


def narrowed(model: nn.Module, wanted: Mapping[str, Sequence[int]]) -> nn.Module:
    """Give a copy of a network in which some layers, by their names, have other widths, and begin anew.

    Fill it with the weights that fit; layers that are not named keep theirs.

    >>> narrowed(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), {"0": [4, 1], "1": [1, 2]})[0]
    Linear(in_features=4, out_features=1, bias=True)
    """
    model = deepcopy(model)
    known = widths(model)
    for name, numbers in wanted.items():
        if name not in known:
            raise SettingError(f"[widths] names {name!r}, which is no layer of this network.{nearest(name, known)}")
        if len(numbers) != len(known[name]) or min(numbers) < 1:
            raise SettingError(
                f"{name!r} in [widths] has {len(known[name])} whole numbers above 0, such as {known[name]}, but they "
                f"are {list(numbers)}."
            )
        resize(model.get_submodule(name), list(numbers))
    return model


def resize(module: Any, numbers: Sequence[int]) -> None:
    """Give one layer other widths, and fresh weights of these shapes, in place."""
    if isinstance(module, CONVOLUTION):
        module.in_channels, module.out_channels, module.groups = numbers
        into, out = module.in_channels, module.out_channels
        first, second = (into, out // module.groups) if module.transposed else (out, into // module.groups)
        renew(module, "weight", (first, second, *module.kernel_size))
        renew(module, "bias", (out,))
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = numbers
        renew(module, "weight", (numbers[1], numbers[0]))
        renew(module, "bias", (numbers[1],))
    else:
        if isinstance(module, nn.GroupNorm):
            module.num_channels, module.num_groups = numbers
        elif isinstance(module, NORM):
            module.num_features = numbers[0]
        elif isinstance(module, nn.LayerNorm):
            module.normalized_shape = (numbers[0],)
        elif isinstance(module, nn.PReLU):
            module.num_parameters = numbers[0]
        for name in BORN:
            renew(module, name, (numbers[0],))
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()


def renew(module: nn.Module, name: str, shape: Sequence[int]) -> None:
    """Put a new tensor of another shape where a layer has one, of the same type, at the same place."""
    old = getattr(module, name, None)
    if old is None:
        return
    new = torch.full(tuple(shape), BORN[name], dtype=old.dtype, device=old.device)
    setattr(module, name, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
