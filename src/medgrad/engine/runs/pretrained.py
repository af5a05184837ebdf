"""Initialise a network with pretrained weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ... import registry
from ...errors import FormatError, SettingError
from ...tasks import Task
from .checkpoint import read_weights
from .recipe import Recipe, find_network
from .run import Run

MIN_MATCHED_SHARE = 0.5
"""Weights of which less than this share of the numbers fits are of another network, which is told."""


def load_pretrained(network: nn.Module, init: Mapping[str, Any]) -> dict[str, Any]:
    """Load those pretrained weights that match a network, and report which were loaded.

    ``weights`` is a run, one of its checkpoints, or any ``.safetensors`` file. ``only`` lists name prefixes of
    the weights to load, such as ``("down.",)`` for an encoder. A tensor matches if its name and its shape are
    equal. Where the number of input channels differs, each channel of the first layer becomes the mean of the
    pretrained ones. A last layer for other classes keeps its random initialisation.

    What another task learned as a part of its network is taken by its direction alone: each weight gets the norm of the
    random one in its place. Where norms follow, the network computes the same, but learns as fast as a new one: weights
    that have grown change little by steps of the same length. Running statistics begin anew.
    """
    path = Path(init["weights"])
    learned, is_part = matching_part(read_pretrained(path), network.state_dict())
    wanted = tuple(init.get("only", ()))
    current = {k: v for k, v in network.state_dict().items() if not wanted or k.startswith(wanted)}
    if not current:
        raise SettingError(
            f"No weight of the network begins with {', '.join(map(repr, wanted))}: see 'only' of [start]."
        )
    matching, measured = match_weights(learned, current, network), set[str]()
    if is_part:
        measured = {name for name, _ in network.named_buffers()}
        matching = {k: with_norm_of(v, current[k]) for k, v in matching.items() if k not in measured}
    meant = {part_of(k) for k in (learned if is_part else current)}
    share = count_elements(matching.values()) / max(
        1, count_elements(v for k, v in current.items() if part_of(k) in meant)
    )
    if share < MIN_MATCHED_SHARE:
        raise FormatError(
            f"{str(path)!r} fits {share:.0%} of this network's numbers, so it is of another network. "
            "Give the same [model] as it was learned with, or say by 'only' of [start] which part is wanted."
        )
    network.load_state_dict({**network.state_dict(), **matching})
    taken = count_elements(matching.values()) / max(1, count_elements(current.values()))
    return {"weights": str(path), "taken": round(taken, 4), "anew": sorted(current.keys() - matching.keys() - measured)}


def match_weights(
    learned: Mapping[str, Tensor], current: Mapping[str, Tensor], network: nn.Module
) -> dict[str, Tensor]:
    """Give the weights of the same names and shapes as current ones; the first layer is adapted to the channels."""
    matching = {k: learned[k].to(v.dtype) for k, v in current.items() if k in learned and learned[k].shape == v.shape}
    first_layer = next((k for k, v in network.state_dict().items() if v.ndim > 2), "")
    if first_layer in current and first_layer not in matching and first_layer in learned:
        adapted = adapt_input_channels(learned[first_layer], current[first_layer])
        matching |= {first_layer: adapted} if adapted is not None else {}
    return matching


def with_norm_of(learned: Tensor, random: Tensor) -> Tensor:
    """Give a weight with the norm of another; what has one axis, such as a bias, stays, and so does what is 0."""
    norm, wanted = learned.float().norm(), random.float().norm()
    if learned.ndim < 2 or not norm or not wanted:
        return learned
    return learned * (wanted / norm).to(learned.dtype)


def matching_part(learned: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Give the weights by their names within that part of the network that learned which fits best, and if it is one.

    An autoencoder holds what another network begins with as one of its parts.
    """
    parts = ["", *sorted({f"{part_of(name)}." for name in learned})]
    named = {part: {k.removeprefix(part): v for k, v in learned.items() if k.startswith(part)} for part in parts}
    best = max(parts, key=lambda part: count_elements(v for k, v in named[part].items() if fits(v, current.get(k))))
    return named[best], bool(best)


