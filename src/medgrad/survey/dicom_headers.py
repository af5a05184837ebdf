"""Read the headers of many DICOM files in two processes: one from the first file on, the other from the last."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ..data.dicom.header import HEADS, Head, head_of
from ..data.file_cache import Collected, collecting, collector
from ..data.file_memo import Stamp, key_of
from .workers import IDLE, Worker

AT_ONCE = 64
FEWEST = 500
"""Of fewer files the headers are read before the other process is ready."""

Said = list[tuple[str, Stamp, Head, bytes | None]]


def read_ahead(files: Sequence[Path]) -> None:
    """Prefetch the headers of files into the cache; those that cannot be kept are read when they are needed."""
    if len(files) < FEWEST or not IDLE:
        return
    left: deque[tuple[Path, ...]] = deque(pieces(files))
    found: deque[Said] = deque()
    helper = threading.Thread(target=asked_of, args=(IDLE[0], left.pop, found.append))
    helper.start()
    try:
        while True:
            try:
                some = left.popleft()
            except IndexError:
                break
            for path in some:
                head_of(path)
    finally:
        left.clear()
        helper.join()
    for said in found:
        learned(said)


def pieces(files: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Split files into requests."""
    return [tuple(files[i : i + AT_ONCE]) for i in range(0, len(files), AT_ONCE)]


def asked_of(worker: Worker, take: Callable[[], tuple[Path, ...]], give: Callable[[Said], None]) -> None:
    """Request headers from a worker until none are left; a worker that dies is dropped."""
    try:
        while True:
            give(worker.ask("heads", take()))
    except IndexError:
        return
    except Exception:  # whoever asks for these headers reads them, and says what is wrong
        IDLE.remove(worker)
        worker.kill()
        worker.close()


def said_of(files: Sequence[Path]) -> Said:
    """Read the headers of files in a worker, with the bytes of the files that may be kept."""
    with collecting() as kept:
        for path in files:
            head_of(path)
        return known_of(files, kept)


def learned(said: Said) -> None:
    """Store the headers that a worker has read."""
    room = collector()
    for name, stamp, head, raw in said:
        HEADS.found[name] = stamp, head
        if room is not None and raw is not None:
            room.keep(name, stamp, raw)


def known_of(files: Sequence[Path], kept: Collected | None) -> Said:
    """List the known headers of files for a worker, with the bytes of those that were kept."""
    raw = kept.files if kept is not None else {}
    names = map(key_of, files)
    return [(n, *HEADS.found[n], raw[n][1] if n in raw else None) for n in names if n in HEADS.found]
