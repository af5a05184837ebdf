"""Checkpoints: all state that resumes a training, in one safetensors file written atomically, with JSON metadata."""

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

MAX_CHANNELS = 4096
"""No image has more channels: a file that says so is not trusted with the memory that they would take."""


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested dictionaries and lists of tensors and plain values as a checkpoint."""
    tensors: dict[str, Tensor] = {}
    plain = pack_tensors(state, "", tensors)
    write_bytes(path, save(tensors, metadata={"medgrad": json.dumps(plain)}))


def pack_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Collect every tensor under a unique name, and replace it by that name in the structure."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = [[k, pack_tensors(v, f"{name}/{k}", tensors)] for k, v in value.items()]
        return {"items": items}
    if isinstance(value, (list, tuple)):
        return {"list": [pack_tensors(v, f"{name}/{i}", tensors) for i, v in enumerate(value)]}
    return {"value": value}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; no code in the file is executed."""
    with as_format_error(path):
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["medgrad"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
        return dict(unpack_tensors(plain, tensors))


def read_weights(path: Path) -> tuple[dict[str, Tensor], int]:
    """Read the weights for inference from a checkpoint, and the number of input channels."""
    state = read_checkpoint(path)
    with as_format_error(path):
        weights, planes = dict(state["ema"] or state["model"]), state["channels"]
        if not isinstance(planes, int) or not 0 <= planes <= MAX_CHANNELS:
            raise ValueError(f"planes is {planes!r}")
        if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
            raise TypeError("weights are tensors")
    return weights, planes


@contextmanager
def as_format_error(path: Path) -> Iterator[None]:
    """Raise a ``FormatError`` of one line where a checkpoint is damaged or incomplete."""
    try:
        yield
    except FormatError:  # which says more
        raise
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as reason:
        raise FormatError(f"{str(path)!r} is not a checkpoint of medgrad, or it is damaged.") from reason


def unpack_tensors(value: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """Replace the names of tensors in the structure by the tensors."""
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "items" in value:
        return {k: unpack_tensors(v, tensors) for k, v in value["items"]}
    if "list" in value:
        return [unpack_tensors(v, tensors) for v in value["list"]]
    return value["value"]


def load_weights(network: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights into a network, or raise an error that names what does not fit."""
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as reason:
        raise FormatError(f"The weights do not fit this network: {str(reason).splitlines()[-1].strip()}.") from reason
