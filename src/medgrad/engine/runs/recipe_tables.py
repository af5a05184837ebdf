"""The tables of a recipe, checked without importing a network."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ... import registry
from ...errors import SettingError, suggest_name

Table = Mapping[str, Any]
Replan = tuple[int, int, int]
"""From this step on, so many threads and so many steps in all."""
MAX_LR_BOOST = 3.0
"""However few steps there are, they are not longer than so many times their rate."""
PART_PACKAGES = {
    "task": "tasks",
    "model": "models",
    "prepare": "prepare",
    "augment": "augment",
    "optimiser": "descent.optimisers",
    "schedule": "descent.schedules",
    "solver": "descent.solvers",
    "sampler": "descent.samplers",
    "gradients": "descent.gradients",
    "stopping": "descent.stopping",
}
"""Where the parts are that a table names."""
LIST_KEYS = ("prepare", "augment", "gradients", "stopping", "rates")
"""What a recipe may have several of."""


@dataclass(frozen=True)
class Training:
    """Settings of training: its length, batches, validation and hardware.

    ``steps`` 0 means that ``minutes`` are converted into steps by timing a few. ``patch`` is the size of the
    network's input. ``foreground_share`` is the share of patches centred on a labelled element. ``ema`` is the decay
    of the weights' moving average. There are so many ``validations``, each on ``validation_cases`` cases (0: as many
    as take little time). ``threads`` is the number of CPU threads (0: the fastest number, which is smaller on a
    machine that others use too). Below ``boost_below_steps`` steps the learning rate is raised by the ratio of both,
    at most 3 times. Minutes are converted into ``min_steps`` at least, however long they take. ``replanned`` lists
    changes of the plan during training, where the machine was slower or faster than expected: step, threads, and total
    steps from there.
    """

    steps: int = 0
    minutes: float = 20.0
    batch: int = 2
    patch: tuple[int, ...] = ()
    foreground_share: float = 0.33
    ema: float = 0.995
    validations: int = 10
    validation_cases: int = 0
    seed: int = 0
    precision: str = "auto"
    threads: int = 0
    boost_below_steps: int = 0
    min_steps: int = 20
    replanned: tuple[Replan, ...] = ()

    def __post_init__(self) -> None:
        minimum = {
            "steps": 0,
            "min_steps": 1,
            "batch": 1,
            "foreground_share": 0,
            "ema": 0,
            "validations": 0,
        }
        maximum = {"foreground_share": 1, "ema": 1}
        for name, low in {**minimum, "validation_cases": 0, "seed": 0, "boost_below_steps": 0}.items():
            value, high = getattr(self, name), maximum.get(name)
            if value < low or (high is not None and value > high):
                bounds = f"at least {low}" if high is None else f"from {low} to {high}"
                raise SettingError(f"{name!r} in [training] is {bounds}, but it is {value}.")
        if any(not isinstance(size, int) or size < 1 for size in self.patch):
            raise SettingError(f"'patch' in [training] has a whole number an axis, above 0, but it is {self.patch}.")
        check_replans(self.replanned, self.steps)

    @property
    def lr_boost(self) -> float:
        """The factor by which the learning rate is raised in a run of few steps.

        >>> [Training(steps=n, boost_below_steps=300).lr_boost for n in (60, 150, 600)]
        [3.0, 2.0, 1.0]
        """
        return min(MAX_LR_BOOST, max(1.0, self.boost_below_steps / max(1, self.steps)))


def check_replans(replanned: Sequence[Any], steps: int) -> None:
    """Raise unless replans start at step 0, are in order, and end with the given number of steps."""
    whole = all(isinstance(r, tuple) and len(r) == 3 and all(type(n) is int and n >= 0 for n in r) for r in replanned)
    starts = [r[0] for r in replanned] if whole else []
    if replanned and not (whole and starts[0] == 0 and starts == sorted(set(starts)) and replanned[-1][2] == steps):
        raise SettingError(
            "'replanned' in [training] lists [step, threads, steps in all], the first from step 0, the last with as "
            f"many steps as 'steps' ({steps}). Leave it out to plan anew."
        )


@dataclass(frozen=True)
class Inference:
    """Settings of inference.

    ``overlap`` of neighbouring windows, and ``tta_flips``, the axes of test-time augmentation.

    With ``coarse_to_fine``, a first pass without overlap runs over a large case, and only windows in which it finds a
    label are computed again; that pass uses every ``first_pass_stride``-th element along each axis. With ``tune``,
    ``fit`` tunes both on validation cases: the overlap given is then the largest, and the stride the smallest.
    """

    overlap: float = 0.5
    tta_flips: tuple[int, ...] = ()
    coarse_to_fine: bool = True
    first_pass_stride: int = 1
    tune: bool = True


SECTIONS: Mapping[str, type] = {"training": Training, "inference": Inference}
TABLE_KEYS = (*(key for key in PART_PACKAGES if key not in LIST_KEYS), *LIST_KEYS, *SECTIONS, "init", "layer_widths")
"""All that a recipe may hold."""


def check_tables(tables: Table, source: str) -> None:
    """Raise unless a recipe's tables are known, have the right type, and name parts that exist.

    No part is imported; whether it has the given settings is checked elsewhere.
    """
    check_keys(tables, TABLE_KEYS, source)
    for key, value in tables.items():
        if key in SECTIONS:
            make_section(SECTIONS[key], value, f"[{key}] of {source}")
            continue
        if key in LIST_KEYS:
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
                raise SettingError(f"{key!r} in {source} is a list of tables. Write [[{key}]] above each.")
        elif not isinstance(value, Mapping):
            raise SettingError(f"{key!r} in {source} is a table, but it is {value!r}. Write [{key}] above it.")
        for each in part_tables(key, value):
            name = part_name(key, each)
            if name is not None and not (key == "model" and may_name_task(name, tables.get("task"))):
                registry.check_name(PART_PACKAGES[key], name)


def may_name_task(model: str, task: Any) -> bool:
    """Tell whether a model has the name of its task, which may bring a network of its own."""
    kind = task.get("kind") if isinstance(task, Mapping) else None
    return model == kind if kind else model in registry.names("tasks")


def part_tables(key: str, value: Any) -> Sequence[Table]:
    """Return the tables under a key that name a file of a registry."""
    if key not in PART_PACKAGES:
        return ()
    return value if key in LIST_KEYS else (value,)


def part_name(key: str, table: Table) -> str | None:
    """Return the name of the part that a table selects, or None where the plan chooses it or there is none."""
    name = table.get("kind" if key == "task" else "name")
    if name is None and key in LIST_KEYS:
        raise SettingError(f"A table of [[{key}]] has no name. Known: {', '.join(registry.names(PART_PACKAGES[key]))}.")
    return None if name is None or (key == "solver" and name == "none") else str(name)


def make_section(section_class: Any, table: Table, source: str) -> Any:
    """Build one settings dataclass of the recipe, each value of the type of its default."""
    defaults = {f.name: getattr(section_class(), f.name) for f in fields(section_class)}
    if not isinstance(table, Mapping):
        raise SettingError(f"{source} is a table, but it is {table!r}.")
    check_keys(table, defaults, source)
    made: dict[str, Any] = {}
    for key, value in table.items():
        wanted = type(defaults[key])
        if wanted is tuple and isinstance(value, (list, tuple)):
            made[key] = registry.lists_to_tuples(value)
        elif wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            made[key] = float(value)
        elif type(value) is wanted:
            made[key] = value
        else:
            raise SettingError(f"{key!r} in {source} must be a {wanted.__name__}, but it is {value!r}.")
    return section_class(**made)


def check_keys(table: Table, known_keys: Sequence[str] | set[str] | Mapping[str, Any], source: str) -> None:
    """Raise on the first key that is not known."""
    for key in table:
        if key not in known_keys:
            raise SettingError(
                f"{key!r} is not a setting of {source}.{suggest_name(key, known_keys)} Known: {', '.join(known_keys)}."
            )


def read_toml_tables(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file, which may be a part of a recipe."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise SettingError(f"{str(path)!r} cannot be read: {reason.strerror}.") from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise SettingError(f"{str(path)!r} is not a TOML file: {reason}. Write it as plan does.") from reason
