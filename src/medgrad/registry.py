"""Registry of models, losses, metrics and formats: one file each, found by its file name."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, signature
from math import isfinite
from pkgutil import iter_modules
from typing import Any

from .errors import NameNotFound, SettingError, nearest


def names(room: str) -> list[str]:
    """List the names in a registry package, without importing any of it.

    >>> "nifti" in names("data.formats")
    True
    """
    return list(_listing(room))


@cache
def _listing(room: str) -> tuple[str, ...]:
    spec = find_spec(f"{__package__}.{room}")  # a room's own first lines may import torch
    folder = spec.submodule_search_locations if spec is not None else None
    return tuple(sorted(m.name for m in iter_modules(folder or []) if not (m.ispkg or m.name.startswith("_"))))


def check_name(room: str, name: str) -> None:
    """Raise unless a registry package has this name; nothing is imported."""
    known = names(room)
    if name not in known:
        raise NameNotFound(f"No {name!r} in {room}.{nearest(str(name), known)} Known: {', '.join(known)}.")


def find(room: str, name: str) -> Any:
    """Import one file of a registry package, and return its ``THIS``."""
    check_name(room, name)
    return import_module(f"{__package__}.{room}.{name}").THIS


signature_of = cache(signature)


def settings(thing: Any) -> dict[str, Any]:
    """Map each keyword of a function to its default.

    >>> settings(lambda x, *, rate=0.1: x)
    {'rate': 0.1}
    """
    return {
        p.name: p.default
        for p in signature_of(thing).parameters.values()
        if p.kind in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD) and p.default is not Parameter.empty
    }


def check_settings(room: str, name: str, given: dict[str, Any]) -> None:
    """Raise unless every given setting is a keyword of the named function, and of the type of its default."""
    thing = find(room, name)
    if any(p.kind is Parameter.VAR_KEYWORD for p in signature_of(thing).parameters.values()):
        return
    known = settings(thing)
    for key, value in given.items():
        if key not in known:
            raise SettingError(
                f"{name!r} in {room} has no setting {key!r}.{nearest(key, known)} Known: {', '.join(known)}."
            )
        wanted = misfit(value, known[key])
        if wanted:
            raise SettingError(
                f"{key!r} of {name!r} in {room} is {wanted}, such as {known[key]!r}, but it is {value!r}."
            )


KINDS: tuple[tuple[type, tuple[type, ...], str], ...] = (
    (bool, (bool,), "true or false"),
    (int, (int,), "a whole number"),
    (float, (int, float), "a number"),
    (str, (str,), "a word"),
    (tuple, (list, tuple), "a list"),
)


def misfit(value: Any, default: Any) -> str:
    """Return the type that a setting should have, by its default; nothing if it fits.

    >>> misfit("fast", 0.1)
    'a number'
    >>> misfit(1, 0.1)
    ''
    """
    for kind, fitting, words in KINDS:
        if isinstance(default, kind):
            is_wrong = not isinstance(value, fitting) or (isinstance(value, bool) and kind is not bool)
            return words if is_wrong or (isinstance(value, float) and not isfinite(value)) else ""
    return ""
