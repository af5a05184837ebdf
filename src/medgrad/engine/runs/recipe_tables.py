"""The tables of a recipe, checked without importing a network."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ... import registry
from ...errors import SettingError, nearest

Table = Mapping[str, Any]
Replan = tuple[int, int, int]
"""From this step on, so many threads and so many steps in all."""
PACE = 3.0
"""However few steps there are, they are not longer than so many times their rate."""
ROOMS = {
    "task": "tasks",
    "model": "models",
    "prepare": "prepare",
    "augment": "augment",
    "optimiser": "descent.optimisers",
    "schedule": "descent.schedules",
    "solver": "descent.solvers",
    "gradients": "descent.gradients",
    "stopping": "descent.stopping",
}
"""Where the parts are that a table names."""
LISTS = ("prepare", "augment", "gradients", "stopping", "rates")
"""What a recipe may have several of."""


@dataclass(frozen=True)
class Training:
    """Settings of training: its length, batches, sampling, validation and hardware.

    ``steps`` 0 means that ``minutes`` are converted into steps by timing a few. ``patch`` is the size of the
    network's input. ``foreground`` is the share of patches centred on a labelled element. ``balance`` is how
    far rare classes are oversampled (0 not at all, 1 until all classes are equal). ``average`` is the decay of
    the weights' moving average. There are so many ``validations``, each on ``validation_cases`` cases (0: as
    many as take little time). ``threads`` is the number of CPU threads (0: the fastest number, which is smaller
    on a machine that others use too). Below ``brief`` steps the learning rate is raised by the ratio of both,
    at most 3 times. Minutes are converted into ``min_steps`` at least, however long they take. ``replanned``
    lists changes of the plan during training, where the machine was slower or faster than expected: step,
    threads, and total steps from there.
    """

    steps: int = 0
    minutes: float = 20.0
    batch: int = 2
    patch: tuple[int, ...] = ()
    foreground: float = 0.33
    balance: float = 0.5
    average: float = 0.995
    validations: int = 10
    validation_cases: int = 0
    seed: int = 0
    precision: str = "auto"
    threads: int = 0
    brief: int = 0
    min_steps: int = 20
    replanned: tuple[Replan, ...] = ()

    def __post_init__(self) -> None:
        least = {"steps": 0, "min_steps": 1, "batch": 1, "foreground": 0, "balance": 0, "average": 0, "validations": 0}
        most = {"foreground": 1, "balance": 1, "average": 1}
        for name, low in {**least, "validation_cases": 0, "seed": 0, "brief": 0}.items():
            value, high = getattr(self, name), most.get(name)
            if value < low or (high is not None and value > high):
                between = f"at least {low}" if high is None else f"from {low} to {high}"
                raise SettingError(f"{name!r} in [training] is {between}, but it is {value}.")
        if any(not isinstance(size, int) or size < 1 for size in self.patch):
            raise SettingError(f"'patch' in [training] has a whole number an axis, above 0, but it is {self.patch}.")
        check_replans(self.replanned, self.steps)

    @property
    def pace(self) -> float:
        """The factor by which the learning rate is raised in a run of few steps.

        >>> [Training(steps=n, brief=300).pace for n in (60, 150, 600)]
        [3.0, 2.0, 1.0]
        """
        return min(PACE, max(1.0, self.brief / max(1, self.steps)))


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
class Answering:
    """Settings of inference: ``overlap`` of neighbouring windows, and ``flips``, the axes of test-time augmentation.

    With ``sparing``, a first pass without overlap runs over a large case, and only windows in which it finds a
    label are computed again; that pass uses every ``coarse``-th element along each axis. With ``measured``,
    ``fit`` tunes both on validation cases: the overlap given is then the largest, and the stride the smallest.
    """

    overlap: float = 0.5
    flips: tuple[int, ...] = ()
    sparing: bool = True
    coarse: int = 1
    measured: bool = True


SECTIONS: Mapping[str, type] = {"training": Training, "answering": Answering}
TABLES = (*(key for key in ROOMS if key not in LISTS), *LISTS, *SECTIONS, "start", "widths")
"""All that a recipe may hold."""


def check_tables(table: Table, where: str) -> None:
    """Raise unless a recipe's tables are known, have the right type, and name parts that exist.

    No part is imported; whether it has the given settings is checked elsewhere.
    """
    check_keys(table, TABLES, where)
    for key, value in table.items():
        if key in SECTIONS:
            section(SECTIONS[key], value, f"[{key}] of {where}")
            continue
        if key in LISTS:
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
                raise SettingError(f"{key!r} in {where} is a list of tables. Write [[{key}]] above each.")
        elif not isinstance(value, Mapping):
            raise SettingError(f"{key!r} in {where} is a table, but it is {value!r}. Write [{key}] above it.")
        for each in parts_of(key, value):
            name = name_of_part(key, each)
            if name is not None:
                registry.check_name(ROOMS[key], name)


def parts_of(key: str, value: Any) -> Sequence[Table]:
    """Return the tables under a key that name a file of a registry."""
    if key not in ROOMS:
        return ()
    return value if key in LISTS else (value,)


def name_of_part(key: str, table: Table) -> str | None:
    """Return the name of the part that a table selects, or None where the plan chooses it or there is none."""
    name = table.get("kind" if key == "task" else "name")
    if name is None and key in LISTS:
        raise SettingError(f"A table of [[{key}]] has no name. Known: {', '.join(registry.names(ROOMS[key]))}.")
    return None if name is None or (key == "solver" and name == "none") else str(name)


def section(kind: Any, table: Table, where: str) -> Any:
    """Build one settings dataclass of the recipe, each value of the type of its default."""
    defaults = {f.name: getattr(kind(), f.name) for f in fields(kind)}
    if not isinstance(table, Mapping):
        raise SettingError(f"{where} is a table, but it is {table!r}.")
    check_keys(table, defaults, where)
    made: dict[str, Any] = {}
    for key, value in table.items():
        wanted = type(defaults[key])
        if wanted is tuple and isinstance(value, (list, tuple)):
            made[key] = frozen(value)
        elif wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            made[key] = float(value)
        elif type(value) is wanted:
            made[key] = value
        else:
            raise SettingError(f"{key!r} in {where} must be a {wanted.__name__}, but it is {value!r}.")
    return kind(**made)


def check_keys(table: Table, known: Sequence[str] | set[str] | Mapping[str, Any], where: str) -> None:
    """Raise on the first key that is not known."""
    for key in table:
        if key not in known:
            raise SettingError(f"{key!r} is not a setting of {where}.{nearest(key, known)} Known: {', '.join(known)}.")


def frozen(value: Any) -> Any:
    """Convert nested lists to tuples."""
    if isinstance(value, Mapping):
        return {k: frozen(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(frozen(v) for v in value)
    return value


def read_table(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file, which may be a part of a recipe."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise SettingError(f"{str(path)!r} cannot be read: {reason.strerror}.") from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise SettingError(f"{str(path)!r} is not a TOML file: {reason}. Write it as plan does.") from reason
