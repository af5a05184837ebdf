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
from .file_cache import open_cached

THREAD_STATE = threading.local()
MAX_PIXELS = 2**27
MAX_COMPRESSION = 1040


@contextmanager
def as_format_error(path: Path, format_name: str) -> Iterator[None]:
    """Turn any error of the block into a one-line FormatError, and suppress library warnings.

    >>> with as_format_error(Path("x.png"), "PNG"):
    ...     1 / 0
    Traceback (most recent call last):
    medgrad.errors.FormatError: 'x.png' cannot be read as PNG: division by zero. Is it whole and undamaged?
    """
    try:
        with suppress_warnings():
            yield
    except MedgradError:
        raise
    except MemoryError as reason:
        raise FormatError(f"{str(path)!r} asks for more memory than there is. Is it whole and undamaged?") from reason
    except RecursionError as reason:
        raise FormatError(f"{str(path)!r} is nested too deeply for a {format_name} file. Is it undamaged?") from reason
    except Exception as reason:
        said = one_line_message(reason)
        raise FormatError(
            f"{str(path)!r} cannot be read as {format_name}: {said}. Is it whole and undamaged?"
        ) from reason


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Suppress warnings within the block."""
    if getattr(THREAD_STATE, "is_silent", False):
        yield
        return
    THREAD_STATE.is_silent = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        THREAD_STATE.is_silent = False


def one_line_message(error: BaseException) -> str:
    """Give the message of an error on one line of at most 200 characters, without the final full stop."""
    words = " ".join(str(error).split()) or type(error).__name__
    printable = "".join(c if c.isprintable() else "?" for c in words)
    return (printable[:197] + "..." if len(printable) > 200 else printable).rstrip(".")


def read_first_bytes(path: Path, count: int) -> bytes:
    """Read the first bytes of a file; empty for a folder or a file that cannot be opened."""
    try:
        with open_cached(path) as file:
            return file.read(count)
    except OSError:
        return b""


def check_byte_count(path: Path, needed_bytes: int, available_bytes: int, *, compressed: bool = False) -> None:
    """Raise if a header declares more bytes than the file can hold, before memory is allocated for them.

    Deflate compresses by at most about 1,032 times, which bounds what a compressed file holds.
    """
    if needed_bytes > available_bytes * (MAX_COMPRESSION if compressed else 1) + 1024 * compressed:
        raise FormatError(
            f"{str(path)!r} promises {needed_bytes:,} bytes of values but has only {available_bytes:,}"
            f"{' packed ones' if compressed else ''}. Copy it again: it is cut off or damaged."
        )


def to_native_byte_order(array: NDArray[Any]) -> NDArray[Any]:
    """Convert an array to this machine's byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def to_smallest_unsigned(array: NDArray[Any]) -> NDArray[Any]:
    """Convert labels to the smallest unsigned type that holds them.

    >>> to_smallest_unsigned(np.array([0, 300])).dtype
    dtype('uint16')
    """
    if array.size and array.min() < 0:
        raise ValueError("Labels below zero cannot be written.")
    return array.astype(np.min_scalar_type(int(array.max()) if array.size else 0))
