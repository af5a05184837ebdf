"""The few header elements by which DICOM series are grouped, read once for each file and cached."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..file_cache import open_cached, read_into_set_cache
from ..file_errors import as_format_error
from ..file_result_cache import FileResultCache, file_stamp
from .parse import split_file
from .read_dataset import (
    DEFLATED_SYNTAX,
    FEW,
    MOST_AT_ONCE,
    RTSTRUCT_SOP_CLASS,
    SEG_SOP_CLASSES,
    SIGNATURE_BYTES,
    get_items,
    get_number,
    get_text,
    has_dicom_signature,
    keyword_tag,
    read_from_bytes,
    read_open_file,
)

HEADER_KEYWORDS = (
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
CHARACTER_SET = "SpecificCharacterSet"
MAX_FILES_CHECKED = 64  # the files of a folder from which its kind is told


@dataclass(frozen=True)
class DicomHeader:
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


HEADER_CACHE: FileResultCache[DicomHeader] = FileResultCache()
StoredHeader = tuple[tuple[int, str | None, bytes | None], ...]
HEADER_BY_CONTENT: dict[StoredHeader, DicomHeader] = {}
MOST_ALIKE, LONGEST_ASKED = 4096, 1024
PER_FILE_TAGS = frozenset(map(keyword_tag, ("SOPInstanceUID", "InstanceNumber", "SeriesNumber")))
"""What nothing here depends on."""
NO_DICOM, BROKEN = DicomHeader(is_dicom=False), DicomHeader(is_broken=True)


def load_header(path: Path) -> DicomHeader:
    """Give the header of a file, cached."""
    return HEADER_CACHE.get_or_compute(path, read_header)


def read_header(path: Path) -> DicomHeader:
    """Read the header of a file in one opening."""
    before = file_stamp(path)
    try:
        with open_cached(path) as file:
            if not has_dicom_signature(file.read(SIGNATURE_BYTES)):
                return NO_DICOM
            raw = read_into_set_cache(path, file, before)
            file.seek(0)
            with as_format_error(path, "DICOM"):
                if raw is None and before is not None and before[0] <= FEW:
                    raw = file.read()
                if raw is not None and len(raw) <= MOST_AT_ONCE:
                    return header_from_bytes(raw, path)
                return header_from_dataset(read_open_file(file, path, with_pixels=False, keywords=HEADER_KEYWORDS))
    except FormatError:
        return BROKEN
    except OSError:
        return NO_DICOM


def header_from_bytes(raw: bytes, path: Path) -> DicomHeader:
    """Parse the header from the bytes of a file; slices with equal elements share one header."""
    asked = stored_header(raw)
    known = HEADER_BY_CONTENT.get(asked) if asked is not None else None
    if known is not None:
        return known
    head = header_from_dataset(read_from_bytes(raw, path, with_pixels=False, keywords=HEADER_KEYWORDS))
    if asked is not None and head.fault is None:
        if len(HEADER_BY_CONTENT) >= MOST_ALIKE:
            HEADER_BY_CONTENT.clear()
        HEADER_BY_CONTENT[asked] = head
    return head


def stored_header(raw: bytes) -> StoredHeader | None:
    """Give the stored bytes of the header elements as a cache key; None where they are not simple or are long."""
    try:
        cuts = (
            split_file(raw, with_pixels=False, keywords=HEADER_KEYWORDS)
            if DEFLATED_SYNTAX.encode() not in raw
            else None
        )
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    if not cuts or not cuts[1]:
        return None
    said = []
    for tag, element in cuts[1].items():
        if not isinstance(element, RawDataElement) or len(element.value or b"") > LONGEST_ASKED:
            return None
        if tag not in PER_FILE_TAGS:
            said.append((int(tag), element.VR, element.value))
    return tuple(said)


def read_header_and_dataset(path: Path) -> tuple[DicomHeader, Dataset | FormatError | None]:
    """Read the header and the whole dataset of a file, or the error, in one opening."""
    before = file_stamp(path)
    try:
        with open_cached(path) as file:
            if not has_dicom_signature(file.read(SIGNATURE_BYTES)):
                head, source = NO_DICOM, None
            else:
                with as_format_error(path, "DICOM"):
                    head, source = read_open_header_and_dataset(file, path)
    except OSError:
        return NO_DICOM, None
    HEADER_CACHE.store(path, before, head)
    return head, source


def read_open_header_and_dataset(file: BinaryIO, path: Path) -> tuple[DicomHeader, Dataset | FormatError]:
    """Read the header and the whole dataset of an open file; a damaged late element does not hide the header."""
    file.seek(0)
    try:
        dataset = read_open_file(file, path)
    except FormatError as reason:
        file.seek(0)
        try:
            return header_from_dataset(read_open_file(file, path, with_pixels=False, keywords=HEADER_KEYWORDS)), reason
        except FormatError:
            return BROKEN, reason
    return header_from_dataset(dataset) if any(
        keyword_tag(name) in dataset for name in (*HEADER_KEYWORDS, CHARACTER_SET)
    ) else BROKEN, dataset


def header_from_dataset(dataset: Dataset) -> DicomHeader:
    """Make the header from the elements of a dataset."""
    fault: Exception | None = None
    references: tuple[str, ...] = ()
    try:
        references = tuple(referenced_series(dataset))
    except Exception as reason:  # it is told when the series is asked for
        fault = reason
    return DicomHeader(
        kind=get_text(dataset, "SOPClassUID"),
        modality=get_text(dataset, "Modality"),
        patient=get_text(dataset, "PatientID"),
        study_date=get_text(dataset, "StudyDate"),
        study_uid=get_text(dataset, "StudyInstanceUID"),
        series_uid=get_text(dataset, "SeriesInstanceUID"),
        description=get_text(dataset, "SeriesDescription"),
        frame_of_reference=get_text(dataset, "FrameOfReferenceUID"),
        n_frames=count_frames(dataset),
        is_localizer=is_localizer(dataset),
        has_rows=keyword_tag("Rows") in dataset and keyword_tag("Columns") in dataset,
        references=references,
        fault=fault,
    )


def count_frames(dataset: Dataset) -> int:
    """Give the number of frames that a header declares, at least one."""
    try:
        return max(int(get_number(dataset, "NumberOfFrames") or 1), 1)
    except ValueError:
        return 1


def is_localizer(dataset: Dataset) -> bool:
    """Tell whether an image is a localizer (scout)."""
    return "LOCALIZER" in get_text(dataset, "ImageType").upper().split("\\")


def referenced_series(dataset: Dataset) -> list[str]:
    """List the series UIDs that a SEG or RTSTRUCT references."""
    found = [get_text(item, "SeriesInstanceUID") for item in get_items(dataset, "ReferencedSeriesSequence")]
    for frame in get_items(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in get_items(frame, "RTReferencedStudySequence"):
            found += [get_text(s, "SeriesInstanceUID") for s in get_items(study, "RTReferencedSeriesSequence")]
    return [uid for uid in found if uid]


def classify_file(path: Path) -> str:
    """Classify a file by its header as ``image``, ``labels`` (SEG), ``contours`` (RTSTRUCT) or nothing."""
    head = load_header(path)
    if not head.is_dicom:
        return ""
    if head.is_broken:
        return "image"  # it begins as DICOM does, so reading it will tell what is wrong
    if head.kind in SEG_SOP_CLASSES or head.modality == "SEG":
        return "labels"
    return "contours" if head.kind == RTSTRUCT_SOP_CLASS or head.modality == "RTSTRUCT" else "image"


def find_only_file(path: Path, kind: str) -> Path | None:
    """Give the file itself, or the only DICOM file of a folder, if ``classify_file`` gives this kind; else None."""
    if path.is_dir():
        first = sorted(path.iterdir())[:MAX_FILES_CHECKED]
        files = list(islice((p for p in first if p.is_file() and load_header(p).is_dicom), 2))
        if len(files) != 1:
            return None
        path = files[0]
    return path if path.is_file() and classify_file(path) == kind else None
