"""Write measurements of labels as a DICOM structured report (TID 1500), with the segmentation that it refers to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ....errors import require_package
from ...file_errors import as_format_error
from ...source import Source
from ...types import Image, LabelMap
from .equipment import (
    Algorithm,
    contributing_equipment,
    declare_private_codes,
    equipment_attributes,
    finding_attributes,
    make_uid,
    observation_context,
    to_pydicom_code,
)
from .seg import make_seg, save_dataset, tracking_id, use_study_date
from .snomed import Code, find_region_code, private_code
from .source_slices import Slice, load_slices, unique_headers

PROCEDURE = Code("363679005", "Imaging procedure")
VOLUME = Code("118565006", "Volume")
CUBIC_MM, NO_UNITS = Code("mm3", "cubic millimeter", "UCUM"), Code("1", "no units", "UCUM")
INTENSITY_CODES = {
    "ct": (Code("112031", "Attenuation Coefficient", "DCM"), Code("[hnsf'U]", "Hounsfield unit", "UCUM")),
    "mr": (Code("110852", "MR signal intensity", "DCM"), NO_UNITS),
    "suv": (Code("126401", "SUVbw", "DCM"), Code("g/ml{SUVbw}", "Standardized Uptake Value body weight", "UCUM")),
}
STATISTIC_CODES = {
    "mean": Code("373098007", "Mean"),
    "deviation": Code("386136009", "Standard Deviation"),
    "least": Code("255605001", "Minimum"),
    "most": Code("56851009", "Maximum"),
}


def write_measurement_report(
    path: Path, labels: LabelMap, image: Image, source: Source, *, made_by: Algorithm | None = None
) -> list[Path]:
    """Write a segmentation ``NAME.seg.dcm`` and, at the path itself, its measurement report; give both paths."""
    seg = make_seg(labels, source, made_by=made_by)
    report = make_measurement_report(labels, image, source, seg=seg, made_by=made_by)
    return [save_dataset(seg, path.with_name(f"{path.stem}.seg{path.suffix}")), save_dataset(report, path)]


def make_measurement_report(
    labels: LabelMap, image: Image, source: Source, *, seg: Dataset, made_by: Algorithm | None = None, key: str = ""
) -> Dataset:
    """Make the report on the volume of each segment of ``seg``, and on the image intensities within it.

    ``seg`` is the segmentation of the same labels. An empty segment has the volume 0 and no intensities.
    Intensities are taken on the slices that the segmentation refers to.
    """
    highdicom = require_package("highdicom", extra="dicom")
    made_by = made_by or Algorithm()
    slices = load_slices(labels.grid, source)
    names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in seg.SegmentSequence}
    inside = label_intensities(labels, image, source, names) if image.channels == 1 else {}
    with as_format_error(source.path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
        groups = []
        for number, name in names.items():
            volume = int((labels.array == number).sum()) * labels.grid.voxel_volume_mm
            figures = segment_measurements(highdicom, volume, inside.get(number), intensity_codes(image))
            groups.append(describe_segment_measurements(highdicom, seg, number, name, made_by, figures))
        report = highdicom.sr.Comprehensive3DSR(
            evidence=[*unique_headers(slices), seg],
            content=highdicom.sr.MeasurementReport(
                observation_context=observation_context(highdicom, made_by),
                procedure_reported=to_pydicom_code(PROCEDURE),
                imaging_measurements=groups,
            ),
            series_instance_uid=make_uid(key, "report series"),
            series_number=901,
            sop_instance_uid=make_uid(key, "report"),
            instance_number=1,
            series_description=f"Measurements by {made_by.short_name}"[:64],
            is_complete=True,
            contributing_equipment=contributing_equipment(highdicom, made_by),
            **equipment_attributes(made_by),
        )
    declare_private_codes(
        report, [find_region_code(name).property_type for name in names.values()] + [intensity_codes(image)[0]]
    )
    return use_study_date(report) if key else report


def label_intensities(
    labels: LabelMap, image: Image, source: Source, names: Mapping[int, str]
) -> dict[int, NDArray[np.float64]]:
    """Give the image values within each label, slice by slice; absent labels are left out."""
    found: dict[int, list[NDArray[Any]]] = {n: [] for n in names}
    pairs: list[tuple[Slice, Slice]] = list(
        zip(load_slices(labels.grid, source), load_slices(image.grid, source), strict=True)
    )
    values = image.channels_first[0]
    for marks, seen in pairs:
        marked = marks.sample(labels.array)
        there = set(np.unique(marked).tolist()) & set(names)
        shown = seen.sample(values) if there else None
        for number in there:
            assert shown is not None
            found[number].append(shown[marked == number])
    return {n: np.concatenate(parts).astype(np.float64) for n, parts in found.items() if parts}


def intensity_codes(image: Image) -> tuple[Code, Code]:
    """Give the codes of the quantity and the unit of an image's intensities."""
    kind = "suv" if image.tags.get("units") == "SUV" else str(image.modality)
    return INTENSITY_CODES.get(kind, (private_code("Intensity"), NO_UNITS))


def segment_measurements(
    highdicom: Any, volume_mm3: float, values: NDArray[np.float64] | None, units: tuple[Code, Code]
) -> list[Any]:
    """Make the measurements of one segment: volume, and intensity statistics."""
    found = [
        highdicom.sr.Measurement(
            name=to_pydicom_code(VOLUME), value=round_to_decimal_string(volume_mm3), unit=to_pydicom_code(CUBIC_MM)
        )
    ]
    if values is None or not np.isfinite(values).all():
        return found
    figures = {"mean": values.mean(), "deviation": values.std(), "least": values.min(), "most": values.max()}
    name, unit = units
    return found + [
        highdicom.sr.Measurement(
            name=to_pydicom_code(name),
            value=round_to_decimal_string(value),
            unit=to_pydicom_code(unit),
            derivation=to_pydicom_code(STATISTIC_CODES[figure]),
        )
        for figure, value in figures.items()
    ]


def describe_segment_measurements(
    highdicom: Any, seg: Dataset, number: int, name: str, made_by: Algorithm, measurements: list[Any]
) -> Any:
    """Make the report entry of one segment."""
    followed, identifier = tracking_id(str(seg.SOPInstanceUID), number, name)
    return highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(uid=followed, identifier=identifier),
        referenced_segment=highdicom.sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=number,
            source_series=highdicom.sr.SourceSeriesForSegmentation(seg.ReferencedSeriesSequence[0].SeriesInstanceUID),
        ),
        measurements=measurements,
        **finding_attributes(highdicom, find_region_code(name), made_by),
    )


def round_to_decimal_string(value: float) -> float:
    """Round a number to the digits that fit a DICOM decimal string."""
    return float(f"{float(value):.8g}")
