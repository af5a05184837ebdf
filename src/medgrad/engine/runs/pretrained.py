"""Initialise a network with pretrained weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import FormatError, SettingError
from .checkpoint import read_weights
from .run import Run

MIN_MATCHED_SHARE = 0.5
"""Weights of which less than this share of the numbers fits are of another network, which is told."""


def load_pretrained(network: nn.Module, init: Mapping[str, Any]) -> dict[str, Any]:
    """Load those pretrained weights that match a network, and report which were loaded.

    ``weights`` is a run, one of its checkpoints, or any ``.safetensors`` file. ``only`` lists name prefixes of
    the weights to load, such as ``("down.",)`` for an encoder. A tensor matches if its name and its shape are
    equal. Where the number of input channels differs, each channel of the first layer becomes the mean of the
    pretrained ones. A last layer for other classes keeps its random initialisation.
    """
    path = Path(init["weights"])
    learned = read_pretrained(path)
    wanted = tuple(init.get("only", ()))
    current = {k: v for k, v in network.state_dict().items() if not wanted or k.startswith(wanted)}
    if not current:
        raise SettingError(
            f"No weight of the network begins with {', '.join(map(repr, wanted))}: see 'only' of [start]."
        )
    first_layer = next((k for k, v in network.state_dict().items() if v.ndim > 2), "")
    matching = {k: learned[k].to(v.dtype) for k, v in current.items() if k in learned and learned[k].shape == v.shape}
    if (
        first_layer in current
        and first_layer not in matching
        and first_layer in learned
        and (adapted := adapt_input_channels(learned[first_layer], current[first_layer])) is not None
    ):
        matching[first_layer] = adapted
    share = count_elements(matching.values()) / max(1, count_elements(current.values()))
    if share < MIN_MATCHED_SHARE:
        raise FormatError(
            f"{str(path)!r} fits {share:.0%} of this network's numbers, so it is of another network. "
            "Give the same [model] as it was learned with, or say by 'only' of [start] which part is wanted."
        )
    network.load_state_dict({**network.state_dict(), **matching})
    return {"weights": str(path), "taken": round(share, 4), "anew": sorted(current.keys() - matching.keys())}


def read_pretrained(path: Path) -> dict[str, Tensor]:
    """Read the weights of a run (its best), of a checkpoint, or of any safetensors file."""
    if path.is_dir():
        run = Run(path)
        if run.fold_runs:
            raise SettingError(
                f"{str(path)!r} is a run of folds. Name one of them, such as {run.fold_runs[0].folder.name!r}."
            )
        path = run.weights_file
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist, or has no weights. Give a run or a .safetensors file.")
    try:
        return read_weights(path)[0]
    except FormatError:
        return read_safetensors(path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file that is not a checkpoint of medgrad."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as reason:
        raise FormatError(
            f"{str(path)!r} is no safetensors file. Save the weights with safetensors.torch.save_file first."
        ) from reason


def adapt_input_channels(pretrained: Tensor, current: Tensor) -> Tensor | None:
    """Adapt the weights of a first layer to another number of input channels, by their mean over the channels.

    They are scaled so that the output keeps its magnitude. Returns None where more than the channels differs.
    """
    if (
        pretrained.ndim != current.ndim
        or pretrained.shape[:1] + pretrained.shape[2:] != current.shape[:1] + current.shape[2:]
    ):
        return None
    scale = pretrained.shape[1] / current.shape[1]
    return (pretrained.mean(1, keepdim=True) * scale).expand_as(current).to(current.dtype)


def count_elements(tensors: Iterable[Tensor]) -> int:
    """Count the elements of all tensors."""
    return sum(t.numel() for t in tensors)


def recipe_from_run(weights_path: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the user's tables over those of a recipe that starts from pretrained weights.

    If the weights are a run, its network and its preparation are taken over.
    """
    tables: dict[str, Any] = {"init": {"weights": str(weights_path.resolve())}}
    if (weights_path / "recipe.toml").exists():
        learned = asdict(Run(weights_path).load_recipe())
        tables |= {k: learned[k] for k in ("model", "layer_widths", "prepare")}
        tables["training"] = {"patch": learned["training"]["patch"]}
    for key, value in changes.items():
        below = tables.get(key)
        renamed = isinstance(below, dict) and value.get("name", below.get("name")) != below.get("name")
        if renamed and key == "model":
            tables.pop("layer_widths", None)
        tables[key] = {**below, **value} if isinstance(below, dict) and not renamed else value
    return tables
