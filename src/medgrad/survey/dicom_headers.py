"""Read the headers of many DICOM files in two processes: one from the first file on, the other from the last."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ..data.dicom.header import HEADER_CACHE, DicomHeader, load_header
from ..data.file_cache import SetFileCache, cache_set_files, current_set_cache
from ..data.file_result_cache import Stamp, absolute_name
from .workers import IDLE_WORKERS, Worker

FILES_PER_REQUEST = 64
MIN_FILES = 500
"""Of fewer files the headers are read before the other process is ready."""

HeaderRecords = list[tuple[str, Stamp, DicomHeader, bytes | None]]


def read_ahead(files: Sequence[Path]) -> None:
    """Prefetch the headers of files into the cache; those that cannot be kept are read when they are needed."""
    if len(files) < MIN_FILES or not IDLE_WORKERS:
        return
    left: deque[tuple[Path, ...]] = deque(split_files(files))
    found: deque[HeaderRecords] = deque()
    helper = threading.Thread(target=request_headers, args=(IDLE_WORKERS[0], left.pop, found.append))
    helper.start()
    try:
        while True:
            try:
                some = left.popleft()
            except IndexError:
                break
            for path in some:
                load_header(path)
    finally:
        left.clear()
        helper.join()
    for said in found:
        remember_headers(said)


def split_files(files: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Split files into requests."""
    return [tuple(files[i : i + FILES_PER_REQUEST]) for i in range(0, len(files), FILES_PER_REQUEST)]


def request_headers(
    worker: Worker, take_files: Callable[[], tuple[Path, ...]], store_result: Callable[[HeaderRecords], None]
) -> None:
    """Request headers from a worker until none are left; a worker that dies is dropped."""
    try:
        while True:
            store_result(worker.request("heads", take_files()))
    except IndexError:
        return
    except Exception:  # whoever asks for these headers reads them, and says what is wrong
        IDLE_WORKERS.remove(worker)
        worker.kill()
        worker.close()


def read_headers(files: Sequence[Path]) -> HeaderRecords:
    """Read the headers of files in a worker, with the bytes of the files that may be kept."""
    with cache_set_files() as kept:
        for path in files:
            load_header(path)
        return list_known_headers(files, kept)


def remember_headers(records: HeaderRecords) -> None:
    """Store the headers that a worker has read."""
    room = current_set_cache()
    for name, stamp, head, raw in records:
        HEADER_CACHE.entries[name] = stamp, head
        if room is not None and raw is not None:
            room.add(name, stamp, raw)


def list_known_headers(files: Sequence[Path], collected: SetFileCache | None) -> HeaderRecords:
    """List the known headers of files for a worker, with the bytes of those that were kept."""
    raw = collected.files if collected is not None else {}
    names = map(absolute_name, files)
    return [(n, *HEADER_CACHE.entries[n], raw[n][1] if n in raw else None) for n in names if n in HEADER_CACHE.entries]
