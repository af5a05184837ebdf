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
from ...errors import FormatError, SettingError
from ...models import with_widths
from ...prepare import Step, build_steps
from ...inference.input_check import Takes, joined
from ...tasks import Task
from .checkpoint import read_learned, load_weights
from ...data.atomic_files import write_text
from ..compute.device import AutocastModule, Compute, choose
from .recipe import Recipe, read_recipe, to_toml


@dataclass(frozen=True)
class Run:
    """The paths of a run's files. Folds, where there are any, are runs within it."""

    folder: Path

    @property
    def recipe_file(self) -> Path:
        return self.folder / "recipe.toml"

    @property
    def last(self) -> Path:
        return self.folder / "weights" / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.folder / "weights" / "best.safetensors"

    @property
    def weights(self) -> Path:
        """The checkpoint for inference: the best, or else the last."""
        return self.best if self.best.exists() else self.last

    @property
    def steps_file(self) -> Path:
        return self.folder / "steps.jsonl"

    @property
    def folds(self) -> list[Run]:
        """The runs of the folds, in order; empty where there are none."""
        return [Run(p) for p in sorted(self.folder.glob("fold-*")) if (p / "recipe.toml").exists()]

    @property
    def has_begun(self) -> bool:
        """Whether any step was trained; before that, the recipe may still change."""
        return self.steps_file.exists() or any(fold.steps_file.exists() for fold in self.folds)

    def recipe(self) -> Recipe:
        """Read the recipe."""
        if not self.recipe_file.exists():
            raise FormatError(
                f"{str(self.folder)!r} is not a run: it has no recipe.toml. Give a folder that fit wrote."
            )
        return read_recipe(self.recipe_file)

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe."""
        write_text(self.recipe_file, to_toml(recipe))

    def note(self, **facts: Any) -> None:
        """Add facts to ``run.json``."""
        write_text(self.folder / "run.json", json.dumps(self.noted() | facts, indent=1) + "\n")

    def noted(self) -> dict[str, Any]:
        """Read the facts in ``run.json``; none where there is no such file."""
        path = self.folder / "run.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}


@dataclass(frozen=True)
class Trained:
    """A trained run, ready for inference: task, networks (one per fold), preparation, device and weights."""

    task: Task
    models: tuple[nn.Module, ...]
    steps: tuple[Step, ...]
    recipe: Recipe
    place: Compute
    weights: tuple[Path, ...] = ()
    takes: Takes | None = None


def build_model(recipe: Recipe, task: Task, planes: int) -> nn.Module:
    """Build the network that a recipe names, for a number of input channels."""
    settings = {k: v for k, v in recipe.model.items() if k != "name"}
    make = registry.find("models", recipe.model["name"])
    if task.outputs.shape not in make.gives:
        fitting = [n for n in registry.names("models") if task.outputs.shape in registry.find("models", n).gives]
        raise SettingError(
            f"{task.kind} needs a {task.outputs.shape} output, which {recipe.model['name']!r} does not give. "
            f"These do: {', '.join(fitting)}."
        )
    if "shape" in signature(make).parameters and not settings.get("shape"):
        settings["shape"] = recipe.training.patch
    model = make(planes, task.outputs.channels, task.dims, **settings)
    return with_widths(model, recipe.widths) if recipe.widths else model


def open_run(folder: Path | str, *, device: str | None = None) -> Trained:
    """Load a trained run with its best weights; a run of folds becomes an ensemble."""
    run = Run(Path(folder))
    recipe = run.recipe()
    task = recipe.build_task()
    place = choose(recipe.training.precision, device)
    runs = run.folds or [run]
    models = tuple(open_model(each, place) for each in runs)
    steps, weights = tuple(build_steps(recipe.prepare)), tuple(r.weights for r in runs)
    return Trained(task, models, steps, recipe, place, weights, taken_by(runs, recipe, task))


def taken_by(runs: Sequence[Run], recipe: Recipe, task: Task) -> Takes:
    """Return the input specification of a run: the axes of its task, and the kind of images in its training data."""
    known = joined([run.noted().get("inputs", {}) for run in runs])
    return Takes(task.dims, task.channels, known, any(step.get("name") == "planes" for step in recipe.prepare))


def open_model(run: Run, place: Compute) -> nn.Module:
    """Load the network of one run with its best weights on the device, ready for inference."""
    model, _ = network_of(run)
    return AutocastModule(place.model(model), place).eval()


def network_of(run: Run) -> tuple[nn.Module, int]:
    """Load the network of one run with its best weights, and return it with its number of input channels."""
    recipe = run.recipe()
    if not run.weights.exists():
        raise FormatError(f"{str(run.folder)!r} has no weights yet. Let fit finish first.")
    weights, planes = read_learned(run.weights)
    model = build_model(recipe, recipe.build_task(), planes)
    load_weights(model, weights)
    return model, planes


def planes_of(cases: Sequence[Any], task: Task) -> int:
    """Count the input channels of a prepared case."""
    images = cases[0].images
    return sum(images[n].channels for n in (task.channels or images))
