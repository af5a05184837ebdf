"""Checks of command line options, before any file of a cohort is listed or read; nothing here imports torch."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from math import inf, isfinite
from pathlib import Path
from typing import Any

from ... import registry
from ...engine.runs.recipe_tables import check_tables, read_toml_tables
from ...errors import FormatError, LayoutError, PackageNotInstalled, SettingError, suggest_name

DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
RUN_FILES = ("weights", "run.json", "steps.jsonl", "fold-0")
"""What lies in the folder of a run, beside its recipe."""


def check_choice(option: str, value: str | None, choices: Iterable[str]) -> None:
    """Raise unless a value, where given, is one of the choices of an option."""
    every = list(choices)
    if value and value not in every:
        raise SettingError(f"{option} is one of {', '.join(every)}, not {value!r}.{suggest_name(str(value), every)}")


def check_part(option: str, value: str | None, package: str) -> None:
    """Raise unless a name, where given, is that of a file in a registry package."""
    check_choice(option, value, registry.names(package))


def check_number(
    option: str, value: float | None, *, minimum: float = -inf, exclusive_minimum: float = -inf, maximum: float = inf
) -> None:
    """Raise unless a number, where given, is finite and within its bounds."""
    if value is None:
        return
    if (
        not isinstance(value, (int, float))
        or not isfinite(value)
        or value < minimum
        or value <= exclusive_minimum
        or value > maximum
    ):
        bounds = [f"above {exclusive_minimum:g}"] * isfinite(exclusive_minimum) + [f"at least {minimum:g}"] * isfinite(
            minimum
        )
        bounds += [f"at most {maximum:g}"] * isfinite(maximum)
        raise SettingError(f"{option} is a number {' and '.join(bounds) or 'that is finite'}, not {value!r}.")


def check_budget(minutes: float, steps: int = 0, seed: int = 0) -> None:
    """Raise unless minutes, steps and seed are valid numbers."""
    check_number("--minutes", minutes, exclusive_minimum=0)
    check_number("--steps", steps, minimum=0)
    check_number("--seed", seed, minimum=0)


def check_folds(folds: int) -> None:
    """Raise unless the number of folds is 0 or at least 2."""
    check_number("--folds", folds, minimum=0)
    if folds == 1:
        raise SettingError("--folds is 0 for one model, or at least 2: each is judged on what the others learn from.")


def check_optimisers(optimisers: str) -> list[str]:
    """Parse the optimisers of a race, each with optional gradient methods after a plus, or raise."""
    names = list(dict.fromkeys(name.strip() for name in optimisers.split(",") if name.strip()))
    for name in names:
        first, *ways = name.split("+")
        check_part("--optimisers", first or name, "descent.optimisers")
        for way in ways:
            check_part(f"What follows the plus in --optimisers {name}", way or "+", "descent.gradients")
    if len(names) < 2:
        raise SettingError("A race needs at least two optimisers, such as --optimisers sgd,adamw.")
    return names


def check_tracker(track: str | None) -> None:
    """Raise unless a tracker, where named, exists and its package is installed."""
    check_part("--track", track, "engine.training.trackers")
    if track:
        check_installed(*registry.find("engine.training.trackers", track).needs)


def check_installed(module: str, extra: str) -> None:
    """Raise unless an optional package is installed; it is not imported."""
    if find_spec(module) is None:
        raise PackageNotInstalled(f"{module!r} is not installed. Type: pip install 'medgrad[{extra}]'")


def check_device(device: str | None) -> None:
    """Raise unless the name of a device, where given, is one that torch knows."""
    if device and not DEVICE.fullmatch(device):
        raise SettingError(f"The device {device!r} cannot be used here. Give cpu, or cuda where there is one.")


def check_exists(path: Path | str) -> Path:
    """Return a path, or raise if it does not exist or cannot be read."""
    path = Path(path)
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist.{suggest_path(path)} Check the path.")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise FormatError(f"{str(path)!r} may not be read by you. Change its permissions, or ask who owns it.")
    return path


def suggest_path(path: Path) -> str:
    """Suggest an existing path with a similar name, or nothing."""
    try:
        names = {name.split(".")[0]: name for name in os.listdir(path.parent)}  # noqa: PTH208  (Path.iterdir gives paths)
    except OSError:
        return ""
    found = get_close_matches(path.name.split(".")[0], list(names), n=1, cutoff=0.7)
    return f" Did you mean {names[found[0]]!r}?" if found else ""


def check_file(option: str, path: Path | str | None) -> None:
    """Raise unless a file, where given, exists."""
    if path is not None and check_exists(path).is_dir():
        raise FormatError(f"{option} names a file, but {str(path)!r} is a folder. Name the file itself.")


def is_run(path: Path | str) -> bool:
    """Tell whether a folder was written by fit."""
    path = Path(path)
    return (path / "recipe.toml").is_file() and any((path / name).exists() for name in RUN_FILES)


def check_cohort_folder(folder: Path | str) -> None:
    """Raise unless a folder may be a cohort; it is not listed."""
    if is_run(check_exists(folder)):
        raise LayoutError(f"{str(folder)!r} is a run, not a set of cases. Name the folder of the images.")
    if (Path(folder) / "artefact.json").is_file():
        raise LayoutError(f"{str(folder)!r} is what export wrote, not a set of cases. Name the folder of the images.")


def check_run(run: Path | str, other: Path | str | None = None) -> None:
    """Raise unless a folder is a run with weights; ``other`` is the other path that may have been swapped with it."""
    run = check_exists(run)
    if other is not None and not is_run(run) and is_run(other):
        raise FormatError(f"{str(run)!r} is not a run, but {str(other)!r} is one: name the run first.")
    if (run / "recipe.toml").is_file():
        folders = [p for p in (run, *sorted(run.glob("fold-*"))) if (p / "weights").is_dir()]
        if not folders:
            raise FormatError(f"{str(run)!r} has no weights yet. Let fit finish first.")
        return
    if (run / "artefact.json").is_file():
        raise FormatError(f"{str(run)!r} is what export wrote, not a run. Give the folder that fit wrote.")
    raise FormatError(f"{str(run)!r} is not a run: it has no recipe.toml. Give a folder that fit wrote.")


def check_judged_folders(first: Path | str, second: Path | str) -> None:
    """Raise unless two folders hold judged cases of the same task."""
    tasks = []
    for folder in (check_exists(first), check_exists(second)):
        if not (folder / "cases.csv").is_file():
            todo = (
                "Let fit finish, or judge it with evaluate." if is_run(folder) else "Give what fit or evaluate wrote."
            )
            raise FormatError(f"{str(folder)!r} has no cases.csv, so nothing was judged in it. {todo}")
        tasks.append(read_task_name(folder))
    if None not in tasks and tasks[0] != tasks[1]:
        raise SettingError(
            f"{str(first)!r} was judged for {tasks[0]}, but {str(second)!r} for {tasks[1]}. "
            "Compare two runs of one task."
        )


def read_task_name(folder: Path) -> str | None:
    """Read the task from a run's recipe, or None where it is unknown."""
    try:
        return name_in_recipe(read_toml_tables(folder / "recipe.toml"), "task", "kind")
    except SettingError:
        return None


