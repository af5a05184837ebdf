"""Files held in memory while a case is read, so that each is opened once, however often it is asked for."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

T = TypeVar("T")
MOST_HELD = 2**28
"""Files of a case that are larger together are not held: then some are opened again."""


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
        size = path.stat().st_size
        if size > self.room:
            return None
        self.room -= size
        raw = self.files[name] = path.read_bytes()
        return io.BytesIO(raw)


HERE = threading.local()


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
    held: Held | None = getattr(HERE, "held", None)
    return (held.open(path) if held else None) or cast(BinaryIO, path.open("rb"))


def held_or(path: Path) -> BinaryIO | Path:
    """Give a file as one that is open where it is held, else its path, for readers that take either."""
    held: Held | None = getattr(HERE, "held", None)
    return (held.open(path) if held else None) or path


def once(key: Any, read: Callable[[], T]) -> T:
    """Give what was read before while its file is held, or read it."""
    held: Held | None = getattr(HERE, "held", None)
    if held is None:
        return read()
    if key not in held.found:
        held.found[key] = read()
    return cast(T, held.found[key])
