"""An in-memory file cache: while a case or a small set is read, each file is opened only once."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from .file_result_cache import MIN_AGE_NS, Stamp, absolute_name, file_stamp

T = TypeVar("T")
MAX_CASE_BYTES = 2**28
"""Files of a case that are larger together are not held: then some are opened again."""
MAX_SET_BYTES = 2**28
"""Files of a set that are larger together are not held: then each is opened once for its header and once for all."""


class CaseFileCache:
    """Caches the files of a case: their bytes, and the results read from them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = {str(p) for p in paths}
        self.files: dict[str, bytes] = {}
        self.results: dict[Any, Any] = {}
        self.bytes_left = MAX_CASE_BYTES

    def open(self, path: Path) -> BinaryIO | None:
        """Open a cached file, reading it first if needed; None where it is not to be cached."""
        name = str(path)
        if name in self.files:
            return io.BytesIO(self.files[name])
        if name not in self.paths:
            return None
        if (raw := get_set_file(path)) is not None:
            return io.BytesIO(raw)
        size = path.stat().st_size
        if size > self.bytes_left:
            return None
        self.bytes_left -= size
        raw = self.files[name] = path.read_bytes()
        return io.BytesIO(raw)


class SetFileCache:
    """Caches the whole files of a set that were opened for their headers; empty for a large set."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Stamp, bytes]] = {}
        self.bytes_left = MAX_SET_BYTES

    def add(self, name: str, stamp: Stamp, raw: bytes) -> None:
        """Add a file with its stamp from before it was read; clear the cache when the byte limit is reached."""
        self.bytes_left -= len(raw)
        if self.bytes_left < 0:
            self.files.clear()
        else:
            self.files[name] = stamp, raw


THREAD_STATE = threading.local()


@contextmanager
def cache_set_files() -> Iterator[SetFileCache]:
    """Cache the files opened for their headers within the block, in this thread, so that they are not opened again."""
    before = getattr(THREAD_STATE, "collected", None)
    THREAD_STATE.collected = SetFileCache()
    try:
        yield THREAD_STATE.collected
    finally:
        THREAD_STATE.collected = before


def current_set_cache() -> SetFileCache | None:
    """Give this thread's cache of a set, None where there is none or it is full."""
    found: SetFileCache | None = getattr(THREAD_STATE, "collected", None)
    return found if found is not None and found.bytes_left > 0 else None


def get_set_file(path: Path) -> bytes | None:
    """Give the cached bytes of a file, None if it is not cached or has changed."""
    found = current_set_cache()
    known = found.files.get(absolute_name(path)) if found is not None and found.files else None
    return known[1] if known is not None and known[0] == file_stamp(path) else None


def read_into_set_cache(path: Path, file: BinaryIO, stamp: Stamp | None) -> bytes | None:
    """Read an open file whole and cache it, if a set is being cached and has room; else give None."""
    found = current_set_cache()
    if found is None or stamp is None or stamp[0] > found.bytes_left or stamp[1] > time.time_ns() - MIN_AGE_NS:
        return None
    file.seek(0)
    raw = file.read()
    found.add(absolute_name(path), stamp, raw)
    return raw


@contextmanager
def cache_case_files(paths: Iterable[Path]) -> Iterator[None]:
    """Cache some files within the block, in this thread, so that each is opened and each image in it read only once."""
    before = getattr(THREAD_STATE, "held", None)
    THREAD_STATE.held = CaseFileCache(paths)
    try:
        yield
    finally:
        THREAD_STATE.held = before


def open_cached(path: Path) -> BinaryIO:
    """Open a file for reading, from the cache where it is cached."""
    return open_if_cached(path) or cast(BinaryIO, path.open("rb"))


def cached_file_or_path(path: Path) -> BinaryIO | Path:
    """Give a cached file as an open file, else its path, for readers that take either."""
    return open_if_cached(path) or path


def open_if_cached(path: Path) -> BinaryIO | None:
    """Open a file from the cache of the case or the set, None where it is not cached."""
    held: CaseFileCache | None = getattr(THREAD_STATE, "held", None)
    found = held.open(path) if held else None
    if found is None and (raw := get_set_file(path)) is not None:
        found = io.BytesIO(raw)
    return found


def read_once(key: Any, read: Callable[[], T]) -> T:
    """Give the cached result for a key, or compute and cache it; without a cache, just compute it."""
    held: CaseFileCache | None = getattr(THREAD_STATE, "held", None)
    if held is None:
        return read()
    if key not in held.results:
        held.results[key] = read()
    return cast(T, held.results[key])
