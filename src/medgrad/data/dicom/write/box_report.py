"""Write boxes as a DICOM structured report (TID 1500) about their series."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from ....errors import FormatError, need
from ...file_errors import damage_told
from ...grid import Grid
from ...source import Source
from ...types import Boxes
from .ct import FROM_RAS
from .equipment import Algorithm, contributions, declare, equipment, finding_told, observer
from .seg import save
from .snomed import meant_by
from .source import heads_of, slices_of

CERTAINTY = Code("111012", "DCM", "Certainty of finding")
LENGTH = Code("410668003", "SCT", "Length")
SIDES = (
    Code("255209002", "SCT", "Lateral-medial"),
    Code("255554000", "SCT", "Dorsal-ventral"),
    Code("255550009", "SCT", "Cranial-caudal"),
)
MM, PERCENT = Code("mm", "UCUM", "millimeter"), Code("%", "UCUM", "Percent")
PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
FINDING, NONE = Code("121071", "DCM", "Finding"), Code("260413007", "SCT", "None")


def write_report(path: Path, boxes: Boxes, grid: Grid, source: Source, *, maker: Algorithm | None = None) -> Path:
    """Write a measurement report: for each box its outline in its middle slice, its side lengths, and its score.

    The lengths are lateral, anterior and superior. The report refers to the slices of the ``source``, on whose
    ``grid`` the boxes were found.
    """
    highdicom = need("highdicom", extra="dicom")
    if grid.dims != 3:
        raise FormatError(
            f"{str(source)!r} has no place in the patient, so a report cannot name one. Use --format coco."
        )
    maker = maker or Algorithm()
    heads = heads_of(slices_of(grid, source))
    place = str(getattr(heads[0], "FrameOfReferenceUID", ""))
    if not place:
        raise FormatError(
            f"{str(source)!r} names no frame of reference, so a report cannot say where. Use --format json."
        )
    with damage_told(source.path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
        content = highdicom.sr.MeasurementReport(
            observation_context=observer(highdicom, maker),
            procedure_reported=PROCEDURE,
            imaging_measurements=[described(highdicom, boxes, i, place, maker) for i in range(len(boxes.corners))]
            or [nothing_found(highdicom)],
        )
        report = highdicom.sr.Comprehensive3DSR(
            evidence=heads,
            content=content,
            series_instance_uid=generate_uid(prefix=None),
            series_number=901,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=1,
            series_description=f"Findings of {maker.title}"[:64],
            is_complete=True,
            contributing_equipment=contributions(highdicom, maker),
            **equipment(maker),
        )
    declare(report, [meant_by(name).kind for name in boxes.names.values()])
    return save(report, path)


def described(highdicom: Any, boxes: Boxes, number: int, place: str, maker: Algorithm) -> Any:
    """Make the report entry of one box."""
    name = boxes.names.get(int(boxes.labels[number]), str(boxes.labels[number]))
    low, high = boxes.corners[number].reshape(2, 3)
    said = [
        highdicom.sr.Measurement(name=LENGTH, value=round(float(side), 3), unit=MM, qualifier=None, method=axis)
        for side, axis in zip(high - low, SIDES, strict=True)
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
            graphic_data=outline(low, high),
            frame_of_reference_uid=place,
        ),
        measurements=said,
        **finding_told(highdicom, meant_by(name), maker),
    )


def nothing_found(highdicom: Any) -> Any:
    """Make the report entry for no findings."""
    return highdicom.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(uid=generate_uid(prefix=None), identifier="nothing found"),
        qualitative_evaluations=[highdicom.sr.QualitativeEvaluation(name=FINDING, value=NONE)],
    )


def outline(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the closed outline (5, 3) of a box in its middle axial plane, in LPS.

    >>> outline(np.zeros(3), np.array([2.0, 4.0, 6.0]))[2].tolist()
    [-2.0, -4.0, 3.0]
    """
    x, y = [low[0], high[0], high[0], low[0], low[0]], [low[1], low[1], high[1], high[1], low[1]]
    points = np.stack([x, y, np.full(5, (low[2] + high[2]) / 2)], axis=1)
    turned: NDArray[np.float64] = points @ FROM_RAS[:3, :3].T + 0.0
    return turned
