"""List the DICOM series of a folder from the headers alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..file_cache import THREAD_STATE
from ..file_errors import as_format_error
from .header import HEADER_CACHE, DicomHeader, load_header

MODALITIES_WITHOUT_PIXELS = ("RTSTRUCT", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "REG", "RWV", "DOC", "FID")


@dataclass(frozen=True)
class SeriesInfo:
    """One series: its patient, date, description and files.

    ``modality`` is DICOM's code (``CT``, ``SEG``, ``RTSTRUCT``). ``n_frames`` is the number of frames in all files.
    ``referenced_series`` are the series that a SEG or RTSTRUCT refers to. ``is_localizer`` is true of scouts.
    """

    patient: str
    study_date: str
    study_uid: str
    series_uid: str
    modality: str
    description: str
    files: tuple[Path, ...]
    n_frames: int
    referenced_series: tuple[str, ...] = ()
    is_localizer: bool = False
    frame_of_reference: str = ""
    has_images: bool = True

    def __str__(self) -> str:
        return (
            f"{self.series_uid} ({self.modality or '?'}, {self.description or 'no description'}, "
            f"{self.n_frames} pictures)"
        )


def list_series(folder: Path | str) -> list[SeriesInfo]:
    """List the series below a folder, sorted by patient, date and series; only headers are read.

    Files that are not DICOM, or whose header cannot be read, are skipped.
    """
    with as_format_error(Path(folder), "DICOM"):
        files = list(iter_files(Path(folder)))
        ahead: PrefetchHeaders | None = getattr(THREAD_STATE, "ahead", None)
        if ahead is not None:
            ahead([path for path in files if HEADER_CACHE.get(path) is None])
        return group_series(files)


PrefetchHeaders = Callable[[Sequence[Path]], None]


@contextmanager
def reading_ahead(prefetch: PrefetchHeaders) -> Iterator[None]:
    """Within the block and in this thread, call ``read`` with the files whose headers will be needed."""
    before = getattr(THREAD_STATE, "ahead", None)
    THREAD_STATE.ahead = prefetch
    try:
        yield
    finally:
        THREAD_STATE.ahead = before


def group_series(files: Iterable[Path], get_header: Callable[[Path], DicomHeader] = load_header) -> list[SeriesInfo]:
    """Group files by series; ``get_header`` gives the header of a file."""
    found: dict[tuple[str, str], list[tuple[Path, DicomHeader]]] = {}
    for path in files:
        head = get_header(path)
        if head.is_dicom and not head.is_broken and head.kind != "1.2.840.10008.1.3.10":  # the contents of a disc
            found.setdefault((head.study_uid, head.series_uid or str(path)), []).append((path, head))
    every = [describe_series(uid, members) for (_, uid), members in found.items()]
    return sorted(every, key=lambda s: (s.patient, s.study_date, s.study_uid, s.modality, s.series_uid))


def iter_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in order of their names; or the file itself."""
    if folder.is_file():
        yield folder
        return
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(here, name)


def describe_series(uid: str, members: Sequence[tuple[Path, DicomHeader]]) -> SeriesInfo:
    """Describe a series from the headers of its files."""
    head = members[0][1]
    for _, one in members:
        if one.fault is not None:
            raise one.fault
    return SeriesInfo(
        patient=head.patient,
        study_date=head.study_date,
        study_uid=head.study_uid,
        series_uid=uid,
        modality=head.modality,
        description=head.description,
        files=tuple(path for path, _ in members),
        n_frames=sum(h.n_frames for _, h in members),
        referenced_series=tuple(dict.fromkeys(r for _, h in members for r in h.references)),
        is_localizer=all(h.is_localizer for _, h in members),
        frame_of_reference=head.frame_of_reference,
        has_images=head.modality not in MODALITIES_WITHOUT_PIXELS and any(h.has_rows for _, h in members),
    )
