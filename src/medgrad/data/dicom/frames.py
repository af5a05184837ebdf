"""The frames of a DICOM file: the position, orientation, spacing and rescaling of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from .read_dataset import get_first_item, get_items, get_number, get_numbers, get_text

Vector = tuple[float, ...]
# What tells the volumes of one series apart where several pictures lie at each place, in this order.
PHASE_KEYWORDS = (
    "TemporalPositionIdentifier",
    "EchoTime",
    "DiffusionBValue",
    "TriggerTime",
    "InversionTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ImageType",
)
PHASE_GROUPS = {
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
}

GROUP_SEQUENCES = (
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    *(sequence for sequence, _ in PHASE_GROUPS.values()),
)
"""Where what is said of a frame, but its position, stands."""


@dataclass(frozen=True)
class Frame:
    """One frame, in DICOM's LPS coordinates (mm).

    ``spacing`` is that of rows, then of columns, in mm. ``orientation`` is the direction along a row (of
    increasing columns), then that down a column.
    """

    path: Path
    number: int
    shape: tuple[int, int]
    position: Vector = ()
    orientation: Vector = ()
    spacing: Vector = ()
    spacing_from: str = ""
    thickness_mm: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    phase_values: tuple[str, ...] = ()

    @property
    def normal(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return plane_normal(self.orientation)

    def __str__(self) -> str:
        return f"{self.path.name!r}" + (f" (frame {self.number + 1})" if self.number else "")


def describe_frames(path: Path, header: Dataset, n_frames: int) -> list[Frame]:
    """Describe each of the ``n_frames`` frames of a file."""
    shared = get_first_item(header, "SharedFunctionalGroupsSequence")
    each = get_items(header, "PerFrameFunctionalGroupsSequence")
    if each and len(each) != n_frames:
        raise ValueError(f"it describes {len(each)} frames but holds {n_frames}")
    offsets = positions_from_offsets(header, n_frames) if not each else []
    every = [(each[i] if each else None, shared) for i in range(n_frames)]
    return [
        describe_frame(path, i, header, groups, offsets[i] if offsets else frame_position(header, groups, n_frames))
        for i, groups in enumerate(every)
    ]


FunctionalGroups = tuple[Dataset | None, Dataset | None]
EMPTY_DATASET = Dataset()


def describe_frame(path: Path, frame_number: int, header: Dataset, groups: FunctionalGroups, position: Vector) -> Frame:
    """Describe one frame from its functional groups, the shared ones, and the top level of the file."""
    orientation = frame_orientation(header, groups)
    spacing, spacing_from = frame_spacing(header, groups)
    return Frame(
        path,
        frame_number,
        (int(get_number(header, "Rows") or 0), int(get_number(header, "Columns") or 0)),
        position if len(orientation) == 6 else (),
        orientation if position else (),
        spacing,
        spacing_from,
        slice_thickness(header, groups),
        *rescale_slope_intercept(header, groups),
        tuple(phase_value(header, groups, name) for name in PHASE_KEYWORDS),
    )


def get_frame_numbers(header: Dataset, groups: FunctionalGroups, sequence: str, keyword: str, count: int) -> Vector:
    """Get numbers from the frame's own functional group, else from the shared one, else from the top level."""
    for group in groups:
        item = get_first_item(group, sequence)
        if item is not None and (found := get_numbers(item, keyword, count)):
            return found
    return get_numbers(header, keyword, count)


