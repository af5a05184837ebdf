"""Labels out, as a DICOM segmentation that names the series that it was drawn on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ...errors import FormatError, need
from ...version import VERSION
from ..source import Source
from ..types import LabelMap
from ._damage import damage_told
from ._dicom_file import word
from ._dicom_frames import Frame
from ._dicom_write import uid_of
from ._dicom_write_codes import codes_of

NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "Modality",
)  # fmt: skip
MOST_SEGMENTS = 255
Slices = list[tuple[Dataset, Frame, NDArray[np.uint8]]]


def encoded(labels: LabelMap, source: Source, *, drawn_by: str = "medgrad", key: str = "") -> Dataset:
    """Give the segmentation as a DICOM dataset.

    With a ``key`` its UIDs are made of it and it bears the date of the study, so that the same key and labels give
    the same bytes. A slice that was missing in the series and filled in by the reader cannot be referred to: what is
    marked there is left out.
    """
    highdicom = need("highdicom", extra="dicom")
    names = names_of(labels, source.path)
    slices = slices_of(labels, source)
    heads = [head for head, _, _ in slices]
    array = np.stack([marked for _, _, marked in slices])  # (slices, rows, columns)
    several_frames = len({id(h) for h in heads}) < len(heads) or "NumberOfFrames" in heads[0]
    with damage_told(source.path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
        made = highdicom.seg.Segmentation(
            heads[:1] if several_frames else heads,
            array,
            highdicom.seg.SegmentationTypeValues.BINARY,
            [described(highdicom, number, name, drawn_by) for number, name in names.items()],
            series_instance_uid=uid_of(key, "series") if key else generate_uid(prefix=None),
            series_number=900,
            sop_instance_uid=uid_of(key, "instance") if key else generate_uid(prefix=None),
            instance_number=1,
            manufacturer="medgrad",
            manufacturer_model_name=drawn_by,
            software_versions=VERSION,
            device_serial_number="0",
            series_description=f"Segmentation by {drawn_by}",
            content_label="SEGMENTATION",
            content_description=", ".join(names.values())[:64],
            specific_character_set="ISO_IR 192",
            omit_empty_frames=bool(array.any()),
            **planes(highdicom, [frame for _, frame, _ in slices]),
        )
    return dated(made, key) if key else made


def names_of(labels: LabelMap, path: Path) -> dict[int, str]:
    """Give a name for every label; DICOM numbers segments 1, 2, ... without a gap, and so must the labels."""
    found = {int(v): str(n) for v, n in labels.names.items() if v > 0}
    found |= {int(v): f"label {int(v)}" for v in np.unique(labels.array) if v > 0 and int(v) not in found}
    if not found:
        raise ValueError(f"The labels for {str(path)!r} have no names, so there is no segment to write. Name one.")
    if max(found) > MOST_SEGMENTS:
        raise ValueError(f"Labels up to {max(found)} are too many for {path.name!r}: at most {MOST_SEGMENTS} fit.")
    return {v: found.get(v, f"label {v}") for v in range(1, max(found) + 1)}


def slices_of(labels: LabelMap, source: Source) -> Slices:
    """Give each slice of the series with the labels on it, bottom first; one slice for each place."""
    from .dicom import Opened, chosen, opened, without_scouts
    from .dicomseg import placing

    files = [source.path]
    if source.path.is_dir():
        files = list(chosen(source.path, source.item.partition(":")[0], []).files)
    heads: list[Opened] = [opened(path) for path in files]
    if len(heads) > 1:
        heads = without_scouts(heads, [])
    found: dict[tuple[int, ...], tuple[Dataset, Frame, NDArray[np.uint8]]] = {}
    for head in heads:
        plain = without_pixels(head.path, head.source)
        for frame in head.frames:
            if not frame.position:
                raise FormatError(
                    f"{str(head.path)!r} does not say where in the patient it lies, so a DICOM SEG cannot either. "
                    "Write the answer in another format, such as --as nifti."
                )
            place = voxels_of(placing(head.path, frame, labels.grid), frame)
            inside = ((place >= 0) & (place < labels.grid.shape)).all(axis=-1)
            marked = np.zeros(frame.shape, np.uint8)
            marked[inside] = labels.array[tuple(place[inside].T)]
            found.setdefault(tuple(place[0, 0].tolist()), (plain, frame, marked))
    return sorted(found.values(), key=lambda s: float(s[1].position @ s[1].normal))


def voxels_of(at: Any, frame: Frame) -> NDArray[np.int64]:
    """Give the voxel that each pixel of a frame belongs to, (rows, columns, 3)."""
    rows, columns = frame.shape
    every = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    return np.asarray(at(every.reshape(-1, 2))).reshape(rows, columns, 3)


def without_pixels(path: Path, source: Dataset) -> Dataset:
    """Give a header to refer to, with what may be empty made empty where it is absent."""
    lacking = [name for name in NEEDED if not word(source, name)]
    if lacking:
        raise FormatError(
            f"{str(path)!r} has no {lacking[0]}, so a DICOM SEG cannot refer to it. Write the answer in another "
            "format, such as --as nifti."
        )
    head = Dataset({k: v for k, v in source.items() if k.group not in (0x7FE0, 0x5400)})
    head.file_meta = source.file_meta
    for name in MAY_BE_EMPTY:
        if name not in head:
            setattr(head, name, "")
    if not word(head, "FrameOfReferenceUID"):
        head.FrameOfReferenceUID = uid_of(word(head, "SeriesInstanceUID"), "frame of reference")
    return head


def planes(highdicom: Any, frames: Sequence[Frame]) -> Mapping[str, Any]:
    """Say where the slices lie: each by its own position, all with one orientation and one spacing."""
    heights = np.array([float(f.position @ f.normal) for f in frames])
    step = float(np.median(np.diff(heights))) if len(frames) > 1 else frames[0].thickness_mm or 1.0
    content, patient = highdicom.content, highdicom.enum.CoordinateSystemNames.PATIENT
    return {
        "pixel_measures": content.PixelMeasuresSequence(frames[0].spacing or (1.0, 1.0), step, step),
        "plane_orientation": content.PlaneOrientationSequence(patient, list(frames[0].orientation)),
        "plane_positions": [content.PlanePositionSequence(patient, list(f.position)) for f in frames],
    }


def described(highdicom: Any, number: int, name: str, drawn_by: str) -> Any:
    """Describe a segment: its name, what SNOMED CT calls it, and which program drew it."""
    category, kind = (highdicom.sr.CodedConcept(value, "SCT", meaning) for value, meaning in codes_of(name))
    family = highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    return highdicom.seg.SegmentDescription(
        number,
        name[:64],
        category,
        kind,
        highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        highdicom.AlgorithmIdentificationSequence(name=drawn_by, family=family, version=VERSION),
    )


def dated(made: Dataset, key: str) -> Dataset:
    """Give it the date of its study instead of today's, and UIDs made of the key throughout."""
    day, hour = word(made, "StudyDate") or "20000101", word(made, "StudyTime") or "000000"
    for name in ("ContentDate", "InstanceCreationDate", "SeriesDate"):
        if name in made:
            setattr(made, name, day)
    for name in ("ContentTime", "InstanceCreationTime", "SeriesTime"):
        if name in made:
            setattr(made, name, hour)
    organisation = uid_of(key, "dimensions")
    for item in made.DimensionOrganizationSequence:
        item.DimensionOrganizationUID = organisation
    for item in made.DimensionIndexSequence:
        item.DimensionOrganizationUID = organisation
    for item in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = day + hour
    return made


def save(made: Dataset, path: Path) -> Path:
    """Write a dataset whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    try:
        made.save_as(draft, enforce_file_format=True)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
