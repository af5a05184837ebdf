"""Which DICOM series lie in a folder, from the headers alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from ...errors import FormatError
from ._damage import damage_told
from ._dicom_file import every_item, has_pixels, is_dicom, number, open_dicom, word

ASKED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ImageType",
    "Modality",
    "StudyDate",
    "SeriesDescription",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
)
PICTURELESS = ("RTSTRUCT", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "REG", "RWV", "DOC", "FID")


@dataclass(frozen=True)
class SeriesInfo:
    """One series: whose it is, when, what, and in which files.

    ``modality`` is DICOM's own code (``CT``, ``SEG``, ``RTSTRUCT``). ``n`` counts pictures, frames each for itself.
    ``references`` are the series that labels or contours were drawn on. ``is_localizer`` is true of scouts.
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
    """List the series in a folder and the folders below it, sorted by patient, date and series; headers only.

    Files that are not DICOM are passed over, and so are DICOM files whose header cannot be read.
    """
    with damage_told(Path(folder), "DICOM"):
        return grouped(Path(folder))


def grouped(folder: Path) -> list[SeriesInfo]:
    """Gather the files of each series."""
    found: dict[tuple[str, str], list[tuple[Path, Dataset]]] = {}
    for path in dicom_files(folder):
        try:
            head = open_dicom(path, pixels=False, only=ASKED)
        except FormatError:
            continue
        uid = word(head, "SeriesInstanceUID") or str(path)
        if word(head, "SOPClassUID") != "1.2.840.10008.1.3.10":  # the table of contents of a disc
            found.setdefault((word(head, "StudyInstanceUID"), uid), []).append((path, head))
    every = [gathered(uid, members) for (_, uid), members in found.items()]
    return sorted(every, key=lambda s: (s.patient, s.study_date, s.study_uid, s.modality, s.series_uid))


def dicom_files(folder: Path) -> Iterator[Path]:
    """Give the DICOM files of a folder and of those below it, in the order of their names; or the file itself."""
    if folder.is_file():
        yield from [folder] if is_dicom(folder) else []
        return
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(here, name)
            if not name.startswith(".") and is_dicom(path):
                yield path


def gathered(uid: str, members: Sequence[tuple[Path, Dataset]]) -> SeriesInfo:
    """Tell what the files of one series have in common."""
    head = members[0][1]
    modality = word(head, "Modality")
    return SeriesInfo(
        patient=word(head, "PatientID"),
        study_date=word(head, "StudyDate"),
        study_uid=word(head, "StudyInstanceUID"),
        series_uid=uid,
        modality=modality,
        description=word(head, "SeriesDescription"),
        files=tuple(path for path, _ in members),
        n=sum(n_frames(h) for _, h in members),
        references=tuple(dict.fromkeys(r for _, h in members for r in references_of(h))),
        is_localizer=all(is_localizer(h) for _, h in members),
        frame_of_reference=word(head, "FrameOfReferenceUID"),
        holds_pictures=modality not in PICTURELESS and any(has_pixels(h) for _, h in members),
    )


def n_frames(head: Dataset) -> int:
    """Give the number of frames that a header promises, at least one."""
    try:
        return max(int(number(head, "NumberOfFrames") or 1), 1)
    except ValueError:
        return 1


def is_localizer(head: Dataset) -> bool:
    """Tell whether a picture is a scout, which plans a scan and is no part of it."""
    return "LOCALIZER" in word(head, "ImageType").upper().split("\\")


def references_of(head: Dataset) -> list[str]:
    """Give the series that labels (SEG) or contours (RTSTRUCT) were drawn on."""
    found = [word(item, "SeriesInstanceUID") for item in every_item(head, "ReferencedSeriesSequence")]
    for frame in every_item(head, "ReferencedFrameOfReferenceSequence"):
        for study in every_item(frame, "RTReferencedStudySequence"):
            found += [word(s, "SeriesInstanceUID") for s in every_item(study, "RTReferencedSeriesSequence")]
    return [uid for uid in found if uid]