def check_registration(folder: Path | str) -> None:
    """Raise unless a folder was written by register."""
    if not (check_exists(folder) / "registration.json").is_file():
        raise FormatError(f"{str(folder)!r} holds no registration.json. Give the folder that 'medgrad register' wrote.")


def check_init(path: Path | str | None, out: Path | str) -> None:
    """Raise unless there are pretrained weights at a path, where one was given, and they are not those of ``out``."""
    if path is None or check_exists(path).is_file():
        return
    path = Path(path)
    if is_same_path(path, Path(out)):
        raise SettingError(f"--init and -o name the same run, {str(path)!r}. Leave --init out to go on with it.")
    if folds := sorted(fold.name for fold in path.glob("fold-*")):
        raise SettingError(f"{str(path)!r} is a run of folds. Name one of them, such as {folds[0]!r}.")
    if not any((path / "weights").glob("*.safetensors")):
        raise FormatError(
            f"--init names a run or a .safetensors file, but {str(path)!r} has no weights. Let fit finish first."
        )


def check_new_folder(out: Path | str | None, *inputs: Path | str) -> None:
    """Raise unless results can be written into a folder that is none of the inputs."""
    if out is None:
        return
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise SettingError(f"-o names a folder to write into, but {str(out)!r} is a file. Name another place.")
    for path in map(Path, inputs):
        if is_same_path(out, path):
            raise SettingError(f"-o {str(out)!r} is the input itself, which is left as it is. Name another folder.")
    check_writable(out)


