"""Everything that it takes to go on, in one file that is whole or not there: safetensors with JSON in its head."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...data.atomic_files import write_bytes
from ...errors import FormatError

MOST = 4096
"""No image has more channels: a file that says so is not trusted with the memory that they would take."""


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested dictionaries and lists of tensors and plain values."""
    tensors: dict[str, Tensor] = {}
    plain = packed(state, "", tensors)
    write_bytes(path, save(tensors, metadata={"medgrad": json.dumps(plain)}))


def packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Put every tensor aside under a name of its own, and leave the name in its place."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = [[k, packed(v, f"{name}/{k}", tensors)] for k, v in value.items()]
        return {"items": items}
    if isinstance(value, (list, tuple)):
        return {"list": [packed(v, f"{name}/{i}", tensors) for i, v in enumerate(value)]}
    return {"value": value}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what ``write_checkpoint`` wrote; nothing in the file is run."""
    with as_format_error(path):
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["medgrad"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
        return dict(unpacked(plain, tensors))


def read_learned(path: Path) -> tuple[dict[str, Tensor], int]:
    """Read the weights with which a checkpoint answers, and how many channels its network takes."""
    state = read_checkpoint(path)
    with as_format_error(path):
        weights, planes = dict(state["average"] or state["model"]), state["planes"]
        if not isinstance(planes, int) or not 1 <= planes <= MOST:
            raise ValueError(f"planes is {planes!r}")
        if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
            raise TypeError("weights are tensors")
    return weights, planes


@contextmanager
def as_format_error(path: Path) -> Iterator[None]:
    """Say in one line that a file is no checkpoint where something is not in it, or is something else."""
    try:
        yield
    except FormatError:  # which says more
        raise
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as reason:
        raise FormatError(f"{str(path)!r} is not a checkpoint of medgrad, or it is damaged.") from reason


def unpacked(value: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """Put the tensors back in their places."""
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "items" in value:
        return {k: unpacked(v, tensors) for k, v in value["items"]}
    if "list" in value:
        return [unpacked(v, tensors) for v in value["list"]]
    return value["value"]


def load_weights(model: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights into a network, and name what does not fit."""
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as reason:
        raise FormatError(f"The weights do not fit this network: {str(reason).splitlines()[-1].strip()}.") from reason
