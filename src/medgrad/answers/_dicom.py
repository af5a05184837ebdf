"""Answers as the objects that DICOM has for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ..data import Image, LabelMap, Source
from ..data.dicom.write.snomed import report_uncoded_names
from ..data.formats import find_format
from ..errors import FormatError, PackageNotInstalled
from ._kind import Destination

LABEL_FORMATS = ("dicomseg", "labelmap", "sr", "capture", "rtstruct")
WITH_IMAGE = ("sr", "capture")
"""Those of the label formats that show the image itself."""
MAP_FORMATS = ("dicomseg-fractional", "map")
WITHOUT_HIGHDICOM = ("capture", "rtstruct")


def is_dicom(path: Path) -> bool:
    """Tell whether an image came as DICOM."""
    return ".dcm" in find_format(path).suffixes


def write_labels(value: LabelMap, to: Destination, file_format: str) -> list[Path]:
    """Write labels as one of ``LABEL_FORMATS``, and give the files."""
    from ..data.dicom.write.measurement_report import write_measurement_report
    from ..data.dicom.write.rtstruct import write_rtstruct
    from ..data.dicom.write.secondary_capture import write_secondary_captures
    from ..data.dicom.write.seg import write_seg

    check_series(to.source, file_format)
    path, source, algorithm = to.path(".dcm"), to.source, to.algorithm
    if file_format == "sr":
        return write_measurement_report(path, value, to.load_image(), source, made_by=algorithm)
    if file_format == "capture":
        return write_secondary_captures(path.with_suffix(""), value, to.load_image(), source, made_by=algorithm)
    if file_format == "rtstruct":
        return [write_rtstruct(path, value, source, made_by=algorithm)]
    return [
        write_seg(
            path, value, source, segment_kind="LABELMAP" if file_format == "labelmap" else "BINARY", made_by=algorithm
        )
    ]


def write_probabilities(value: Image, to: Destination) -> list[Path]:
    """Write probability maps as one of ``MAP_FORMATS``, and give the files."""
    from ..data.dicom.write.parametric_map import write_parametric_maps
    from ..data.dicom.write.seg import make_probability_seg, save_dataset

    check_series(to.source, to.file_format)
    path = to.path(".dcm")
    if to.file_format == "map":
        return write_parametric_maps(path, value, to.source, made_by=to.algorithm)
    return [save_dataset(make_probability_seg(value, to.source, made_by=to.algorithm), path)]


def write_derived(value: Image, to: Destination) -> list[Path]:
    """Write an image as one derived from the series or the file that it is about, and give the files."""
    from ..data.dicom.write.derived import write_derived_file, write_derived_series

    words = to.algorithm.description
    if to.source.path.is_file():
        return [write_derived_file(to.path(".dcm"), value, to.source, derivation=words, made_by=to.algorithm)]
    return write_derived_series(to.path(""), value, to.source, derivation=words, made_by=to.algorithm)


def check_series(source: Source, file_format: str) -> None:
    """Raise if an image did not come as DICOM, so that nothing could be referred to."""
    if not is_dicom(source.path):
        raise FormatError(
            f"{str(source)!r} did not come as DICOM, so there is no series that --format {file_format} could refer to. "
            "Give the series, or leave --format out."
        )


def check_highdicom(file_format: str) -> None:
    """Raise if writing a format (empty: as the image came) takes highdicom, which is not installed."""
    if file_format not in WITHOUT_HIGHDICOM and find_spec("highdicom") is None:
        todo = "" if file_format else " Or give --format nifti."
        raise PackageNotInstalled(f"'highdicom' is not installed. Type: pip install 'medgrad[dicom]'{todo}")


def uncoded_notes(written: Sequence[Path], names: Iterable[str]) -> tuple[str, ...]:
    """Tell which labels were written as DICOM without a code that others know."""
    return report_uncoded_names(names) if any(p.suffix == ".dcm" for p in written) else ()
