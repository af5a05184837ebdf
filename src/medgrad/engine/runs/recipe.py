"""The recipe: all settings of a run, read from TOML, written to TOML, and stored in every run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ... import registry
from ...descent.samplers import build_sampler
from ...errors import SettingError
from ...inference.coarse_to_fine import MAX_FIRST_PASS_STRIDE
from ...tasks import Task
from .recipe_tables import (
    PART_PACKAGES,
    SECTIONS,
    Table,
    check_keys,
    check_tables,
    make_section,
    part_name,
    part_tables,
)
from .recipe_tables import Inference as Inference
from .recipe_tables import Replan as Replan
from .recipe_tables import Training as Training
from .recipe_tables import read_toml_tables as read_toml_tables


@dataclass(frozen=True)
class Recipe:
    """All settings of a run.

    ``task``, ``model``, ``optimiser``, ``schedule`` and ``sampler`` name a registry file and its settings.
    ``gradients`` wrap one another, the innermost first; any rule of ``stopping`` may end the run early;
    ``rates`` give some weights another learning rate. ``solver`` finds the optimum of a convex model; without
    it, or with the name "none", the model is trained by gradient descent. ``init`` names pretrained
    ``weights`` and, with ``only``, the name prefixes of those to load. ``layer_widths`` are the numbers of channels
    of pruned layers, by layer name; a layer with none at all is left out.
    """

    task: Table = field(default_factory=lambda: {"kind": "segmentation"})
    model: Table = field(default_factory=lambda: {"name": "unet"})
    prepare: tuple[Table, ...] = ()
    augment: tuple[Table, ...] = ()
    optimiser: Table = field(default_factory=lambda: {"name": "adamw", "rate": 1e-3})
    schedule: Table = field(default_factory=lambda: {"name": "cosine"})
    sampler: Table = field(default_factory=lambda: {"name": "balanced", "class_balance": 0.5})
    solver: Table = field(default_factory=dict)
    init: Table = field(default_factory=dict)
    gradients: tuple[Table, ...] = ()
    stopping: tuple[Table, ...] = ()
    rates: tuple[Table, ...] = ()
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    layer_widths: Table = field(default_factory=dict)

    def __post_init__(self) -> None:
        for room, table in self.named_parts():
            if "name" not in table:
                raise SettingError(f"A table of [{room}] has no name. Known: {', '.join(registry.names(room))}.")
            given = {k: v for k, v in table.items() if k != "name"}
            if room == "models":
                check_network_settings(table["name"], given, self.task.get("kind"))
            else:
                registry.check_settings(room, table["name"], given)
        build_sampler(self.sampler, ())  # its settings are checked without any case
        for key, value in self.optimiser.items():
            if any(isinstance(v, (int, float)) and v < 0 for v in (value if isinstance(value, tuple) else (value,))):
                raise SettingError(f"{key!r} in [optimiser] is at least 0, but it is {value!r}.")
        check_keys(self.init, ("weights", "only"), "[start]")
        if self.init and not self.init.get("weights"):
            raise SettingError("[start] names no 'weights'. Give a run or a .safetensors file.")
        for layer, numbers in self.layer_widths.items():
            if not isinstance(numbers, (list, tuple)) or any(type(n) is not int or n < 1 for n in numbers):
                raise SettingError(f"{layer!r} in [widths] is a list of whole numbers above 0, but it is {numbers!r}.")
        if not 1 <= self.inference.first_pass_stride <= MAX_FIRST_PASS_STRIDE:
            raise SettingError(
                f"'first_pass_stride' in [inference] is 1 to {MAX_FIRST_PASS_STRIDE}, but it is "
                f"{self.inference.first_pass_stride}."
            )
        if "kind" not in self.task:
            raise SettingError(f"[task] has no kind. Known: {', '.join(registry.names('tasks'))}.")
        registry.check_settings("tasks", self.task["kind"], {k: v for k, v in self.task.items() if k != "kind"})
        dims, patch = self.task.get("dims", 3), self.training.patch
        if patch and len(patch) != dims:
            raise SettingError(f"'patch' in [training] needs {dims} numbers, one an axis, but it is {patch}.")

    def named_parts(self) -> list[tuple[str, Table]]:
        """List every table that names a file of a registry, with the package it is in."""
        return [
            ("models", self.model),
            ("descent.optimisers", self.optimiser),
            ("descent.schedules", self.schedule),
            ("descent.samplers", self.sampler),
            *[("descent.solvers", t) for t in (self.solver,) if t and t.get("name") != "none"],
            *[("prepare", t) for t in self.prepare],
            *[("augment", t) for t in self.augment],
            *[("descent.gradients", t) for t in self.gradients],
            *[("descent.stopping", t) for t in self.stopping],
        ]

    def build_task(self) -> Task:
        """Build the task that the recipe names."""
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in self.task.items() if k != "kind"}
        return registry.find("tasks", self.task["kind"])(**settings).for_model(self.model.get("name", ""))

    def with_training(self, **changes: Any) -> Recipe:
        """Return the recipe with some training settings changed."""
        return replace(self, training=replace(self.training, **changes))


def recipe_from_tables(tables: Table, *, source: str = "the recipe") -> Recipe:
    """Build a recipe from nested tables; an unknown key raises an error that names the nearest known one."""
    check_tables(tables, source)
    made = {
        k: make_section(SECTIONS[k], v, f"[{k}] of {source}") if k in SECTIONS else registry.lists_to_tuples(v)
        for k, v in tables.items()
    }
    return Recipe(**made)


def check_part_settings(changes: Table) -> None:
    """Raise on a setting in the user's tables that is unknown to the part it belongs to.

    Where the part is not named, it is known only after the survey: the setting must then belong to some part.
    """
    for key, value in changes.items():
        for table in part_tables(key, value):
            name, room = part_name(key, table), PART_PACKAGES[key]
            given = {k: v for k, v in table.items() if k != ("kind" if key == "task" else "name")}
            if name is not None and key == "model":
                check_network_settings(name, given, changes.get("task", {}).get("kind", name))
            elif name is not None:
                registry.check_settings(room, name, given)
                if key == "sampler":
                    build_sampler(table, ())
            elif given and not table.get("name"):
                check_keys(given, default_settings(room), f"any of {room}")


def is_network_of_task(name: str, task_kind: str | None) -> bool:
    """Tell whether a network is the one that the task brings, which has the name of the task."""
    return name == task_kind and name in registry.names("tasks") and registry.find("tasks", name).brings_network()


def find_network(name: str, task_kind: str | None) -> Any:
    """Find what builds the named network and has its settings as keywords: a file of models, or the task's own."""
    own = is_network_of_task(name, task_kind)
    return registry.find("tasks", name).network if own else registry.find("models", name)


