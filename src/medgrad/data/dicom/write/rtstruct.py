"""Write labels as DICOM RTSTRUCT: the contours of each region in the slices of its series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from ....version import VERSION
from ...file_errors import damage_told
from ...source import Source
from ...types import LabelMap
from ..frames import Frame
from .equipment import FAMILY, MANUFACTURER, Algorithm, code_item, declare, uid
from .outlines import outlines
from .patient_study import begun, when
from .seg import names_of, save
from .snomed import meant_by, plain_text
from .source import Slice, heads_of, reference, slices_of

STUDY = "1.2.840.10008.3.1.2.3.1"
MOST_REGIONS = 65_535
COLOURS = ((230, 60, 50), (60, 170, 60), (60, 110, 230), (240, 180, 30), (170, 80, 200), (40, 180, 190), (240, 120, 40))


def write_structures(path: Path, labels: LabelMap, source: Source, *, maker: Algorithm | None = None) -> Path:
    """Write labels as an RTSTRUCT, and give the path."""
    return save(encoded_structures(labels, source, maker=maker), path)


def encoded_structures(labels: LabelMap, source: Source, *, maker: Algorithm | None = None, key: str = "") -> Dataset:
    """Make the RTSTRUCT of labels; regions have the labels' numbers and names.

    Contours run along pixel edges, so that they enclose exactly the marked area; each is one closed polygon,
    joined to its holes by cuts of zero width. Slices that were missing in the series have none.
    """
    maker = maker or Algorithm()
    names = names_of(labels, source.path, MOST_REGIONS)
    slices = slices_of(labels.grid, source)
    with damage_told(source.path, "DICOM"):
        made = begun(
            slices[0],
            maker,
            kind=RTStructureSetStorage,
            modality="RTSTRUCT",
            series=uid(key, "series"),
            instance=uid(key, "instance"),
            key=key,
        )
        made.SeriesNumber, made.SeriesDescription = 903, f"Outlines by {maker.title}"[:64]
        made.OperatorsName = made.PositionReferenceIndicator = ""
        made.FrameOfReferenceUID = slices[0].head.FrameOfReferenceUID
        made.StructureSetLabel, made.StructureSetName = "AI", plain_text(f"Outlines by {maker.title}")[:64]
        made.StructureSetDate, made.StructureSetTime = when(slices[0], key)
        made.ReferencedFrameOfReferenceSequence = [frame_of_reference(slices)]
        made.StructureSetROISequence = [region(slices[0], n, name, maker) for n, name in names.items()]
        found: dict[int, list[Dataset]] = {number: [] for number in names}
        for one in slices:
            marked = one.of(labels.array)
            for number in set(np.unique(marked).tolist()) & set(names):
                found[number] += contours(one, marked == number)
        made.ROIContourSequence = [drawn(number, found[number]) for number in names]
        made.RTROIObservationsSequence = [observed(n, name) for n, name in names.items()]
        made.ApprovalStatus = "UNAPPROVED"
        declare(made, [meant_by(name).kind for name in names.values()])
    return made


def contours(one: Slice, marked: NDArray[np.bool_]) -> Iterator[Dataset]:
    """Yield the contour items of one region on one slice."""
    for polygon in outlines(marked):
        item = Dataset()
        item.ContourImageSequence = [reference(one)]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(polygon)
        item.ContourData = [f"{v + 0.0:.4f}" for v in places(polygon, one.frame).ravel().tolist()]
        yield item


def places(polygon: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """Convert points (n, 2) of rows and columns to LPS coordinates, (n, 3)."""
    along, down = np.reshape(frame.orientation, (2, 3))
    row_mm, column_mm = frame.spacing or (1.0, 1.0)
    moved = polygon[:, 1:] * column_mm * along + polygon[:, :1] * row_mm * down
    return np.asarray(moved + np.array(frame.position))


def frame_of_reference(slices: Sequence[Slice]) -> Dataset:
    """Make the item that references the frame of reference, the study, the series and its files."""
    series, study, place = Dataset(), Dataset(), Dataset()
    head = slices[0].head
    series.SeriesInstanceUID = head.SeriesInstanceUID
    series.ContourImageSequence = []
    for one in heads_of(slices):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
        series.ContourImageSequence.append(item)
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY, head.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    place.FrameOfReferenceUID = head.FrameOfReferenceUID
    place.RTReferencedStudySequence = [study]
    return place


def region(one: Slice, number: int, name: str, maker: Algorithm) -> Dataset:
    """Make the structure set item of a region: its name, and the algorithm."""
    item, drew = Dataset(), Dataset()
    item.ROINumber, item.ReferencedFrameOfReferenceUID = number, one.head.FrameOfReferenceUID
    item.ROIName = plain_text(name)[:64] or f"label {number}"
    item.ROIGenerationAlgorithm, item.ROIGenerationDescription = "AUTOMATIC", maker.title
    item.ROIDescription = maker.story
    drew.AlgorithmFamilyCodeSequence = [code_item(FAMILY)]
    drew.AlgorithmName, drew.AlgorithmVersion, drew.AlgorithmSource = maker.title, VERSION, MANUFACTURER
    if maker.parameters:
        drew.AlgorithmParameters = ",".join(f"{k}={v}" for k, v in maker.parameters.items())
    item.ROIDerivationAlgorithmIdentificationSequence = [drew]
    return item


def drawn(number: int, outlined: Sequence[Dataset]) -> Dataset:
    """Make the contour item of a region; it has no contour sequence where there are no contours."""
    item = Dataset()
    item.ReferencedROINumber = number
    item.ROIDisplayColor = list(COLOURS[(number - 1) % len(COLOURS)])
    if outlined:
        item.ContourSequence = list(outlined)
    return item


def observed(number: int, name: str) -> Dataset:
    """Make the observation item of a region with its code."""
    item, meant = Dataset(), meant_by(name)
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType = item.ROIInterpreter = ""
    item.RTROIIdentificationCodeSequence = [code_item(meant.kind)]
    return item
