"""An in-memory file cache: while a case or a small set is read, each file is opened only once."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from .file_memo import SETTLED_NS, Stamp, key_of, stamp_of

T = TypeVar("T")
MOST_HELD = 2**28
"""Files of a case that are larger together are not held: then some are opened again."""
MOST_COLLECTED = 2**28
"""Files of a set that are larger together are not held: then each is opened once for its header and once for all."""


class Held:
    """Caches the files of a case: their bytes, and the results read from them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = {str(p) for p in paths}
        self.files: dict[str, bytes] = {}
        self.found: dict[Any, Any] = {}
        self.room = MOST_HELD

    def open(self, path: Path) -> BinaryIO | None:
        """Open a cached file, reading it first if needed; None where it is not to be cached."""
        name = str(path)
        if name in self.files:
            return io.BytesIO(self.files[name])
        if name not in self.paths:
            return None
        if (raw := collected(path)) is not None:
            return io.BytesIO(raw)
        size = path.stat().st_size
        if size > self.room:
            return None
        self.room -= size
        raw = self.files[name] = path.read_bytes()
        return io.BytesIO(raw)


class Collected:
    """Caches the whole files of a set that were opened for their headers; empty for a large set."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Stamp, bytes]] = {}
        self.room = MOST_COLLECTED

    def keep(self, name: str, stamp: Stamp, raw: bytes) -> None:
        """Add a file with its stamp from before it was read; clear the cache when the byte limit is reached."""
        self.room -= len(raw)
        if self.room < 0:
            self.files.clear()
        else:
            self.files[name] = stamp, raw


HERE = threading.local()


@contextmanager
def collecting() -> Iterator[Collected]:
    """Cache the files opened for their headers within the block, in this thread, so that they are not opened again."""
    before = getattr(HERE, "collected", None)
    HERE.collected = Collected()
    try:
        yield HERE.collected
    finally:
        HERE.collected = before


def collector() -> Collected | None:
    """Give this thread's cache of a set, None where there is none or it is full."""
    found: Collected | None = getattr(HERE, "collected", None)
    return found if found is not None and found.room > 0 else None


def collected(path: Path) -> bytes | None:
    """Give the cached bytes of a file, None if it is not cached or has changed."""
    found = collector()
    known = found.files.get(key_of(path)) if found is not None and found.files else None
    return known[1] if known is not None and known[0] == stamp_of(path) else None


def collect(path: Path, file: BinaryIO, before: Stamp | None) -> bytes | None:
    """Read an open file whole and cache it, if a set is being cached and has room; else give None."""
    found = collector()
    if found is None or before is None or before[0] > found.room or before[1] > time.time_ns() - SETTLED_NS:
        return None
    file.seek(0)
    raw = file.read()
    found.keep(key_of(path), before, raw)
    return raw


@contextmanager
def holding(paths: Iterable[Path]) -> Iterator[None]:
    """Cache some files within the block, in this thread, so that each is opened and each image in it read only once."""
    before = getattr(HERE, "held", None)
    HERE.held = Held(paths)
    try:
        yield
    finally:
        HERE.held = before


def opened(path: Path) -> BinaryIO:
    """Open a file for reading, from the cache where it is cached."""
    return held_open(path) or cast(BinaryIO, path.open("rb"))


def held_or(path: Path) -> BinaryIO | Path:
    """Give a cached file as an open file, else its path, for readers that take either."""
    return held_open(path) or path


def held_open(path: Path) -> BinaryIO | None:
    """Open a file from the cache of the case or the set, None where it is not cached."""
    held: Held | None = getattr(HERE, "held", None)
    found = held.open(path) if held else None
    if found is None and (raw := collected(path)) is not None:
        found = io.BytesIO(raw)
    return found


def once(key: Any, read: Callable[[], T]) -> T:
    """Give the cached result for a key, or compute and cache it; without a cache, just compute it."""
    held: Held | None = getattr(HERE, "held", None)
    if held is None:
        return read()
    if key not in held.found:
        held.found[key] = read()
    return cast(T, held.found[key])