def check_network_settings(name: str, given: dict[str, Any], task_kind: str | None) -> None:
    """Raise unless every setting is one of the named network."""
    network = find_network(name, task_kind)
    registry.check_keywords(network, given, f"{name!r} in models")
    if hasattr(network, "inner_model"):
        network.inner_model(given)


def default_settings(package: str) -> dict[str, Any]:
    """Map each setting of any part of a package to its default."""
    return {
        k: v
        for name in registry.names(package)
        for k, v in registry.keyword_defaults(registry.find(package, name)).items()
    }


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file."""
    return recipe_from_tables(read_toml_tables(path), source=repr(path.name))


def merge_changes(recipe: Recipe, changes: Table) -> Recipe:
    """Merge the user's tables into a recipe: their settings replace those of the recipe, the others stay.

    A learning rate set by the user is used as it is, without the boost for short runs.
    """
    table = asdict(recipe)
    optimiser = changes.get("optimiser")
    if isinstance(optimiser, Mapping) and "rate" in optimiser:
        table["training"] |= {"boost_below_steps": 0}
    for key, value in changes.items():
        old = table.get(key)
        renames = (
            isinstance(value, Mapping)
            and "name" in value
            and isinstance(old, dict)
            and value["name"] != old.get("name")
        )
        if renames and key == "model":
            table["layer_widths"] = changes.get("layer_widths", {})  # those of the other model's layers mean nothing
        if isinstance(value, Mapping) and isinstance(old, dict) and not renames:
            table[key] = old | dict(value)
        else:
            table[key] = value
    return recipe_from_tables(table)


def recipe_to_toml(recipe: Recipe) -> str:
    """Format the whole recipe as TOML.

    >>> recipe_to_toml(Recipe()).splitlines()[0]
    '[task]'
    """
    lines: list[str] = []
    for key, value in asdict(recipe).items():
        if isinstance(value, Mapping):
            lines += format_table(f"[{key}]", value) if value else []
        else:
            for each in value:
                lines += format_table(f"[[{key}]]", each)
    return "\n".join(lines).strip() + "\n"


def format_table(header: str, table: Table) -> list[str]:
    """Format one table as TOML lines; values of None are left out."""
    return [header, *[f"{format_toml_key(k)} = {format_toml_value(v)}" for k, v in table.items() if v is not None], ""]


def format_toml_value(value: Any) -> str:
    """Format one value as TOML.

    >>> format_toml_value({"a": [1, 0.5, True, "x"]})
    '{a = [1, 0.5, true, "x"]}'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{format_toml_key(k)} = {format_toml_value(v)}" for k, v in value.items() if v is not None)
            + "}"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(format_toml_value(v) for v in value) + "]"
    if isinstance(value, float):
        return ("inf" if value > 0 else "-inf") if math.isinf(value) else repr(value)
    return repr(value)


def format_toml_key(key: Any) -> str:
    """Format a key as TOML, quoted where necessary."""
    text = str(key)
    return text if text and all(c.isascii() and (c.isalnum() or c in "_-") for c in text) else format_toml_value(text)
