"""Hash the files of a case, so that changes are found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data import Source
from ..data.cohorts import Entry
from ..data.file_cache import open_cached

CHUNK = 1 << 20


def image_and_truth_sources(entry: Entry) -> list[Source]:
    """List where the images and the truth of a case lie."""
    return [*entry.images.values(), *([entry.truth] if isinstance(entry.truth, Source) else [])]


def all_sources(entry: Entry) -> list[Source]:
    """List where the images, the truth and the region of a case lie."""
    return [*image_and_truth_sources(entry), *([entry.roi] if entry.roi else [])]


def files_in_source(source: Source) -> Iterator[tuple[Path, bool]]:
    """Give the files of an image or truth, and whether each is a set of which only an item belongs to it."""
    for path in (source.path, *source.extra_paths):
        if source.item and path.is_file():
            yield path, True
            continue
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            yield file, False


def unshared_files(entry: Entry) -> list[Path]:
    """List the files that belong to one case alone."""
    return [file for source in all_sources(entry) for file, is_set in files_in_source(source) if not is_set]


def hash_case(entry: Entry) -> str:
    """Hash the files of a case, images then truth; an item of a shared file is its name and the file's size."""
    whole = hashlib.sha256()
    for source in image_and_truth_sources(entry):
        for file, is_set in files_in_source(source):
            if is_set:
                whole.update(f"{file.name}:{source.item}:{file.stat().st_size}".encode())
            else:
                hash_file(file, whole)
    return whole.hexdigest()[:16]


def hash_file(path: Path, digest: Any) -> None:
    """Add a file's bytes to a hash; one that is gone adds its name."""
    if not path.exists():
        digest.update(path.name.encode())
        return
    with open_cached(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
