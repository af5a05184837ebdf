"""Write labels as DICOM RTSTRUCT: the contours of each region in the slices of its series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from ....version import VERSION
from ...file_errors import as_format_error
from ...source import Source
from ...types import LabelMap
from ..frames import Frame
from .equipment import FAMILY, MANUFACTURER, Algorithm, code_to_item, declare_private_codes, make_uid
from .mask_outlines import trace_outlines
from .patient_study import content_date_time, start_dataset
from .seg import names_of, save_dataset
from .snomed import find_region_code, printable_text
from .source_slices import Slice, load_slices, reference_item, unique_headers

STUDY_SOP_CLASS = "1.2.840.10008.3.1.2.3.1"
MAX_REGIONS = 65_535
COLOURS = ((230, 60, 50), (60, 170, 60), (60, 110, 230), (240, 180, 30), (170, 80, 200), (40, 180, 190), (240, 120, 40))


def write_rtstruct(path: Path, labels: LabelMap, source: Source, *, made_by: Algorithm | None = None) -> Path:
    """Write labels as an RTSTRUCT, and give the path."""
    return save_dataset(make_rtstruct(labels, source, made_by=made_by), path)


def make_rtstruct(labels: LabelMap, source: Source, *, made_by: Algorithm | None = None, key: str = "") -> Dataset:
    """Make the RTSTRUCT of labels; regions have the labels' numbers and names.

    Contours run along pixel edges, so that they enclose exactly the marked area; each is one closed polygon,
    joined to its holes by cuts of zero width. Slices that were missing in the series have none.
    """
    made_by = made_by or Algorithm()
    names = names_of(labels, source.path, MAX_REGIONS)
    slices = load_slices(labels.grid, source)
    with as_format_error(source.path, "DICOM"):
        made = start_dataset(
            slices[0],
            made_by,
            sop_class=RTStructureSetStorage,
            modality="RTSTRUCT",
            series_uid=make_uid(key, "series"),
            instance_uid=make_uid(key, "instance"),
            key=key,
        )
        made.SeriesNumber, made.SeriesDescription = 903, f"Outlines by {made_by.short_name}"[:64]
        made.OperatorsName = made.PositionReferenceIndicator = ""
        made.FrameOfReferenceUID = slices[0].header.FrameOfReferenceUID
        made.StructureSetLabel, made.StructureSetName = "AI", printable_text(f"Outlines by {made_by.short_name}")[:64]
        made.StructureSetDate, made.StructureSetTime = content_date_time(slices[0], key)
        made.ReferencedFrameOfReferenceSequence = [frame_of_reference_item(slices)]
        made.StructureSetROISequence = [roi_item(slices[0], n, name, made_by) for n, name in names.items()]
        found: dict[int, list[Dataset]] = {number: [] for number in names}
        for one in slices:
            marked = one.sample(labels.array)
            for number in set(np.unique(marked).tolist()) & set(names):
                found[number] += make_contour_items(one, marked == number)
        made.ROIContourSequence = [roi_contour_item(number, found[number]) for number in names]
        made.RTROIObservationsSequence = [roi_observation_item(n, name) for n, name in names.items()]
        made.ApprovalStatus = "UNAPPROVED"
        declare_private_codes(made, [find_region_code(name).property_type for name in names.values()])
    return made


def make_contour_items(source_slice: Slice, mask: NDArray[np.bool_]) -> Iterator[Dataset]:
    """Yield the contour items of one region on one slice."""
    for polygon in trace_outlines(mask):
        item = Dataset()
        item.ContourImageSequence = [reference_item(source_slice)]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(polygon)
        item.ContourData = [
            f"{v + 0.0:.4f}" for v in to_patient_coordinates(polygon, source_slice.frame).ravel().tolist()
        ]
        yield item


def to_patient_coordinates(polygon: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """Convert points (n, 2) of rows and columns to LPS coordinates, (n, 3)."""
    along, down = np.reshape(frame.orientation, (2, 3))
    row_mm, column_mm = frame.spacing or (1.0, 1.0)
    moved = polygon[:, 1:] * column_mm * along + polygon[:, :1] * row_mm * down
    return np.asarray(moved + np.array(frame.position))


def frame_of_reference_item(slices: Sequence[Slice]) -> Dataset:
    """Make the item that references the frame of reference, the study, the series and its files."""
    series, study, place = Dataset(), Dataset(), Dataset()
    head = slices[0].header
    series.SeriesInstanceUID = head.SeriesInstanceUID
    series.ContourImageSequence = []
    for one in unique_headers(slices):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
        series.ContourImageSequence.append(item)
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_SOP_CLASS, head.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    place.FrameOfReferenceUID = head.FrameOfReferenceUID
    place.RTReferencedStudySequence = [study]
    return place


def roi_item(source_slice: Slice, number: int, region_name: str, made_by: Algorithm) -> Dataset:
    """Make the structure set item of a region: its name, and the algorithm."""
    item, drew = Dataset(), Dataset()
    item.ROINumber, item.ReferencedFrameOfReferenceUID = number, source_slice.header.FrameOfReferenceUID
    item.ROIName = printable_text(region_name)[:64] or f"label {number}"
    item.ROIGenerationAlgorithm, item.ROIGenerationDescription = "AUTOMATIC", made_by.short_name
    item.ROIDescription = made_by.description
    drew.AlgorithmFamilyCodeSequence = [code_to_item(FAMILY)]
    drew.AlgorithmName, drew.AlgorithmVersion, drew.AlgorithmSource = made_by.short_name, VERSION, MANUFACTURER
    if made_by.parameters:
        drew.AlgorithmParameters = ",".join(f"{k}={v}" for k, v in made_by.parameters.items())
    item.ROIDerivationAlgorithmIdentificationSequence = [drew]
    return item


def roi_contour_item(number: int, contour_items: Sequence[Dataset]) -> Dataset:
    """Make the contour item of a region; it has no contour sequence where there are no contours."""
    item = Dataset()
    item.ReferencedROINumber = number
    item.ROIDisplayColor = list(COLOURS[(number - 1) % len(COLOURS)])
    if contour_items:
        item.ContourSequence = list(contour_items)
    return item


def roi_observation_item(number: int, region_name: str) -> Dataset:
    """Make the observation item of a region with its code."""
    item, meant = Dataset(), find_region_code(region_name)
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType = item.ROIInterpreter = ""
    item.RTROIIdentificationCodeSequence = [code_to_item(meant.property_type)]
    return item
