"""Layer widths: read them from a network, and narrow a network to given ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import sqrt
from typing import Any

from torch import nn

from ..errors import SettingError, suggest_name
from ._blocks import InstanceNorm

CONVOLUTION = nn.modules.conv._ConvNd
NORM = nn.modules.batchnorm._NormBase
PER_CHANNEL_TENSORS = ("weight", "bias", "running_mean", "running_var")
"""What a layer holds one or more of for each of its channels."""


def layer_widths(model: nn.Module) -> dict[str, list[int]]:
    """Give the widths of each layer that has any, by its name.

    A convolution has input channels, output channels and groups; a linear layer inputs and outputs; a group norm
    channels and groups; any other norm its channels. A layer that is used at several places is listed once.

    >>> layer_widths(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.GroupNorm(2, 4)))
    {'0': [1, 4, 1], '2': [4, 2]}
    """
    found = {name: layer_width(module) for name, module in model.named_modules()}
    return {name: numbers for name, numbers in found.items() if numbers}


def layer_width(module: nn.Module) -> list[int]:
    """Give the widths of one layer; empty for a module without any."""
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


def with_widths(model: nn.Module, wanted: Mapping[str, Sequence[int]]) -> nn.Module:
    """Give a copy of a network in which some layers, by their names, are narrower; the others stay as they are.

    What has no width at all is left out: a layer, or a part of several, that gives what comes in another value but no
    other shape.

    A network that is new begins as it would have if it had been made so: what is left of each weight is scaled to the
    fewer numbers that come in. One that has learned is to be filled with the weights that fit.

    >>> with_widths(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), {"0": [4, 1], "1": [1, 2]})[0]
    Linear(in_features=4, out_features=1, bias=True)
    >>> with_widths(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), {"1": []})[1]
    Identity()
    """
    model = deepcopy(model)
    for name in (n for n, numbers in wanted.items() if not numbers):
        parts = [n for n, _ in model.named_modules() if n]
        if name not in parts:
            raise SettingError(
                f"[widths] leaves {name!r} out, which is no part of this network.{suggest_name(name, parts)}"
            )
        model.set_submodule(name, nn.Identity())
    known = layer_widths(model)
    for name, numbers in ((n, numbers) for n, numbers in wanted.items() if numbers):
        if name not in known:
            raise SettingError(
                f"[widths] names {name!r}, which is no layer of this network.{suggest_name(name, known)}"
            )
        if len(numbers) != len(known[name]) or any(not 0 < n <= k for n, k in zip(numbers, known[name], strict=False)):
            raise SettingError(
                f"{name!r} in [widths] has {len(known[name])} whole numbers above 0, of which none is larger than in "
                f"{known[name]}, but they are {list(numbers)}."
            )
        resize_layer(model.get_submodule(name), list(numbers))
    return model


def resize_layer(module: Any, numbers: Sequence[int]) -> None:
    """Make one layer narrower, in place."""
    if isinstance(module, CONVOLUTION):
        module.in_channels, module.out_channels, module.groups = into, out, groups = numbers
        shape = (into, out // groups) if module.transposed else (out, into // groups)
        shrink_tensor(module, "weight", shape)
        shrink_tensor(module, "bias", (out,))
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = into, out = numbers
        shrink_tensor(module, "weight", (out, into))
        shrink_tensor(module, "bias", (out,))
    else:
        if isinstance(module, nn.GroupNorm):
            module.num_channels, module.num_groups = numbers
        elif isinstance(module, NORM):
            module.num_features = numbers[0]
        elif isinstance(module, nn.LayerNorm):
            module.normalized_shape = (numbers[0],)
        elif isinstance(module, nn.PReLU):
            module.num_parameters = numbers[0]
        for name in PER_CHANNEL_TENSORS:
            shrink_tensor(module, name, (numbers[0],))


def shrink_tensor(module: nn.Module, name: str, shape: Sequence[int]) -> None:
    """Keep the first elements of a parameter or buffer along its first axes, as a new tensor.

    A weight is rescaled to the variance that the usual initialisation gives for its new shape.
    """
    old = getattr(module, name, None)
    if old is None:
        return
    left = old.detach()[tuple(slice(size) for size in shape)]
    new = left * sqrt(old[0].numel() / left[0].numel()) if left.ndim > 1 else left.clone()
    setattr(module, name, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
