"""A cache of results by file, valid while the file's size and modification time do not change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Stamp = tuple[int, int]
MOST = 1_000_000
SETTLED_NS = 2_000_000_000
"""A file that was changed less long ago may change again without a sign: clocks of file systems tick slowly."""


def stamp_of(path: Path | str) -> Stamp | None:
    """Give the size and the modification time (ns) of a file; None where it does not exist."""
    try:
        about = os.stat(path)  # noqa: PTH116  (asked of every file of a set)
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def key_of(path: Path | str) -> str:
    """Give the absolute path of a file as text."""
    return os.path.abspath(path)  # noqa: PTH100  (asked of every file of a set)


class Kept(Generic[T]):
    """Caches one result for each file, until the file's size or modification time changes."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Stamp, T]] = {}

    def ask(self, path: Path, find: Callable[[Path], T]) -> T:
        """Give the cached result of a file, or compute and cache it."""
        known = self.get(path)
        if known is not None:
            return known[0]
        before = stamp_of(path)
        found = find(path)
        self.put(path, before, found)
        return found

    def get(self, path: Path) -> tuple[T] | None:
        """Give the cached result of a file as a tuple of one; None where there is none."""
        known = self.found.get(key_of(path))
        return (known[1],) if known is not None and known[0] == stamp_of(path) else None

    def put(self, path: Path, before: Stamp | None, found: T) -> None:
        """Cache a result with the stamp of the file from before it was read."""
        if before is None or before[1] > time.time_ns() - SETTLED_NS:
            return
        if len(self.found) >= MOST:
            self.found.clear()
        self.found[key_of(path)] = (before, found)
