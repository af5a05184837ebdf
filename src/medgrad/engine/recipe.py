"""All the settings of a run, as one tree: read from TOML, written to TOML, kept in every checkpoint."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import SettingError, nearest
from ..runtime.sparing import COARSEST
from ..tasks._task import Task

Table = Mapping[str, Any]
Replan = tuple[int, int, int]
"""From this step on, so many threads and so many steps in all."""
PACE = 3.0
"""However few steps there are, they are not longer than so many times their rate."""


@dataclass(frozen=True)
class Training:
    """How long, how much at once, and with what care.

    ``steps`` 0 means that ``minutes`` are turned into steps by timing a few. ``patch`` is what the network sees.
    ``foreground`` is the share of patches that are centred on a labelled element, ``balance`` how far rare classes are
    drawn as often as common ones (0 as they come, 1 equally). ``average`` is the memory of the weights' moving mean.
    There are so many ``validations``, each on ``validation_cases`` cases (0: as many as take little time). ``threads``
    is how many of the processor's are used (0: as many as make a step quick, which are fewer on a machine that others
    use too). A run of fewer steps than ``brief`` takes longer ones: by as much as it has fewer, at most three times.
    Minutes are turned into ``min_steps`` at least, however long they take. ``replanned`` lists what was decided while
    the run learned, where the machine was slower or faster than expected: step, threads, and steps in all from there.
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
        """By how much steps are longer than their rate says, since there are few.

        >>> [Training(steps=n, brief=300).pace for n in (60, 150, 600)]
        [3.0, 2.0, 1.0]
        """
        return min(PACE, max(1.0, self.brief / max(1, self.steps)))


def check_replans(replanned: Sequence[Any], steps: int) -> None:
    """Raise unless replans begin at step 0, follow one another, and end with so many steps."""
    whole = all(isinstance(r, tuple) and len(r) == 3 and all(type(n) is int and n >= 0 for n in r) for r in replanned)
    starts = [r[0] for r in replanned] if whole else []
    if replanned and not (whole and starts[0] == 0 and starts == sorted(set(starts)) and replanned[-1][2] == steps):
        raise SettingError(
            "'replanned' in [training] lists [step, threads, steps in all], the first from step 0, the last with as "
            f"many steps as 'steps' ({steps}). Leave it out to plan anew."
        )


@dataclass(frozen=True)
class Answering:
    """How answers are made: ``overlap`` of neighbouring windows, ``flips`` along these axes averaged.

    With ``sparing``, windows of a large case in which a first pass without overlap finds no label are not looked at
    again; that pass is over every ``coarse``-th element along each axis. With ``measured``, the overlap is only the
    most there may be, and the first pass only the finest: ``fit`` takes less where that is as good.
    """

    overlap: float = 0.5
    flips: tuple[int, ...] = ()
    sparing: bool = True
    coarse: int = 1
    measured: bool = True


@dataclass(frozen=True)
class Recipe:
    """The tree. ``task``, ``model``, ``optimiser`` and ``schedule`` name a file of their room and its settings.

    ``gradients`` wrap one another, the innermost first; any rule of ``stopping`` may end the run early; ``rates`` say
    which weights learn at another rate. ``solver`` gives the optimum of a convex model without any of these;
    where it is absent, or its name is "none", the model learns by descent. ``start`` names learned ``weights`` to begin
    with and, by how their names begin, ``only`` which. ``widths`` are those of layers, by name, that have others than
    the settings of the model give them, since channels were cut from it; a part that has none at all is left out.
    """

    task: Table = field(default_factory=lambda: {"kind": "segmentation"})
    model: Table = field(default_factory=lambda: {"name": "unet"})
    prepare: tuple[Table, ...] = ()
    augment: tuple[Table, ...] = ()
    optimiser: Table = field(default_factory=lambda: {"name": "adamw", "rate": 1e-3})
    schedule: Table = field(default_factory=lambda: {"name": "cosine"})
    solver: Table = field(default_factory=dict)
    start: Table = field(default_factory=dict)
    gradients: tuple[Table, ...] = ()
    stopping: tuple[Table, ...] = ()
    rates: tuple[Table, ...] = ()
    training: Training = field(default_factory=Training)
    answering: Answering = field(default_factory=Answering)
    widths: Table = field(default_factory=dict)

    def __post_init__(self) -> None:
        for room, table in self.named():
            if "name" not in table:
                raise SettingError(f"A table of [{room}] has no name. Known: {', '.join(registry.names(room))}.")
            registry.check_settings(room, table["name"], {k: v for k, v in table.items() if k != "name"})
        for key, value in self.optimiser.items():
            if any(isinstance(v, (int, float)) and v < 0 for v in (value if isinstance(value, tuple) else (value,))):
                raise SettingError(f"{key!r} in [optimiser] is at least 0, but it is {value!r}.")
        check_keys(self.start, ("weights", "only"), "[start]")
        if self.start and not self.start.get("weights"):
            raise SettingError("[start] names no 'weights'. Give a run or a .safetensors file.")
        for layer, numbers in self.widths.items():
            if not isinstance(numbers, (list, tuple)) or any(type(n) is not int or n < 1 for n in numbers):
                raise SettingError(f"{layer!r} in [widths] is a list of whole numbers above 0, but it is {numbers!r}.")
        if not 1 <= self.answering.coarse <= COARSEST:
            raise SettingError(f"'coarse' in [answering] is 1 to {COARSEST}, but it is {self.answering.coarse}.")
        if "kind" not in self.task:
            raise SettingError(f"[task] has no kind. Known: {', '.join(registry.names('tasks'))}.")
        registry.check_settings("tasks", self.task["kind"], {k: v for k, v in self.task.items() if k != "kind"})
        dims, patch = self.task.get("dims", 3), self.training.patch
        if patch and len(patch) != dims:
            raise SettingError(f"'patch' in [training] needs {dims} numbers, one an axis, but it is {patch}.")

    def named(self) -> list[tuple[str, Table]]:
        """Every part that names a file, with the room that the file is in."""
        return [
            ("models", self.model),
            ("descent.optimisers", self.optimiser),
            ("descent.schedules", self.schedule),
            *[("descent.solvers", t) for t in (self.solver,) if t and t.get("name") != "none"],
            *[("prepare", t) for t in self.prepare],
            *[("augment", t) for t in self.augment],
            *[("descent.gradients", t) for t in self.gradients],
            *[("descent.stopping", t) for t in self.stopping],
        ]

    def build_task(self) -> Task:
        """Make the task that the recipe names."""
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in self.task.items() if k != "kind"}
        return registry.find("tasks", self.task["kind"])(**settings).answered_by(self.model.get("name", ""))

    def with_training(self, **changes: Any) -> Recipe:
        """Give the recipe with some settings of its training changed."""
        return replace(self, training=replace(self.training, **changes))


