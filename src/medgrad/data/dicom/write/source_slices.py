"""The slices of the image series that an answer refers to, with their headers and planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ....errors import FormatError
from ...file_cache import read_once
from ...grid import Grid
from ...source import Source
from ..frame_plane import Plane
from ..frames import Frame
from ..open import OpenedFile, open_series
from ..read_dataset import get_text
from ..volume import pixel_to_voxel_function
from .ct import uid_from_words

REQUIRED_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
EMPTY_IF_ABSENT = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "Modality",
)  # fmt: skip
PATIENT_KEYWORDS = (*EMPTY_IF_ABSENT[:-1], "PatientAge", "PatientSize", "PatientWeight", "StudyDescription")


@dataclass(frozen=True)
class Slice:
    """One slice of a series: its header, and its plane on the grid of the answer."""

    header: Dataset
    plane: Plane

    @property
    def frame(self) -> Frame:
        return self.plane.frame

    @property
    def is_multiframe(self) -> bool:
        """Whether its file is multi-frame, so that a reference must give the frame number."""
        return "NumberOfFrames" in self.header

    def sample(self, array: NDArray[Any]) -> NDArray[Any]:
        """Sample an array (*grid.shape, ...) at each pixel, (rows, columns, ...); 0 beyond the grid."""
        return self.plane.sample(array)


def load_slices(grid: Grid, source: Source) -> list[Slice]:
    """Load the slices of a series, bottom first, one for each position; cached.

    A slice that was missing in the series and filled in by the reader is not among them: nothing can refer to it.
    """
    return read_once(("slices", grid, source), lambda: read_slices(grid, source))


def read_slices(grid: Grid, source: Source) -> list[Slice]:
    """Read the slices of a series from its headers."""
    if grid.dims != 3:
        raise FormatError(
            f"{str(source)!r} is a picture with no place in the patient, so nothing can be drawn there in DICOM. "
            "Write the answer in another format, such as --format json."
        )
    heads = open_source_series(source)
    found: dict[tuple[int, ...], Slice] = {}
    for head in heads:
        plain = make_reference_header(head.path, head.dataset)
        for frame in head.frames:
            if not frame.position:
                raise FormatError(
                    f"{str(head.path)!r} does not say where in the patient it lies, so a DICOM SEG cannot either. "
                    "Write the answer in another format, such as --format nifti."
                )
            at = pixel_to_voxel_function(head.path, frame, grid)
            found.setdefault(tuple(at(np.zeros((1, 2), int))[0].tolist()), Slice(plain, Plane(frame, at)))
    return sorted(found.values(), key=lambda s: float(s.frame.position @ s.frame.normal))


def open_source_series(source: Source) -> list[OpenedFile]:
    """Open the files of a series, with pixels only where the header does not suffice."""
    try:
        return open_series(source.path, source.item.partition(":")[0], [], with_pixels=False)[0]
    except FormatError:
        return open_series(source.path, source.item.partition(":")[0], [])[0]


def unique_headers(slices: Sequence[Slice]) -> list[Dataset]:
    """Give the header of each file once, in the order of the slices."""
    return list({str(s.header.SOPInstanceUID): s.header for s in slices}.values())


def make_reference_header(path: Path, dataset: Dataset) -> Dataset:
    """Make a header for references: without pixels, and with absent optional elements set empty."""
    lacking = [name for name in REQUIRED_KEYWORDS if not get_text(dataset, name)]
    if lacking:
        raise FormatError(
            f"{str(path)!r} has no {lacking[0]}, so a DICOM SEG cannot refer to it. Write the answer in another "
            "format, such as --format nifti."
        )
    head = Dataset({k: v for k, v in dataset.items() if k.group not in (0x7FE0, 0x5400)})
    head.file_meta = dataset.file_meta
    for name in EMPTY_IF_ABSENT:
        if name not in head:
            setattr(head, name, "")
    if not get_text(head, "FrameOfReferenceUID"):
        head.FrameOfReferenceUID = uid_from_words(get_text(head, "SeriesInstanceUID"), "frame of reference")
    return head


def plane_attributes(highdicom: Any, frames: Sequence[Frame]) -> dict[str, Any]:
    """Give highdicom's plane attributes of the slices: position of each, and common orientation and spacing."""
    heights = np.array([float(f.position @ f.normal) for f in frames])
    step = float(np.median(np.diff(heights))) if len(frames) > 1 else frames[0].thickness_mm or 1.0
    content, patient = highdicom.content, highdicom.enum.CoordinateSystemNames.PATIENT
    return {
        "pixel_measures": content.PixelMeasuresSequence(frames[0].spacing or (1.0, 1.0), step, step),
        "plane_orientation": content.PlaneOrientationSequence(patient, list(frames[0].orientation)),
        "plane_positions": [content.PlanePositionSequence(patient, list(f.position)) for f in frames],
    }


def reference_item(source_slice: Slice) -> Dataset:
    """Make the sequence item that references a slice."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        source_slice.header.SOPClassUID,
        source_slice.header.SOPInstanceUID,
    )
    if source_slice.is_multiframe:
        item.ReferencedFrameNumber = source_slice.frame.number + 1
    return item
