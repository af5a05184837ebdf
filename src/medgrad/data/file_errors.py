"""Turn whatever a library raises about a damaged file into one FormatError that names the file."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, MedgradError
from .file_cache import opened

HERE = threading.local()
MOST_PIXELS = 2**27
MOST_TIMES_SMALLER = 1040


@contextmanager
def damage_told(path: Path, kind: str) -> Iterator[None]:
    """Turn any error of the block into a one-line FormatError, and suppress library warnings.

    >>> with damage_told(Path("x.png"), "PNG"):
    ...     1 / 0
    Traceback (most recent call last):
    medgrad.errors.FormatError: 'x.png' cannot be read as PNG: division by zero. Is it whole and undamaged?
    """
    try:
        with silent():
            yield
    except MedgradError:
        raise
    except MemoryError as reason:
        raise FormatError(f"{str(path)!r} asks for more memory than there is. Is it whole and undamaged?") from reason
    except RecursionError as reason:
        raise FormatError(f"{str(path)!r} is nested too deeply for a {kind} file. Is it undamaged?") from reason
    except Exception as reason:
        said = in_one_line(reason)
        raise FormatError(f"{str(path)!r} cannot be read as {kind}: {said}. Is it whole and undamaged?") from reason


@contextmanager
def silent() -> Iterator[None]:
    """Suppress warnings within the block."""
    if getattr(HERE, "is_silent", False):
        yield
        return
    HERE.is_silent = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        HERE.is_silent = False


def in_one_line(reason: BaseException) -> str:
    """Give the message of an error on one line of at most 200 characters, without the final full stop."""
    words = " ".join(str(reason).split()) or type(reason).__name__
    printable = "".join(c if c.isprintable() else "?" for c in words)
    return (printable[:197] + "..." if len(printable) > 200 else printable).rstrip(".")


def first_bytes(path: Path, n: int) -> bytes:
    """Read the first bytes of a file; empty for a folder or a file that cannot be opened."""
    try:
        with opened(path) as file:
            return file.read(n)
    except OSError:
        return b""


def check_promise(path: Path, promised: int, there: int, *, packed: bool = False) -> None:
    """Raise if a header declares more bytes than the file can hold, before memory is allocated for them.

    Deflate compresses by at most about 1,032 times, which bounds what a compressed file holds.
    """
    if promised > there * (MOST_TIMES_SMALLER if packed else 1) + 1024 * packed:
        raise FormatError(
            f"{str(path)!r} promises {promised:,} bytes of values but has only {there:,}"
            f"{' packed ones' if packed else ''}. Copy it again: it is cut off or damaged."
        )


def native(array: NDArray[Any]) -> NDArray[Any]:
    """Convert an array to this machine's byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def smallest_unsigned(array: NDArray[Any]) -> NDArray[Any]:
    """Convert labels to the smallest unsigned type that holds them.

    >>> smallest_unsigned(np.array([0, 300])).dtype
    dtype('uint16')
    """
    if array.size and array.min() < 0:
        raise ValueError("Labels below zero cannot be written.")
    return array.astype(np.min_scalar_type(int(array.max()) if array.size else 0))