def frame_position(header: Dataset, groups: FunctionalGroups, n_frames: int) -> Vector:
    """Give the position of a frame; empty where one position is given for several frames."""
    own = get_frame_numbers(EMPTY_DATASET, groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    return own or (get_numbers(header, "ImagePositionPatient", 3) if n_frames == 1 else ())


def frame_orientation(header: Dataset, groups: FunctionalGroups) -> Vector:
    """Give the orientation of a frame, orthonormalised; raise if it is far from orthonormal."""
    found = get_frame_numbers(header, groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if not found:
        detector = get_first_item(header, "DetectorInformationSequence")
        found = get_numbers(detector, "ImageOrientationPatient", 6) if detector is not None else ()
    return orthonormalise(found) if found else ()


@lru_cache(256)
def plane_normal(orientation: Vector) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Give the normal of the plane of rows and columns."""
    along, down = np.reshape(orientation, (2, 3))
    found = np.cross(along, down)
    found.setflags(write=False)
    return found


@lru_cache(256)
def orthonormalise(orientation: Vector) -> Vector:
    """Orthonormalise two directions; raise if they are far from orthonormal."""
    along, down = np.reshape(orientation, (2, 3))
    if min(np.linalg.norm(along), np.linalg.norm(down)) < 0.9 or abs(along @ down) > 0.02:
        raise ValueError(f"ImageOrientationPatient {list(orientation)} is no pair of directions at right angles")
    along = along / np.linalg.norm(along)
    down = down - (down @ along) * along
    return (*map(float, along), *map(float, down / np.linalg.norm(down)))


def positions_from_offsets(header: Dataset, n_frames: int) -> list[Vector]:
    """Give the frame positions of a dose grid or nuclear volume, of which the header gives only the first."""
    offsets = get_numbers(header, "GridFrameOffsetVector")
    detector = get_first_item(header, "DetectorInformationSequence")
    start = get_numbers(header, "ImagePositionPatient", 3)
    if not start and detector is not None:
        start = get_numbers(detector, "ImagePositionPatient", 3)
    orientation = frame_orientation(header, (None, None))
    if n_frames < 2 or not start or not orientation:
        return []
    normal = np.cross(*np.reshape(orientation, (2, 3)))
    if len(offsets) == n_frames:
        steps = [o - offsets[0] for o in offsets]
    elif "RECON TOMO" in get_text(header, "ImageType") and (step := get_number(header, "SpacingBetweenSlices")):
        steps = [step * i for i in range(n_frames)]
    else:
        return []
    return [tuple(float(v) for v in np.array(start) + s * normal) for s in steps]


def frame_spacing(header: Dataset, groups: FunctionalGroups) -> tuple[Vector, str]:
    """Give the spacing of rows and columns in mm, and the element that gives it."""
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    for name in names:
        found = get_frame_numbers(header, groups, "PixelMeasuresSequence", name, 2)
        if found:
            if min(found) <= 0:
                raise ValueError(f"{name} is {list(found)}, but distances are above zero")
            return found, name
    return ultrasound_spacing(header)


def ultrasound_spacing(header: Dataset) -> tuple[Vector, str]:
    """Give the pixel spacing of an ultrasound image in mm, if all its spatial regions agree; the header has cm."""
    sizes = set()
    for region in get_items(header, "SequenceOfUltrasoundRegions"):
        if get_number(region, "PhysicalUnitsXDirection") == 3 == get_number(region, "PhysicalUnitsYDirection"):
            x, y = get_number(region, "PhysicalDeltaX"), get_number(region, "PhysicalDeltaY")
            if x and y:
                sizes.add((round(abs(y) * 10, 9), round(abs(x) * 10, 9)))
    return (sizes.pop(), "SequenceOfUltrasoundRegions") if len(sizes) == 1 else ((), "")


def slice_thickness(header: Dataset, groups: FunctionalGroups) -> float | None:
    """Give the thickness of a single slice, in mm."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        found = get_frame_numbers(header, groups, "PixelMeasuresSequence", name, 1)
        if found and found[0]:
            return abs(found[0])
    return None


def rescale_slope_intercept(header: Dataset, groups: FunctionalGroups) -> tuple[float, float]:
    """Give the rescale slope and intercept; a dose grid has a scaling instead."""
    scaling = get_number(header, "DoseGridScaling")
    if scaling:
        return scaling, 0.0
    slope = get_frame_numbers(header, groups, "PixelValueTransformationSequence", "RescaleSlope", 1)
    intercept = get_frame_numbers(header, groups, "PixelValueTransformationSequence", "RescaleIntercept", 1)
    if slope and slope[0] == 0:
        raise ValueError("RescaleSlope is 0, which makes all values the same")
    return (slope[0] if slope else 1.0), (intercept[0] if intercept else 0.0)


def phase_value(header: Dataset, groups: FunctionalGroups, keyword: str) -> str:
    """Give the value that distinguishes frames at the same position, as text."""
    sequence, inner = PHASE_GROUPS.get(keyword, ("", ""))
    for group in groups:
        item = get_first_item(group, sequence) if sequence else None
        if item is not None and (found := get_text(item, inner)):
            return found
    return get_text(header, keyword)
