"""Everything that it takes to go on, in one file that is whole or not there: safetensors with JSON in its head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import FormatError
from ..runtime.files import write_bytes as write_bytes
from ..runtime.files import write_text as write_text


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
    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["medgrad"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
        return unpacked(plain, tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as reason:
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


def restore_order(model: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights into a network, and name what does not fit."""
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as reason:
        raise FormatError(f"The weights do not fit this network: {str(reason).splitlines()[-1].strip()}.") from reason
