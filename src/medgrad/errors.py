"""Exceptions that a user may catch; the command line turns each into one line and exit code 1."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class MedgradError(Exception):
    """An error that the user can correct; the message says what was wanted, what came, and what to do."""


class FormatError(MedgradError, ValueError):
    """A file is not what it claims to be, or is damaged."""


class LayoutError(MedgradError, ValueError):
    """A folder is not laid out in a way that is recognised."""


class LeakError(MedgradError, ValueError):
    """The same patient, or the same pixels, stand on both sides of a split."""


class SettingError(MedgradError, ValueError):
    """A setting is unknown, or its value is not allowed."""


class NameNotFound(MedgradError, LookupError):  # noqa: N818  (reads as a claim)
    """A name is not in the registry package that was searched."""


class PackageNotInstalled(MedgradError, ImportError):  # noqa: N818
    """An optional package is not installed."""


class Diverged(MedgradError, ArithmeticError):  # noqa: N818
    """The loss or its gradient is no longer a finite number."""


def require_package(module: str, *, extra: str) -> ModuleType:
    """Import an optional package, or raise an error with the command that installs it.

    >>> require_package("json", extra="dicom").__name__
    'json'
    """
    try:
        return import_module(module)
    except ImportError as reason:
        raise PackageNotInstalled(f"{module!r} is not installed. Type: pip install 'medgrad[{extra}]'") from reason


def suggest_name(name: str, known_names: Iterable[str]) -> str:
    """Suggest the nearest known name as the end of an error message, or nothing.

    >>> suggest_name("diec", ["dice", "focal"])
    " Did you mean 'dice'?"
    """
    plain = {word.lower(): word for word in known_names}
    close = get_close_matches(name.lower(), list(plain), n=1)
    return f" Did you mean {plain[close[0]]!r}?" if close else ""
