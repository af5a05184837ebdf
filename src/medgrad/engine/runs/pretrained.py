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
from .checkpoint import read_learned
from .run import Run

LEAST = 0.5
"""Weights of which less than this share of the numbers fits are of another network, which is told."""


def load_pretrained(network: nn.Module, start: Mapping[str, Any]) -> dict[str, Any]:
    """Load those pretrained weights that match a network, and report which were loaded.

    ``weights`` is a run, one of its checkpoints, or any ``.safetensors`` file. ``only`` lists name prefixes of
    the weights to load, such as ``("down.",)`` for an encoder. A tensor matches if its name and its shape are
    equal. Where the number of input channels differs, each channel of the first layer becomes the mean of the
    pretrained ones. A last layer for other classes keeps its random initialisation.
    """
    path = Path(start["weights"])
    learned = learned_weights(path)
    wanted = tuple(start.get("only", ()))
    own = {k: v for k, v in network.state_dict().items() if not wanted or k.startswith(wanted)}
    if not own:
        raise SettingError(
            f"No weight of the network begins with {', '.join(map(repr, wanted))}: see 'only' of [start]."
        )
    first = next((k for k, v in network.state_dict().items() if v.ndim > 2), "")
    fits = {k: learned[k].to(v.dtype) for k, v in own.items() if k in learned and learned[k].shape == v.shape}
    if (
        first in own
        and first not in fits
        and first in learned
        and (seen := adapt_input_channels(learned[first], own[first])) is not None
    ):
        fits[first] = seen
    share = numbers(fits.values()) / max(1, numbers(own.values()))
    if share < LEAST:
        raise FormatError(
            f"{str(path)!r} fits {share:.0%} of this network's numbers, so it is of another network. "
            "Give the same [model] as it was learned with, or say by 'only' of [start] which part is wanted."
        )
    network.load_state_dict({**network.state_dict(), **fits})
    return {"weights": str(path), "taken": round(share, 4), "anew": sorted(own.keys() - fits.keys())}


def learned_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a run (its best), of a checkpoint, or of any safetensors file."""
    if path.is_dir():
        run = Run(path)
        if run.folds:
            raise SettingError(
                f"{str(path)!r} is a run of folds. Name one of them, such as {run.folds[0].folder.name!r}."
            )
        path = run.weights
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist, or has no weights. Give a run or a .safetensors file.")
    try:
        return read_learned(path)[0]
    except FormatError:
        return foreign_weights(path)


def foreign_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file that is not a checkpoint of medgrad."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as reason:
        raise FormatError(
            f"{str(path)!r} is no safetensors file. Save the weights with safetensors.torch.save_file first."
        ) from reason


def adapt_input_channels(learned: Tensor, own: Tensor) -> Tensor | None:
    """Adapt the weights of a first layer to another number of input channels, by their mean over the channels.

    They are scaled so that the output keeps its magnitude. Returns None where more than the channels differs.
    """
    if learned.ndim != own.ndim or learned.shape[:1] + learned.shape[2:] != own.shape[:1] + own.shape[2:]:
        return None
    scale = learned.shape[1] / own.shape[1]
    return (learned.mean(1, keepdim=True) * scale).expand_as(own).to(own.dtype)


def numbers(tensors: Iterable[Tensor]) -> int:
    """Count the elements of all tensors."""
    return sum(t.numel() for t in tensors)


def recipe_from_run(path: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the user's tables over those of a recipe that starts from pretrained weights.

    If the weights are a run, its network and its preparation are taken over.
    """
    tables: dict[str, Any] = {"start": {"weights": str(path.resolve())}}
    if (path / "recipe.toml").exists():
        learned = asdict(Run(path).recipe())
        tables |= {k: learned[k] for k in ("model", "widths", "prepare")}
        tables["training"] = {"patch": learned["training"]["patch"]}
    for key, value in changes.items():
        below = tables.get(key)
        renamed = isinstance(below, dict) and value.get("name", below.get("name")) != below.get("name")
        if renamed and key == "model":
            tables.pop("widths", None)
        tables[key] = {**below, **value} if isinstance(below, dict) and not renamed else value
    return tables
