"""Hash the files of a case, so that changes are found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data import Source
from ..data.cohorts import Entry
from ..data.file_cache import opened

CHUNK = 1 << 20


def sources_of(entry: Entry) -> list[Source]:
    """List where the images and the truth of a case lie."""
    return [*entry.images.values(), *([entry.truth] if isinstance(entry.truth, Source) else [])]


def every_source(entry: Entry) -> list[Source]:
    """List where the images, the truth and the region of a case lie."""
    return [*sources_of(entry), *([entry.region] if entry.region else [])]


def files_of(source: Source) -> Iterator[tuple[Path, bool]]:
    """Give the files of an image or truth, and whether each is a set of which only an item belongs to it."""
    for path in (source.path, *source.also):
        if source.item and path.is_file():
            yield path, True
            continue
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            yield file, False


def own_files(entry: Entry) -> list[Path]:
    """List the files that belong to one case alone."""
    return [file for source in every_source(entry) for file, is_set in files_of(source) if not is_set]


def hash_of(entry: Entry) -> str:
    """Hash the files of a case, images then truth; an item of a shared file is its name and the file's size."""
    whole = hashlib.sha256()
    for source in sources_of(entry):
        for file, is_set in files_of(source):
            if is_set:
                whole.update(f"{file.name}:{source.item}:{file.stat().st_size}".encode())
            else:
                hash_file(file, whole)
    return whole.hexdigest()[:16]


def hash_file(path: Path, whole: Any) -> None:
    """Add a file's bytes to a hash; one that is gone adds its name."""
    if not path.exists():
        whole.update(path.name.encode())
        return
    with opened(path) as file:
        while chunk := file.read(CHUNK):
            whole.update(chunk)
