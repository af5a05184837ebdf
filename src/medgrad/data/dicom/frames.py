"""The frames of a DICOM file: the position, orientation, spacing and rescaling of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from .file import every_item, first_item, number, numbers, word

Vector = tuple[float, ...]
# What tells the volumes of one series apart where several pictures lie at each place, in this order.
PHASES = (
    "TemporalPositionIdentifier",
    "EchoTime",
    "DiffusionBValue",
    "TriggerTime",
    "InversionTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ImageType",
)
IN_GROUPS = {
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
}

READ = (
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    *(sequence for sequence, _ in IN_GROUPS.values()),
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
    phases: tuple[str, ...] = ()

    @property
    def normal(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return normal_to(self.orientation)

    def __str__(self) -> str:
        return f"{self.path.name!r}" + (f" (frame {self.number + 1})" if self.number else "")


def frames_of(path: Path, head: Dataset, n: int) -> list[Frame]:
    """Describe each of the ``n`` frames of a file."""
    shared = first_item(head, "SharedFunctionalGroupsSequence")
    each = every_item(head, "PerFrameFunctionalGroupsSequence")
    if each and len(each) != n:
        raise ValueError(f"it describes {len(each)} frames but holds {n}")
    offsets = offset_positions(head, n) if not each else []
    every = [(each[i] if each else None, shared) for i in range(n)]
    return [
        frame_of(path, i, head, groups, offsets[i] if offsets else place_of(head, groups, n))
        for i, groups in enumerate(every)
    ]


Groups = tuple[Dataset | None, Dataset | None]
NOTHING = Dataset()


def frame_of(path: Path, i: int, head: Dataset, groups: Groups, position: Vector) -> Frame:
    """Describe one frame from its functional groups, the shared ones, and the top level of the file."""
    orientation = turn_of(head, groups)
    spacing, spacing_from = spacing_of(head, groups)
    return Frame(
        path,
        i,
        (int(number(head, "Rows") or 0), int(number(head, "Columns") or 0)),
        position if len(orientation) == 6 else (),
        orientation if position else (),
        spacing,
        spacing_from,
        thickness_of(head, groups),
        *rescale_of(head, groups),
        tuple(phase_of(head, groups, name) for name in PHASES),
    )


def asked(head: Dataset, groups: Groups, sequence: str, name: str, n: int) -> Vector:
    """Get numbers from the frame's own functional group, else from the shared one, else from the top level."""
    for group in groups:
        item = first_item(group, sequence)
        if item is not None and (found := numbers(item, name, n)):
            return found
    return numbers(head, name, n)


def place_of(head: Dataset, groups: Groups, n: int) -> Vector:
    """Give the position of a frame; empty where one position is given for several frames."""
    own = asked(NOTHING, groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    return own or (numbers(head, "ImagePositionPatient", 3) if n == 1 else ())


def turn_of(head: Dataset, groups: Groups) -> Vector:
    """Give the orientation of a frame, orthonormalised; raise if it is far from orthonormal."""
    found = asked(head, groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if not found:
        detector = first_item(head, "DetectorInformationSequence")
        found = numbers(detector, "ImageOrientationPatient", 6) if detector is not None else ()
    return upright(found) if found else ()


@lru_cache(256)
def normal_to(orientation: Vector) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Give the normal of the plane of rows and columns."""
    along, down = np.reshape(orientation, (2, 3))
    found = np.cross(along, down)
    found.setflags(write=False)
    return found


@lru_cache(256)
def upright(found: Vector) -> Vector:
    """Orthonormalise two directions; raise if they are far from orthonormal."""
    along, down = np.reshape(found, (2, 3))
    if min(np.linalg.norm(along), np.linalg.norm(down)) < 0.9 or abs(along @ down) > 0.02:
        raise ValueError(f"ImageOrientationPatient {list(found)} is no pair of directions at right angles")
    along = along / np.linalg.norm(along)
    down = down - (down @ along) * along
    return (*map(float, along), *map(float, down / np.linalg.norm(down)))


def offset_positions(head: Dataset, n: int) -> list[Vector]:
    """Give the frame positions of a dose grid or nuclear volume, of which the header gives only the first."""
    offsets = numbers(head, "GridFrameOffsetVector")
    detector = first_item(head, "DetectorInformationSequence")
    start = numbers(head, "ImagePositionPatient", 3)
    if not start and detector is not None:
        start = numbers(detector, "ImagePositionPatient", 3)
    orientation = turn_of(head, (None, None))
    if n < 2 or not start or not orientation:
        return []
    normal = np.cross(*np.reshape(orientation, (2, 3)))
    if len(offsets) == n:
        steps = [o - offsets[0] for o in offsets]
    elif "RECON TOMO" in word(head, "ImageType") and (step := number(head, "SpacingBetweenSlices")):
        steps = [step * i for i in range(n)]
    else:
        return []
    return [tuple(float(v) for v in np.array(start) + s * normal) for s in steps]


def spacing_of(head: Dataset, groups: Groups) -> tuple[Vector, str]:
    """Give the spacing of rows and columns in mm, and the element that gives it."""
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    for name in names:
        found = asked(head, groups, "PixelMeasuresSequence", name, 2)
        if found:
            if min(found) <= 0:
                raise ValueError(f"{name} is {list(found)}, but distances are above zero")
            return found, name
    return ultrasound_spacing(head)


def ultrasound_spacing(head: Dataset) -> tuple[Vector, str]:
    """Give the pixel spacing of an ultrasound image in mm, if all its spatial regions agree; the header has cm."""
    sizes = set()
    for region in every_item(head, "SequenceOfUltrasoundRegions"):
        if number(region, "PhysicalUnitsXDirection") == 3 == number(region, "PhysicalUnitsYDirection"):
            x, y = number(region, "PhysicalDeltaX"), number(region, "PhysicalDeltaY")
            if x and y:
                sizes.add((round(abs(y) * 10, 9), round(abs(x) * 10, 9)))
    return (sizes.pop(), "SequenceOfUltrasoundRegions") if len(sizes) == 1 else ((), "")


def thickness_of(head: Dataset, groups: Groups) -> float | None:
    """Give the thickness of a single slice, in mm."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        found = asked(head, groups, "PixelMeasuresSequence", name, 1)
        if found and found[0]:
            return abs(found[0])
    return None


def rescale_of(head: Dataset, groups: Groups) -> tuple[float, float]:
    """Give the rescale slope and intercept; a dose grid has a scaling instead."""
    scaling = number(head, "DoseGridScaling")
    if scaling:
        return scaling, 0.0
    slope = asked(head, groups, "PixelValueTransformationSequence", "RescaleSlope", 1)
    intercept = asked(head, groups, "PixelValueTransformationSequence", "RescaleIntercept", 1)
    if slope and slope[0] == 0:
        raise ValueError("RescaleSlope is 0, which makes all values the same")
    return (slope[0] if slope else 1.0), (intercept[0] if intercept else 0.0)


def phase_of(head: Dataset, groups: Groups, name: str) -> str:
    """Give the value that distinguishes frames at the same position, as text."""
    sequence, inner = IN_GROUPS.get(name, ("", ""))
    for group in groups:
        item = first_item(group, sequence) if sequence else None
        if item is not None and (found := word(item, inner)):
            return found
    return word(head, name)
