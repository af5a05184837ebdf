"""Write boxes as a DICOM structured report (TID 1500) about their series."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from ....errors import FormatError, require_package
from ...file_errors import as_format_error
from ...grid import Grid
from ...source import Source
from ...types import Boxes
from .ct import FROM_RAS
from .equipment import (
    Algorithm,
    contributing_equipment,
    declare_private_codes,
    equipment_attributes,
    finding_attributes,
    observation_context,
)
from .seg import save_dataset
from .snomed import find_region_code
from .source_slices import load_slices, unique_headers

CERTAINTY = Code("111012", "DCM", "Certainty of finding")
LENGTH = Code("410668003", "SCT", "Length")
DIRECTIONS = (
    Code("255209002", "SCT", "Lateral-medial"),
    Code("255554000", "SCT", "Dorsal-ventral"),
    Code("255550009", "SCT", "Cranial-caudal"),
)
MM, PERCENT = Code("mm", "UCUM", "millimeter"), Code("%", "UCUM", "Percent")
PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
FINDING, NONE = Code("121071", "DCM", "Finding"), Code("260413007", "SCT", "None")


def write_box_report(path: Path, boxes: Boxes, grid: Grid, source: Source, *, made_by: Algorithm | None = None) -> Path:
    """Write a measurement report: for each box its outline in its middle slice, its side lengths, and its score.

    The lengths are lateral, anterior and superior. The report refers to the slices of the ``source``, on whose
    ``grid`` the boxes were found.
    """
    highdicom = require_package("highdicom", extra="dicom")
    if grid.dims != 3:
        raise FormatError(
            f"{str(source)!r} has no place in the patient, so a report cannot name one. Use --format coco."
        )
    made_by = made_by or Algorithm()
    heads = unique_headers(load_slices(grid, source))
    place = str(getattr(heads[0], "FrameOfReferenceUID", ""))
    if not place:
        raise FormatError(
            f"{str(source)!r} names no frame of reference, so a report cannot say where. Use --format json."
        )
    with as_format_error(source.path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
        content = highdicom.sr.MeasurementReport(
            observation_context=observation_context(highdicom, made_by),
            procedure_reported=PROCEDURE,
            imaging_measurements=[describe_box(highdicom, boxes, i, place, made_by) for i in range(len(boxes.corners))]
            or [empty_finding(highdicom)],
        )
        report = highdicom.sr.Comprehensive3DSR(
            evidence=heads,
            content=content,
            series_instance_uid=generate_uid(prefix=None),
            series_number=901,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=1,
            series_description=f"Findings of {made_by.short_name}"[:64],
            is_complete=True,
            contributing_equipment=contributing_equipment(highdicom, made_by),
            **equipment_attributes(made_by),
        )
    declare_private_codes(report, [find_region_code(name).property_type for name in boxes.names.values()])
    return save_dataset(report, path)


def describe_box(highdicom: Any, boxes: Boxes, number: int, frame_of_reference: str, made_by: Algorithm) -> Any:
    """Make the report entry of one box."""
    name = boxes.names.get(int(boxes.labels[number]), str(boxes.labels[number]))
    low, high = boxes.corners[number].reshape(2, 3)
    said = [
        highdicom.sr.Measurement(name=LENGTH, value=round(float(side), 3), unit=MM, qualifier=None, method=axis)
        for side, axis in zip(high - low, DIRECTIONS, strict=True)
    ]
    if boxes.scores is not None:
        sure = round(100 * float(boxes.scores[number]), 3)
        said.append(highdicom.sr.Measurement(name=CERTAINTY, value=sure, unit=PERCENT))
    return highdicom.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(
            uid=generate_uid(prefix=None), identifier=f"{name} {number + 1}"
        ),
        referenced_region=highdicom.sr.ImageRegion3D(
            graphic_type=highdicom.sr.GraphicTypeValues3D.POLYGON,
            graphic_data=box_outline(low, high),
            frame_of_reference_uid=frame_of_reference,
        ),
        measurements=said,
        **finding_attributes(highdicom, find_region_code(name), made_by),
    )


def empty_finding(highdicom: Any) -> Any:
    """Make the report entry for no findings."""
    return highdicom.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(uid=generate_uid(prefix=None), identifier="nothing found"),
        qualitative_evaluations=[highdicom.sr.QualitativeEvaluation(name=FINDING, value=NONE)],
    )


def box_outline(lower_corner: NDArray[np.float64], upper_corner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the closed outline (5, 3) of a box in its middle axial plane, in LPS.

    >>> box_outline(np.zeros(3), np.array([2.0, 4.0, 6.0]))[2].tolist()
    [-2.0, -4.0, 3.0]
    """
    x, y = (
        [lower_corner[0], upper_corner[0], upper_corner[0], lower_corner[0], lower_corner[0]],
        [lower_corner[1], lower_corner[1], upper_corner[1], upper_corner[1], lower_corner[1]],
    )
    points = np.stack([x, y, np.full(5, (lower_corner[2] + upper_corner[2]) / 2)], axis=1)
    turned: NDArray[np.float64] = points @ FROM_RAS[:3, :3].T + 0.0
    return turned
