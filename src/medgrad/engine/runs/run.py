"""A run is a folder; its files, and how to load its networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from ... import registry
from ...data.atomic_files import write_text
from ...data.run_files import read_record
from ...errors import FormatError, SettingError
from ...inference.encode import input_names
from ...inference.input_check import InputSpec, merge_image_facts
from ...models import with_widths
from ...prepare import Step, build_steps
from ...tasks import Task
from ...trust.voxel_zscore import VoxelZScore
from ..compute.device import AutocastModule, Compute, choose_device
from .checkpoint import load_weights, read_weights
from .recipe import Recipe, is_network_of_task, read_recipe, recipe_to_toml
from .zscore_file import read_zscore


@dataclass(frozen=True)
class Run:
    """The paths of a run's files. Folds, where there are any, are runs within it."""

    folder: Path

    @property
    def recipe_file(self) -> Path:
        return self.folder / "recipe.toml"

    @property
    def last_checkpoint(self) -> Path:
        return self.folder / "weights" / "last.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        return self.folder / "weights" / "best.safetensors"

    @property
    def weights_file(self) -> Path:
        """The checkpoint for inference: the best, or else the last."""
        return self.best_checkpoint if self.best_checkpoint.exists() else self.last_checkpoint

    @property
    def zscore_file(self) -> Path:
        return self.folder / "zscore.npz"

    @property
    def steps_file(self) -> Path:
        return self.folder / "steps.jsonl"

    @property
    def fold_runs(self) -> list[Run]:
        """The runs of the folds, in order; empty where there are none."""
        return [Run(p) for p in sorted(self.folder.glob("fold-*")) if (p / "recipe.toml").exists()]

    @property
    def has_started(self) -> bool:
        """Whether any step was trained; before that, the recipe may still change."""
        return self.steps_file.exists() or any(fold.steps_file.exists() for fold in self.fold_runs)

    def load_recipe(self) -> Recipe:
        """Read the recipe."""
        if not self.recipe_file.exists():
            raise FormatError(
                f"{str(self.folder)!r} is not a run: it has no recipe.toml. Give a folder that fit wrote."
            )
        return read_recipe(self.recipe_file)

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe."""
        write_text(self.recipe_file, recipe_to_toml(recipe))

    def write_facts(self, **facts: Any) -> None:
        """Add facts to ``run.json``."""
        write_text(self.folder / "run.json", json.dumps(self.read_facts() | facts, indent=1) + "\n")

    def read_facts(self) -> dict[str, Any]:
        """Read the facts in ``run.json``; none where there is no such file."""
        return read_record(self.folder / "run.json")


@dataclass(frozen=True)
class TrainedRun:
    """A trained run, ready for inference: task, networks (one per fold), preparation, device and weights.

    ``zscores`` are the plain z-scores of its training images (one per fold), where the task is held to one.
    """

    task: Task
    networks: tuple[nn.Module, ...]
    prepare_steps: tuple[Step, ...]
    recipe: Recipe
    compute: Compute
    weight_files: tuple[Path, ...] = ()
    input_spec: InputSpec | None = None
    zscores: tuple[VoxelZScore, ...] = ()


def build_model(recipe: Recipe, task: Task, n_channels: int) -> nn.Module:
    """Build the network that a recipe names, for a number of input channels."""
    name, settings = recipe.model["name"], {k: v for k, v in recipe.model.items() if k != "name"}
    is_own = is_network_of_task(name, task.kind)
    make = task.network if is_own else find_fitting_model(name, task)
    sizes = (n_channels,) if is_own else (n_channels, task.outputs.channels, task.dims)
    taken = signature(make).parameters
    if "shape" in taken and not settings.get("shape"):
        settings["shape"] = recipe.training.patch
    if "labels" in taken and not settings.get("labels"):
        settings["labels"] = len(getattr(task, "labels", ()))
    model: nn.Module = make(*sizes, **settings)
    return with_widths(model, recipe.layer_widths) if recipe.layer_widths else model


def find_fitting_model(name: str, task: Task) -> Any:
    """Find the named model, or raise if it does not give the output that the task needs."""
    make, needed = registry.find("models", name), task.outputs.shape
    if needed not in make.output_kinds:
        fitting = [n for n in registry.names("models") if needed in registry.find("models", n).output_kinds]
        raise SettingError(
            f"{task.kind} needs a {needed} output, which {name!r} does not give. These do: {', '.join(fitting)}."
        )
    return make


def open_run(folder: Path | str, *, device: str | None = None) -> TrainedRun:
    """Load a trained run with its best weights; a run of folds becomes an ensemble."""
    run = Run(Path(folder))
    recipe = run.load_recipe()
    task = recipe.build_task()
    compute = choose_device(recipe.training.precision, device)
    runs = run.fold_runs or [run]
    models = tuple(load_model(each, compute) for each in runs)
    steps, weights = tuple(build_steps(recipe.prepare)), tuple(r.weights_file for r in runs)
    zscores = tuple(read_zscore(r.zscore_file) for r in runs if r.zscore_file.exists())
    return TrainedRun(task, models, steps, recipe, compute, weights, make_input_spec(runs, recipe, task), zscores)


def make_input_spec(runs: Sequence[Run], recipe: Recipe, task: Task) -> InputSpec:
    """Return the input specification of a run: the axes of its task, and the kind of images in its training data."""
    known = merge_image_facts([run.read_facts().get("inputs", {}) for run in runs])
    return InputSpec(task.dims, task.channels, known, any(step.get("name") == "channels" for step in recipe.prepare))


def load_model(run: Run, compute: Compute) -> nn.Module:
    """Load the network of one run with its best weights on the device, ready for inference."""
    model, _ = load_network(run)
    return AutocastModule(compute.move_model(model), compute).eval()


def load_network(run: Run) -> tuple[nn.Module, int]:
    """Load the network of one run with its best weights, and return it with its number of input channels."""
    recipe = run.load_recipe()
    if not run.weights_file.exists():
        raise FormatError(f"{str(run.folder)!r} has no weights yet. Let fit finish first.")
    weights, planes = read_weights(run.weights_file)
    model = build_model(recipe, recipe.build_task(), planes)
    load_weights(model, weights)
    return model, planes


def count_channels(cases: Sequence[Any], task: Task) -> int:
    """Count the input channels of a prepared case."""
    return sum(cases[0].images[name].channels for name in input_names(cases[0], task.channels))
