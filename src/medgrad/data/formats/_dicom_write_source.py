"""The series that an answer is about, slice by slice: what to refer to, and what of the answer lies on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..grid import Grid
from ..source import Source
from ._dicom_file import word
from ._dicom_frames import Frame
from ._dicom_volume import placing
from ._dicom_write import uid_of

NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "Modality",
)  # fmt: skip
OF_THE_PATIENT = (*MAY_BE_EMPTY[:-1], "PatientAge", "PatientSize", "PatientWeight", "StudyDescription")


@dataclass(frozen=True)
class Slice:
    """One picture of a series: its header, where it lies, and where its pixels lie on the grid of the answer."""

    head: Dataset
    frame: Frame
    at: Callable[[NDArray[Any]], NDArray[np.int64]]

    @property
    def is_one_of_several(self) -> bool:
        """Whether its file holds frames, so that a reference must number it."""
        return "NumberOfFrames" in self.head

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Give what an array (*grid.shape, ...) holds at each pixel, (rows, columns, ...); 0 beyond the grid."""
        straight = lying_straight(self.at, self.frame)
        if straight:
            return cut_out(array, self.frame, *straight)
        place = voxels_of(self.at, self.frame)
        inside = ((place >= 0) & (place < array.shape[:3])).all(axis=-1)
        found = np.zeros((*self.frame.shape, *array.shape[3:]), array.dtype)
        found[inside] = array[tuple(place[inside].T)]
        return found


def slices_of(grid: Grid, source: Source) -> list[Slice]:
    """Give each slice of the series, bottom first; one slice for each place.

    A slice that was missing in the series and filled in by the reader is not among them: nothing can refer to it.
    """
    from .dicom import opened_all

    if grid.dims != 3:
        raise FormatError(
            f"{str(source)!r} is a picture with no place in the patient, so nothing can be drawn there in DICOM. "
            "Write the answer in another format, such as --as json."
        )
    heads, _ = opened_all(source.path, source.item.partition(":")[0], [])
    found: dict[tuple[int, ...], Slice] = {}
    for head in heads:
        plain = without_pixels(head.path, head.source)
        for frame in head.frames:
            if not frame.position:
                raise FormatError(
                    f"{str(head.path)!r} does not say where in the patient it lies, so a DICOM SEG cannot either. "
                    "Write the answer in another format, such as --as nifti."
                )
            at = placing(head.path, frame, grid)
            found.setdefault(tuple(at(np.zeros((1, 2), int))[0].tolist()), Slice(plain, frame, at))
    return sorted(found.values(), key=lambda s: float(s.frame.position @ s.frame.normal))


def heads_of(slices: Sequence[Slice]) -> list[Dataset]:
    """Give the header of each file once, in the order of the slices."""
    return list({str(s.head.SOPInstanceUID): s.head for s in slices}.values())


Axis = tuple[int, int]


def lying_straight(at: Any, frame: Frame) -> tuple[NDArray[np.int64], Axis, Axis] | None:
    """Give the voxel of the first pixel, and along which axis of the grid rows and columns follow, up (1) or down (-1).

    None where a frame is one pixel high or wide, which points nowhere. As three corners lie within half a voxel of
    where they should, so does all between them.
    """
    rows, columns = frame.shape
    if rows < 2 or columns < 2:
        return None
    first, down, right = at(np.array([[0, 0], [rows - 1, 0], [0, columns - 1]]))
    ways = []
    for way, count in ((down - first, rows), (right - first, columns)):
        axis = int(np.abs(way).argmax())
        if abs(way[axis]) != count - 1 or np.count_nonzero(way) != 1:
            return None
        ways.append((axis, int(np.sign(way[axis]))))
    return None if ways[0][0] == ways[1][0] else (first, ways[0], ways[1])


def cut_out(array: NDArray[Any], frame: Frame, first: NDArray[np.int64], down: Axis, right: Axis) -> NDArray[Any]:
    """Cut a plane out of an array (*grid.shape, ...), turned as the frame is; 0 beyond the grid."""
    found = np.zeros((*frame.shape, *array.shape[3:]), array.dtype)
    level = 3 - down[0] - right[0]
    if not 0 <= first[level] < array.shape[level]:
        return found
    plane = np.take(array, int(first[level]), axis=level)
    turned = plane if down[0] < right[0] else np.swapaxes(plane, 0, 1)
    sides = []
    for (axis, sign), count in zip((down, right), frame.shape, strict=True):
        place = first[axis] + sign * np.arange(count)
        sides.append((place, (place >= 0) & (place < array.shape[axis])))
    (y, in_y), (x, in_x) = sides
    found[np.ix_(in_y, in_x)] = turned[np.ix_(y[in_y], x[in_x])]
    return found


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


def planes(highdicom: Any, frames: Sequence[Frame]) -> dict[str, Any]:
    """Say where the slices lie: each by its own position, all with one orientation and one spacing."""
    heights = np.array([float(f.position @ f.normal) for f in frames])
    step = float(np.median(np.diff(heights))) if len(frames) > 1 else frames[0].thickness_mm or 1.0
    content, patient = highdicom.content, highdicom.enum.CoordinateSystemNames.PATIENT
    return {
        "pixel_measures": content.PixelMeasuresSequence(frames[0].spacing or (1.0, 1.0), step, step),
        "plane_orientation": content.PlaneOrientationSequence(patient, list(frames[0].orientation)),
        "plane_positions": [content.PlanePositionSequence(patient, list(f.position)) for f in frames],
    }


def reference(one: Slice) -> Dataset:
    """Give the item of a sequence that refers to a slice."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.head.SOPClassUID, one.head.SOPInstanceUID
    if one.is_one_of_several:
        item.ReferencedFrameNumber = one.frame.number + 1
    return item
