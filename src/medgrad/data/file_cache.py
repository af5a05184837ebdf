"""Files held in memory while a case or a small set is read, so that each is opened once, however often it is asked."""

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
    """The files of a case: their bytes once they were opened, and what was read from them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = {str(p) for p in paths}
        self.files: dict[str, bytes] = {}
        self.found: dict[Any, Any] = {}
        self.room = MOST_HELD

    def open(self, path: Path) -> BinaryIO | None:
        """Give a file as one that is open, None where it is not to be held."""
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
    """The files of a set that were opened for their headers, all of each; none of a large set."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Stamp, bytes]] = {}
        self.room = MOST_COLLECTED

    def keep(self, name: str, stamp: Stamp, raw: bytes) -> None:
        """Keep a file that had a stamp before it was read; when there is no more room, forget all of them."""
        self.room -= len(raw)
        if self.room < 0:
            self.files.clear()
        else:
            self.files[name] = stamp, raw


HERE = threading.local()


@contextmanager
def collecting() -> Iterator[Collected]:
    """Keep what is opened for its header within the block, in this thread, so that it is not opened again."""
    before = getattr(HERE, "collected", None)
    HERE.collected = Collected()
    try:
        yield HERE.collected
    finally:
        HERE.collected = before


def collector() -> Collected | None:
    """Give what collects the files of a set, None where nothing does or there is no more room."""
    found: Collected | None = getattr(HERE, "collected", None)
    return found if found is not None and found.room > 0 else None


def collected(path: Path) -> bytes | None:
    """Give the bytes of a file that was collected, if it is as it was."""
    found = collector()
    known = found.files.get(key_of(path)) if found is not None and found.files else None
    return known[1] if known is not None and known[0] == stamp_of(path) else None


def collect(path: Path, file: BinaryIO, before: Stamp | None) -> bytes | None:
    """Read all of a file that is open and keep it where a set is collected and has room; None where not."""
    found = collector()
    if found is None or before is None or before[0] > found.room or before[1] > time.time_ns() - SETTLED_NS:
        return None
    file.seek(0)
    raw = file.read()
    found.keep(key_of(path), before, raw)
    return raw


@contextmanager
def holding(paths: Iterable[Path]) -> Iterator[None]:
    """Open each of some files at most once within the block, in this thread, and read each picture in them once."""
    before = getattr(HERE, "held", None)
    HERE.held = Held(paths)
    try:
        yield
    finally:
        HERE.held = before


def opened(path: Path) -> BinaryIO:
    """Open a file for reading, or give it again where it is held."""
    return held_open(path) or cast(BinaryIO, path.open("rb"))


def held_or(path: Path) -> BinaryIO | Path:
    """Give a file as one that is open where it is held, else its path, for readers that take either."""
    return held_open(path) or path


def held_open(path: Path) -> BinaryIO | None:
    """Give a file as one that is open where it is held or was collected."""
    held: Held | None = getattr(HERE, "held", None)
    found = held.open(path) if held else None
    if found is None and (raw := collected(path)) is not None:
        found = io.BytesIO(raw)
    return found


def once(key: Any, read: Callable[[], T]) -> T:
    """Give what was read before while its file is held, or read it."""
    held: Held | None = getattr(HERE, "held", None)
    if held is None:
        return read()
    if key not in held.found:
        held.found[key] = read()
    return cast(T, held.found[key])
