"""Registry of models, losses, metrics and formats: one file each, found by its file name."""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, signature
from math import isfinite
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from .errors import NameNotFound, SettingError, suggest_name

CLASS_OFFERED = re.compile(r"^THIS = ([A-Z]\w*)$", re.MULTILINE)


def names(package: str) -> list[str]:
    """List the names in a registry package, without importing any of it.

    >>> "nifti" in names("data.formats")
    True
    """
    return list(_list_modules(package))


@cache
def _list_modules(package: str) -> tuple[str, ...]:
    folders = _list_folders(package)
    return tuple(sorted(m.name for m in iter_modules(folders) if not (m.ispkg or m.name.startswith("_"))))


def _list_folders(package: str) -> list[str]:
    spec = find_spec(f"{__package__}.{package}")  # a room's own first lines may import torch
    return list(spec.submodule_search_locations or []) if spec is not None else []


def check_name(package: str, name: str) -> None:
    """Raise unless a registry package has this name; nothing is imported."""
    known = names(package)
    if name not in known:
        raise NameNotFound(f"No {name!r} in {package}.{suggest_name(str(name), known)} Known: {', '.join(known)}.")


def find(package: str, name: str) -> Any:
    """Import one file of a registry package, and return its ``THIS``."""
    check_name(package, name)
    return import_module(f"{__package__}.{package}.{name}").THIS


@cache
def class_files(package: str) -> dict[str, str]:
    """Map the name of each class that a registry package offers to its file, without importing any of them.

    >>> class_files("losses")["DiceCE"]
    'dice_ce'
    """
    places = ((name, Path(folder, f"{name}.py")) for folder in _list_folders(package) for name in names(package))
    texts = ((name, path.read_text(encoding="utf-8")) for name, path in places if path.is_file())
    found = ((name, CLASS_OFFERED.search(text)) for name, text in texts)
    return {match.group(1): name for name, match in found if match}


def find_class(package: str, name: str) -> Any:
    """Import one class of a registry package by its own name, or raise as Python does for an unknown attribute."""
    files = class_files(package)
    if name not in files:
        raise AttributeError(f"module '{__package__}.{package}' has no attribute {name!r}")
    return find(package, files[name])


signature_of = cache(signature)


def keyword_defaults(function: Any) -> dict[str, Any]:
    """Map each keyword of a function to its default.

    >>> keyword_defaults(lambda x, *, rate=0.1: x)
    {'rate': 0.1}
    """
    return {
        p.name: p.default
        for p in signature_of(function).parameters.values()
        if p.kind in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD) and p.default is not Parameter.empty
    }


def check_settings(package: str, name: str, given: dict[str, Any]) -> None:
    """Raise unless every given setting is a keyword of the named function, and of the type of its default."""
    check_keywords(find(package, name), given, f"{name!r} in {package}")


def check_keywords(function: Any, given: dict[str, Any], source: str) -> None:
    """Raise unless every given setting is a keyword of a function, and of the type of its default."""
    if any(p.kind is Parameter.VAR_KEYWORD for p in signature_of(function).parameters.values()):
        return
    known = keyword_defaults(function)
    for key, value in given.items():
        if key not in known:
            raise SettingError(f"{source} has no setting {key!r}.{suggest_name(key, known)} Known: {', '.join(known)}.")
        wanted = expected_type(value, known[key])
        if wanted:
            raise SettingError(f"{key!r} of {source} is {wanted}, such as {known[key]!r}, but it is {value!r}.")


SETTING_TYPES: tuple[tuple[type, tuple[type, ...], str], ...] = (
    (bool, (bool,), "true or false"),
    (int, (int,), "a whole number"),
    (float, (int, float), "a number"),
    (str, (str,), "a word"),
    (tuple, (list, tuple), "a list"),
)


def expected_type(value: Any, default: Any) -> str:
    """Return the type that a setting should have, by its default; nothing if it fits.

    >>> expected_type("fast", 0.1)
    'a number'
    >>> expected_type(1, 0.1)
    ''
    """
    for kind, fitting, words in SETTING_TYPES:
        if isinstance(default, kind):
            is_wrong = not isinstance(value, fitting) or (isinstance(value, bool) and kind is not bool)
            return words if is_wrong or (isinstance(value, float) and not isfinite(value)) else ""
    return ""


def lists_to_tuples(value: Any) -> Any:
    """Convert nested lists, as files of settings have them, to the tuples that parts take.

    >>> lists_to_tuples({"channels": [8, [16, 32]]})
    {'channels': (8, (16, 32))}
    """
    if isinstance(value, Mapping):
        return {k: lists_to_tuples(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(lists_to_tuples(v) for v in value)
    return value