def from_table(table: Table, *, where: str = "the recipe") -> Recipe:
    """Make a recipe from nested tables; an unknown key is an error that names the nearest known one."""
    known = [f.name for f in fields(Recipe)]
    check_keys(table, known, where)
    made: dict[str, Any] = {}
    for key, value in table.items():
        if key in ("training", "answering"):
            made[key] = section(Training if key == "training" else Answering, value, f"[{key}] of {where}")
        elif key in ("prepare", "augment", "gradients", "stopping", "rates"):
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
                raise SettingError(f"{key!r} in {where} is a list of tables. Write [[{key}]] above each.")
            made[key] = tuple(frozen(v) for v in value)
        else:
            if not isinstance(value, Mapping):
                raise SettingError(f"{key!r} in {where} is a table, but it is {value!r}. Write [{key}] above it.")
            made[key] = frozen(value)
    return Recipe(**made)


def section(kind: Any, table: Table, where: str) -> Any:
    """Make one section of the recipe, each value of the kind that its default has."""
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
    """Turn lists within tables into tuples."""
    if isinstance(value, Mapping):
        return {k: frozen(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(frozen(v) for v in value)
    return value


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file."""
    return from_table(read_table(path), where=repr(path.name))


def read_table(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file, which need not be a whole recipe."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise SettingError(f"{str(path)!r} cannot be read: {reason.strerror}.") from reason
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise SettingError(f"{str(path)!r} is not a TOML file: {reason}.") from reason


def merged(recipe: Recipe, changes: Table) -> Recipe:
    """Give the recipe with a person's tables laid over it: what they name is replaced, the rest stays.

    Who names a rate means that rate, however few the steps are.
    """
    table = asdict(recipe)
    optimiser = changes.get("optimiser")
    if isinstance(optimiser, Mapping) and "rate" in optimiser:
        table["training"] |= {"brief": 0}
    for key, value in changes.items():
        old = table.get(key)
        renames = (
            isinstance(value, Mapping)
            and "name" in value
            and isinstance(old, dict)
            and value["name"] != old.get("name")
        )
        if renames and key == "model":
            table["widths"] = changes.get("widths", {})  # those of the other model's layers mean nothing
        if isinstance(value, Mapping) and isinstance(old, dict) and not renames:
            table[key] = old | dict(value)
        else:
            table[key] = value
    return from_table(table)


def to_toml(recipe: Recipe) -> str:
    """Write the whole tree as TOML.

    >>> to_toml(Recipe()).splitlines()[0]
    '[task]'
    """
    lines: list[str] = []
    for key, value in asdict(recipe).items():
        if isinstance(value, Mapping):
            lines += table_lines(f"[{key}]", value) if value else []
        else:
            for each in value:
                lines += table_lines(f"[[{key}]]", each)
    return "\n".join(lines).strip() + "\n"


def table_lines(head: str, table: Table) -> list[str]:
    """Write one table; what is None is absent."""
    return [head, *[f"{toml_key(k)} = {toml_value(v)}" for k, v in table.items() if v is not None], ""]


def toml_value(value: Any) -> str:
    """Write one value.

    >>> toml_value({"a": [1, 0.5, True, "x"]})
    '{a = [1, 0.5, true, "x"]}'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, float):
        return ("inf" if value > 0 else "-inf") if math.isinf(value) else repr(value)
    return repr(value)


def toml_key(key: Any) -> str:
    """Write a key, quoted where it must be."""
    text = str(key)
    return text if text and all(c.isascii() and (c.isalnum() or c in "_-") for c in text) else toml_value(text)