def fits(learned: Tensor, current: Tensor | None) -> bool:
    """Tell whether a weight has the shape of one of the network."""
    return current is not None and learned.shape == current.shape


def part_of(name: str) -> str:
    """Give the part of a network that a weight is in: the first word of its name."""
    return name.partition(".")[0]


def describe_init(begun: Mapping[str, Any]) -> str:
    """Say in one line what a network began with.

    >>> describe_init({"weights": "runs/auto", "taken": 0.97, "anew": ["head.3.weight"]})
    "It begins with 97 % of its numbers from 'runs/auto'; anew: head."
    """
    anew = ", ".join(sorted({part_of(name) for name in begun["anew"]})) or "nothing"
    return f"It begins with {100 * begun['taken']:.0f} % of its numbers from {begun['weights']!r}; anew: {anew}."


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


def recipe_from_run(
    weights_path: Path, changes: Mapping[str, Any], *, task: Task | None = None, n_images: int = 0
) -> dict[str, Any]:
    """Merge the user's tables over those of a recipe that starts from pretrained weights.

    If the weights are a run, its network and its preparation are taken over. Where the ``task`` is another than the
    run's, the network is the one within that of the run. The preparation is planned anew for cases of another number
    of images, and by the objects where boxes are to be found.
    """
    tables: dict[str, Any] = {"init": {"weights": str(weights_path.resolve())}}
    if (weights_path / "recipe.toml").exists():
        recipe = Run(weights_path).load_recipe()
        learned = asdict(recipe)
        tables |= {k: learned[k] for k in ("model", "layer_widths")}
        if task is not None:
            tables |= tables_for_task(weights_path, recipe, task, changes)
        finds_boxes = task is not None and task.outputs.shape == "pyramid" and task.kind != recipe.task["kind"]
        if not finds_boxes and n_images in (0, len(recipe.task.get("channels", ())) or 1):
            tables |= {"prepare": learned["prepare"], "training": {"patch": learned["training"]["patch"]}}
    for key, value in changes.items():
        below = tables.get(key)
        renamed = isinstance(below, dict) and value.get("name", below.get("name")) != below.get("name")
        if renamed and key == "model":
            tables.pop("layer_widths", None)
        tables[key] = {**below, **value} if isinstance(below, dict) and not renamed else value
    return tables


def tables_for_task(path: Path, recipe: Recipe, task: Task, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Give the network of a run as another task takes it, by the tables of a recipe, or raise if it cannot be taken."""
    learned = recipe.build_task()
    if learned.dims != task.dims:
        raise SettingError(
            f"{str(path)!r} learned from images of {learned.dims} axes, but these have {task.dims}. "
            "Give a run of images like these."
        )
    if learned.kind == task.kind:
        return {}
    network = find_network(recipe.model["name"], learned.kind)
    model, widths = dict(recipe.model), dict(recipe.layer_widths)
    if hasattr(network, "inner_model"):
        model = network.inner_model({k: v for k, v in model.items() if k != "name"})
        within = f"{network.inner}."
        widths = {k.removeprefix(within): v for k, v in widths.items() if k.startswith(within)}
    if task.outputs.shape == "pyramid":
        model.pop("first", None)
    fitting = [n for n in registry.names("models") if begins(n, task)]
    if changes.get("model", {}).get("name", model["name"]) == model["name"] and model["name"] not in fitting:
        raise SettingError(
            f"{str(path)!r} learned {learned.kind} with {model['name']!r}, with which {task.kind} cannot begin. "
            f"Give a run of restoration whose model is an autoencoder, its 'body' one of {', '.join(fitting)}."
        )
    return {"model": model, "layer_widths": widths}


def begins(name: str, task: Task) -> bool:
    """Tell whether a task can take a network that learned another task: one with a backbone, and with its output."""
    network: Any = registry.find("models", name) if name in registry.names("models") else None
    return hasattr(network, "backbone") and task.outputs.shape in network.output_kinds
