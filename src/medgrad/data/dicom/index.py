"""List the DICOM series of a folder from the headers alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..file_cache import HERE
from ..file_errors import damage_told
from .header import HEADS, Head, head_of

PICTURELESS = ("RTSTRUCT", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "REG", "RWV", "DOC", "FID")


@dataclass(frozen=True)
class SeriesInfo:
    """One series: its patient, date, description and files.

    ``modality`` is DICOM's code (``CT``, ``SEG``, ``RTSTRUCT``). ``n`` is the number of frames in all files.
    ``references`` are the series that a SEG or RTSTRUCT refers to. ``is_localizer`` is true of scouts.
    """

    patient: str
    study_date: str
    study_uid: str
    series_uid: str
    modality: str
    description: str
    files: tuple[Path, ...]
    n: int
    references: tuple[str, ...] = ()
    is_localizer: bool = False
    frame_of_reference: str = ""
    holds_pictures: bool = True

    def __str__(self) -> str:
        return f"{self.series_uid} ({self.modality or '?'}, {self.description or 'no description'}, {self.n} pictures)"


def series_in(folder: Path | str) -> list[SeriesInfo]:
    """List the series below a folder, sorted by patient, date and series; only headers are read.

    Files that are not DICOM, or whose header cannot be read, are skipped.
    """
    with damage_told(Path(folder), "DICOM"):
        files = list(files_of(Path(folder)))
        ahead: Ahead | None = getattr(HERE, "ahead", None)
        if ahead is not None:
            ahead([path for path in files if HEADS.get(path) is None])
        return grouped(files)


Ahead = Callable[[Sequence[Path]], None]


@contextmanager
def reading_ahead(read: Ahead) -> Iterator[None]:
    """Within the block and in this thread, call ``read`` with the files whose headers will be needed."""
    before = getattr(HERE, "ahead", None)
    HERE.ahead = read
    try:
        yield
    finally:
        HERE.ahead = before


def grouped(files: Iterable[Path], ask: Callable[[Path], Head] = head_of) -> list[SeriesInfo]:
    """Group files by series; ``ask`` gives the header of a file."""
    found: dict[tuple[str, str], list[tuple[Path, Head]]] = {}
    for path in files:
        head = ask(path)
        if head.is_dicom and not head.is_broken and head.kind != "1.2.840.10008.1.3.10":  # the contents of a disc
            found.setdefault((head.study_uid, head.series_uid or str(path)), []).append((path, head))
    every = [gathered(uid, members) for (_, uid), members in found.items()]
    return sorted(every, key=lambda s: (s.patient, s.study_date, s.study_uid, s.modality, s.series_uid))


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in order of their names; or the file itself."""
    if folder.is_file():
        yield folder
        return
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(here, name)


def gathered(uid: str, members: Sequence[tuple[Path, Head]]) -> SeriesInfo:
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
        n=sum(h.n_frames for _, h in members),
        references=tuple(dict.fromkeys(r for _, h in members for r in h.references)),
        is_localizer=all(h.is_localizer for _, h in members),
        frame_of_reference=head.frame_of_reference,
        holds_pictures=head.modality not in PICTURELESS and any(h.has_rows for _, h in members),
    )
