"""A cache of results by file, valid while the file's size and modification time do not change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Stamp = tuple[int, int]
MAX_ENTRIES = 1_000_000
MIN_AGE_NS = 2_000_000_000
"""A file that was changed less long ago may change again without a sign: clocks of file systems tick slowly."""


def file_stamp(path: Path | str) -> Stamp | None:
    """Give the size and the modification time (ns) of a file; None where it does not exist."""
    try:
        about = os.stat(path)  # noqa: PTH116  (asked of every file of a set)
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def absolute_name(path: Path | str) -> str:
    """Give the absolute path of a file as text."""
    return os.path.abspath(path)  # noqa: PTH100  (asked of every file of a set)


class FileResultCache(Generic[T]):
    """Caches one result for each file, until the file's size or modification time changes."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Stamp, T]] = {}

    def get_or_compute(self, path: Path, compute: Callable[[Path], T]) -> T:
        """Give the cached result of a file, or compute and cache it."""
        known = self.get(path)
        if known is not None:
            return known[0]
        before = file_stamp(path)
        found = compute(path)
        self.store(path, before, found)
        return found

    def get(self, path: Path) -> tuple[T] | None:
        """Give the cached result of a file as a tuple of one; None where there is none."""
        known = self.entries.get(absolute_name(path))
        return (known[1],) if known is not None and known[0] == file_stamp(path) else None

    def store(self, path: Path, stamp: Stamp | None, value: T) -> None:
        """Cache a result with the stamp of the file from before it was read."""
        if stamp is None or stamp[1] > time.time_ns() - MIN_AGE_NS:
            return
        if len(self.entries) >= MAX_ENTRIES:
            self.entries.clear()
        self.entries[absolute_name(path)] = (stamp, value)
