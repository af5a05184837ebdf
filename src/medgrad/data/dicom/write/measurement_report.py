"""Write measurements of labels as a DICOM structured report (TID 1500), with the segmentation that it refers to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ....errors import need
from ...file_errors import damage_told
from ...source import Source
from ...types import Image, LabelMap
from .equipment import Algorithm, coded, contributions, declare, equipment, finding_told, observer, uid
from .seg import at_study, encoded, save, tracking
from .snomed import Code, meant_by, own_code
from .source import Slice, heads_of, slices_of

PROCEDURE = Code("363679005", "Imaging procedure")
VOLUME = Code("118565006", "Volume")
CUBIC_MM, NO_UNITS = Code("mm3", "cubic millimeter", "UCUM"), Code("1", "no units", "UCUM")
INTENSITY = {
    "ct": (Code("112031", "Attenuation Coefficient", "DCM"), Code("[hnsf'U]", "Hounsfield unit", "UCUM")),
    "mr": (Code("110852", "MR signal intensity", "DCM"), NO_UNITS),
    "suv": (Code("126401", "SUVbw", "DCM"), Code("g/ml{SUVbw}", "Standardized Uptake Value body weight", "UCUM")),
}
FIGURES = {
    "mean": Code("373098007", "Mean"),
    "deviation": Code("386136009", "Standard Deviation"),
    "least": Code("255605001", "Minimum"),
    "most": Code("56851009", "Maximum"),
}


def write_measurements(
    path: Path, labels: LabelMap, image: Image, source: Source, *, maker: Algorithm | None = None
) -> list[Path]:
    """Write a segmentation ``NAME.seg.dcm`` and, at the path itself, its measurement report; give both paths."""
    seg = encoded(labels, source, maker=maker)
    report = encoded_measurements(labels, image, source, seg=seg, maker=maker)
    return [save(seg, path.with_name(f"{path.stem}.seg{path.suffix}")), save(report, path)]


def encoded_measurements(
    labels: LabelMap, image: Image, source: Source, *, seg: Dataset, maker: Algorithm | None = None, key: str = ""
) -> Dataset:
    """Make the report on the volume of each segment of ``seg``, and on the image intensities within it.

    ``seg`` is the segmentation of the same labels. An empty segment has the volume 0 and no intensities.
    Intensities are taken on the slices that the segmentation refers to.
    """
    highdicom = need("highdicom", extra="dicom")
    maker = maker or Algorithm()
    slices = slices_of(labels.grid, source)
    names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in seg.SegmentSequence}
    inside = intensities(labels, image, source, names) if image.channels == 1 else {}
    with damage_told(source.path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
        groups = []
        for number, name in names.items():
            volume = int((labels.array == number).sum()) * labels.grid.voxel_mm
            figures = measured(highdicom, volume, inside.get(number), units_of(image))
            groups.append(measured_segment(highdicom, seg, number, name, maker, figures))
        report = highdicom.sr.Comprehensive3DSR(
            evidence=[*heads_of(slices), seg],
            content=highdicom.sr.MeasurementReport(
                observation_context=observer(highdicom, maker),
                procedure_reported=coded(PROCEDURE),
                imaging_measurements=groups,
            ),
            series_instance_uid=uid(key, "report series"),
            series_number=901,
            sop_instance_uid=uid(key, "report"),
            instance_number=1,
            series_description=f"Measurements by {maker.title}"[:64],
            is_complete=True,
            contributing_equipment=contributions(highdicom, maker),
            **equipment(maker),
        )
    declare(report, [meant_by(name).kind for name in names.values()] + [units_of(image)[0]])
    return at_study(report) if key else report


def intensities(
    labels: LabelMap, image: Image, source: Source, names: Mapping[int, str]
) -> dict[int, NDArray[np.float64]]:
    """Give the image values within each label, slice by slice; absent labels are left out."""
    found: dict[int, list[NDArray[Any]]] = {n: [] for n in names}
    pairs: list[tuple[Slice, Slice]] = list(
        zip(slices_of(labels.grid, source), slices_of(image.grid, source), strict=True)
    )
    values = image.planes[0]
    for marks, seen in pairs:
        marked = marks.of(labels.array)
        there = set(np.unique(marked).tolist()) & set(names)
        shown = seen.of(values) if there else None
        for number in there:
            assert shown is not None
            found[number].append(shown[marked == number])
    return {n: np.concatenate(parts).astype(np.float64) for n, parts in found.items() if parts}


def units_of(image: Image) -> tuple[Code, Code]:
    """Give the codes of the quantity and the unit of an image's intensities."""
    kind = "suv" if image.tags.get("units") == "SUV" else str(image.modality)
    return INTENSITY.get(kind, (own_code("Intensity"), NO_UNITS))


def measured(
    highdicom: Any, volume_mm3: float, values: NDArray[np.float64] | None, units: tuple[Code, Code]
) -> list[Any]:
    """Make the measurements of one segment: volume, and intensity statistics."""
    found = [highdicom.sr.Measurement(name=coded(VOLUME), value=short(volume_mm3), unit=coded(CUBIC_MM))]
    if values is None or not np.isfinite(values).all():
        return found
    figures = {"mean": values.mean(), "deviation": values.std(), "least": values.min(), "most": values.max()}
    name, unit = units
    return found + [
        highdicom.sr.Measurement(
            name=coded(name), value=short(value), unit=coded(unit), derivation=coded(FIGURES[figure])
        )
        for figure, value in figures.items()
    ]


def measured_segment(
    highdicom: Any, seg: Dataset, number: int, name: str, maker: Algorithm, measurements: list[Any]
) -> Any:
    """Make the report entry of one segment."""
    followed, identifier = tracking(str(seg.SOPInstanceUID), number, name)
    return highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(uid=followed, identifier=identifier),
        referenced_segment=highdicom.sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=number,
            source_series=highdicom.sr.SourceSeriesForSegmentation(seg.ReferencedSeriesSequence[0].SeriesInstanceUID),
        ),
        measurements=measurements,
        **finding_told(highdicom, meant_by(name), maker),
    )


def short(value: float) -> float:
    """Round a number to the digits that fit a DICOM decimal string."""
    return float(f"{float(value):.8g}")
