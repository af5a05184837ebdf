"""The few header elements by which DICOM series are grouped, read once for each file and cached."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..file_cache import collect, opened
from ..file_errors import damage_told
from ..file_memo import Kept, stamp_of
from .file import (
    DEFLATED,
    FEW,
    LONGEST_START,
    MOST_AT_ONCE,
    SEGMENTATION,
    STRUCTURES,
    begins_as_dicom,
    every_item,
    from_bytes,
    number,
    read_from,
    tag_of,
    word,
)
from .parse import cut_all

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
LETTERS = "SpecificCharacterSet"
LOOKED_AT = 64  # the files of a folder from which its kind is told


@dataclass(frozen=True)
class Head:
    """The header of a file. ``is_dicom`` is false of other files; ``is_broken`` is true where no more could be read.

    ``kind`` is the SOP class UID. ``fault`` is an error in the references.
    """

    is_dicom: bool = True
    is_broken: bool = False
    kind: str = ""
    modality: str = ""
    patient: str = ""
    study_date: str = ""
    study_uid: str = ""
    series_uid: str = ""
    description: str = ""
    frame_of_reference: str = ""
    n_frames: int = 1
    is_localizer: bool = False
    has_rows: bool = False
    references: tuple[str, ...] = ()
    fault: Exception | None = None


HEADS: Kept[Head] = Kept()
Asked = tuple[tuple[int, str | None, bytes | None], ...]
ALIKE: dict[Asked, Head] = {}
MOST_ALIKE, LONGEST_ASKED = 4096, 1024
OWN = frozenset(map(tag_of, ("SOPInstanceUID", "InstanceNumber", "SeriesNumber")))
"""What nothing here depends on."""
NO_DICOM, BROKEN = Head(is_dicom=False), Head(is_broken=True)


def head_of(path: Path) -> Head:
    """Give the header of a file, cached."""
    return HEADS.ask(path, read_head)


def read_head(path: Path) -> Head:
    """Read the header of a file in one opening."""
    before = stamp_of(path)
    try:
        with opened(path) as file:
            if not begins_as_dicom(file.read(LONGEST_START)):
                return NO_DICOM
            raw = collect(path, file, before)
            file.seek(0)
            with damage_told(path, "DICOM"):
                if raw is None and before is not None and before[0] <= FEW:
                    raw = file.read()
                if raw is not None and len(raw) <= MOST_AT_ONCE:
                    return said_in(raw, path)
                return said_by(read_from(file, path, pixels=False, only=ASKED))
    except FormatError:
        return BROKEN
    except OSError:
        return NO_DICOM


def said_in(raw: bytes, path: Path) -> Head:
    """Parse the header from the bytes of a file; slices with equal elements share one header."""
    asked = as_asked(raw)
    known = ALIKE.get(asked) if asked is not None else None
    if known is not None:
        return known
    head = said_by(from_bytes(raw, path, pixels=False, only=ASKED))
    if asked is not None and head.fault is None:
        if len(ALIKE) >= MOST_ALIKE:
            ALIKE.clear()
        ALIKE[asked] = head
    return head


def as_asked(raw: bytes) -> Asked | None:
    """Give the stored bytes of the header elements as a cache key; None where they are not simple or are long."""
    try:
        cuts = cut_all(raw, pixels=False, only=ASKED) if DEFLATED.encode() not in raw else None
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    if not cuts or not cuts[1]:
        return None
    said = []
    for tag, element in cuts[1].items():
        if not isinstance(element, RawDataElement) or len(element.value or b"") > LONGEST_ASKED:
            return None
        if tag not in OWN:
            said.append((int(tag), element.VR, element.value))
    return tuple(said)


def read_whole(path: Path) -> tuple[Head, Dataset | FormatError | None]:
    """Read the header and the whole dataset of a file, or the error, in one opening."""
    before = stamp_of(path)
    try:
        with opened(path) as file:
            if not begins_as_dicom(file.read(LONGEST_START)):
                head, source = NO_DICOM, None
            else:
                with damage_told(path, "DICOM"):
                    head, source = both(file, path)
    except OSError:
        return NO_DICOM, None
    HEADS.put(path, before, head)
    return head, source


def both(file: BinaryIO, path: Path) -> tuple[Head, Dataset | FormatError]:
    """Read the header and the whole dataset of an open file; a damaged late element does not hide the header."""
    file.seek(0)
    try:
        source = read_from(file, path)
    except FormatError as reason:
        file.seek(0)
        try:
            return said_by(read_from(file, path, pixels=False, only=ASKED)), reason
        except FormatError:
            return BROKEN, reason
    return said_by(source) if any(tag_of(name) in source for name in (*ASKED, LETTERS)) else BROKEN, source


def said_by(source: Dataset) -> Head:
    """Make the header from the elements of a dataset."""
    fault: Exception | None = None
    references: tuple[str, ...] = ()
    try:
        references = tuple(references_of(source))
    except Exception as reason:  # it is told when the series is asked for
        fault = reason
    return Head(
        kind=word(source, "SOPClassUID"),
        modality=word(source, "Modality"),
        patient=word(source, "PatientID"),
        study_date=word(source, "StudyDate"),
        study_uid=word(source, "StudyInstanceUID"),
        series_uid=word(source, "SeriesInstanceUID"),
        description=word(source, "SeriesDescription"),
        frame_of_reference=word(source, "FrameOfReferenceUID"),
        n_frames=n_frames(source),
        is_localizer=is_localizer(source),
        has_rows=tag_of("Rows") in source and tag_of("Columns") in source,
        references=references,
        fault=fault,
    )


def n_frames(head: Dataset) -> int:
    """Give the number of frames that a header declares, at least one."""
    try:
        return max(int(number(head, "NumberOfFrames") or 1), 1)
    except ValueError:
        return 1


def is_localizer(head: Dataset) -> bool:
    """Tell whether an image is a localizer (scout)."""
    return "LOCALIZER" in word(head, "ImageType").upper().split("\\")


def references_of(head: Dataset) -> list[str]:
    """List the series UIDs that a SEG or RTSTRUCT references."""
    found = [word(item, "SeriesInstanceUID") for item in every_item(head, "ReferencedSeriesSequence")]
    for frame in every_item(head, "ReferencedFrameOfReferenceSequence"):
        for study in every_item(frame, "RTReferencedStudySequence"):
            found += [word(s, "SeriesInstanceUID") for s in every_item(study, "RTReferencedSeriesSequence")]
    return [uid for uid in found if uid]


def kind_of(path: Path) -> str:
    """Classify a file by its header as ``image``, ``labels`` (SEG), ``contours`` (RTSTRUCT) or nothing."""
    head = head_of(path)
    if not head.is_dicom:
        return ""
    if head.is_broken:
        return "image"  # it begins as DICOM does, so reading it will tell what is wrong
    if head.kind in SEGMENTATION or head.modality == "SEG":
        return "labels"
    return "contours" if head.kind == STRUCTURES or head.modality == "RTSTRUCT" else "image"


def the_only(path: Path, kind: str) -> Path | None:
    """Give the file itself, or the only DICOM file of a folder, if ``kind_of`` gives this kind; else None."""
    if path.is_dir():
        first = sorted(path.iterdir())[:LOOKED_AT]
        files = list(islice((p for p in first if p.is_file() and head_of(p).is_dicom), 2))
        if len(files) != 1:
            return None
        path = files[0]
    return path if path.is_file() and kind_of(path) == kind else None