def check_output_unused(out: Path | str | None, *known_files: str, description: str) -> None:
    """Raise if the output folder holds files other than those of an earlier result of the same kind."""
    if out is None or not Path(out).is_dir() or any((Path(out) / mark).exists() for mark in known_files):
        return
    if any(Path(out).iterdir()):
        raise SettingError(
            f"-o {str(out)!r} is not empty and holds no {description}, so it is left alone. Name a new folder."
        )


def check_new_file(out: Path | str, *inputs: Path | str, such_as: str) -> None:
    """Raise unless a file can be written that is none of the inputs."""
    out = Path(out)
    if out.is_dir():
        raise SettingError(f"-o names a file to write, such as {such_as}, but {str(out)!r} is a folder.")
    if any(is_same_path(out, Path(path)) for path in inputs):
        raise SettingError(f"-o {str(out)!r} is the input itself, which is left as it is. Name another file.")
    check_writable(out)


def is_same_path(first: Path, second: Path) -> bool:
    """Tell whether two paths are the same file or folder."""
    return first.resolve() == second.resolve()


def check_writable(out: Path) -> None:
    """Raise unless a file or folder can be created at a path."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    if place != out.absolute() and not place.is_dir():
        raise SettingError(f"-o {str(out)!r} cannot be made, as {str(place)!r} is a file. Name another place.")
    if not os.access(place, os.W_OK):
        raise SettingError(f"-o {str(out)!r} cannot be written: {str(place)!r} is not yours. Name another place.")


def check_recipe(path: Path | str | None) -> dict[str, Any]:
    """Read the tables of a recipe's file, or raise if they are not those of a recipe."""
    if path is None:
        return {}
    check_file("--recipe", path)
    table = read_toml_tables(Path(path))
    check_tables(table, repr(Path(path).name))
    return table


def check_split(path: Path | str | None) -> None:
    """Raise unless a file, where given, is a split."""
    if path is None:
        return
    check_file("--split", path)
    from ...data.cohorts.split_files import read_split

    read_split(path)


def check_training_options(
    folder: Path | str,
    *,
    task: str | None = None,
    split: Path | str | None = None,
    recipe: Path | str | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Check the options of every command that trains, and return the tables of the recipe."""
    check_part("--task", task, "tasks")
    check_device(device)
    changes = check_recipe(recipe)
    check_cohort_folder(folder)
    check_split(split)
    return changes


def check_resumable(out: Path | str, task: str | None, model: str | None) -> None:
    """Raise if a run that is to be resumed has another task or model."""
    path = Path(out) / "recipe.toml"
    if not path.is_file() or not any((Path(out) / n).exists() for n in ("steps.jsonl", "fold-0/steps.jsonl")):
        return
    begun = tomllib.loads(path.read_text(encoding="utf-8"))
    for option, asked, table, key in (("--task", task, "task", "kind"), ("--model", model, "model", "name")):
        known = begun.get(table, {}).get(key)
        if asked and known and asked != known:
            raise SettingError(
                f"{str(out)!r} is a run that has begun with {option} {known}, not {asked}. Name another -o, or leave "
                f"{option} out to go on with it."
            )


def name_in_recipe(changes: Mapping[str, Any], table: str, key: str) -> str | None:
    """Return the name in a recipe's table, or None."""
    found = changes.get(table, {})
    return str(found[key]) if isinstance(found, Mapping) and key in found else None


def parse_path_pair(option: str, given: Sequence[str | Path] | str | Path | None) -> tuple[Path, Path] | None:
    """Parse two paths: one text with a comma between them, or two; both must exist.

    A comma within a name is left alone where the whole is an existing path.
    """
    if not given:
        return None
    words = [given] if isinstance(given, (str, Path)) else list(given)
    paths = [p for w in words for p in ([str(w)] if Path(w).exists() else str(w).split(","))]
    paths = [p.strip() for p in paths if p.strip()]
    if len(paths) != 2:
        raise SettingError(
            f"{option} names two files with a comma between, FIXED,MOVING, but {len(paths)} came: "
            f"{', '.join(map(repr, paths)) or 'none'}."
        )
    for path in paths:
        check_file(option, path)
    return Path(paths[0]), Path(paths[1])
