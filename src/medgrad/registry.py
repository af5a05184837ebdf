"""The folder is the registry: one file, one thing, found by its file name."""

from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from pkgutil import iter_modules
from typing import Any

from .errors import NameNotFound, SettingError, nearest


def names(room: str) -> list[str]:
    """List what a room offers, without importing any of it.

    >>> "nifti" in names("data.formats")
    True
    """
    return list(_listing(room))


@cache
def _listing(room: str) -> tuple[str, ...]:
    folder = import_module(f"{__package__}.{room}").__path__
    return tuple(sorted(m.name for m in iter_modules(folder) if not m.name.startswith("_")))


def find(room: str, name: str) -> Any:
    """Import one file of a room and return what it offers as ``THIS``."""
    known = names(room)
    if name not in known:
        raise NameNotFound(f"No {name!r} in {room}.{nearest(name, known)} Known: {', '.join(known)}.")
    return import_module(f"{__package__}.{room}.{name}").THIS


def settings(thing: Any) -> dict[str, Any]:
    """Map each keyword that ``thing`` takes to its default.

    >>> settings(lambda x, *, rate=0.1: x)
    {'rate': 0.1}
    """
    return {
        p.name: p.default
        for p in signature(thing).parameters.values()
        if p.kind in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD) and p.default is not Parameter.empty
    }


def check_settings(room: str, name: str, given: dict[str, Any]) -> None:
    """Raise unless every given setting is one that the named thing takes."""
    thing = find(room, name)
    if any(p.kind is Parameter.VAR_KEYWORD for p in signature(thing).parameters.values()):
        return
    known = settings(thing)
    for key in given:
        if key not in known:
            raise SettingError(
                f"{name!r} in {room} has no setting {key!r}.{nearest(key, known)} Known: {', '.join(known)}."
            )
