"""An answer on its way into a hospital: as one of the objects that DICOM has for it."""

from __future__ import annotations

from pathlib import Path

from ...data import Image, LabelMap, Source
from ...data.dicom.write.equipment import Algorithm
from ...data.dicom.write.snomed import uncoded
from ...data.formats import format_of, read
from ...errors import FormatError

LABELS = ("dicomseg", "labelmap", "sr", "capture", "rtstruct")
SHOWN = ("sr", "capture")
"""Those of the labels for which the image itself is needed."""
CHANCES = ("dicomseg-fractional", "map")


def is_dicom(path: Path) -> bool:
    """Tell whether an image came as DICOM."""
    return ".dcm" in format_of(path).suffixes


def put_labels(
    path: Path, said: LabelMap, source: Source, kind: str, maker: Algorithm, *, image: Image | None = None
) -> list[Path]:
    """Write labels as ``kind``, one of ``LABELS``, at a path that ends in ``.dcm``, and give what was written.

    ``image`` is what was read from the source, where it is still at hand.
    """
    from ...data.dicom.write.measurement_report import write_measurements
    from ...data.dicom.write.rtstruct import write_structures
    from ...data.dicom.write.secondary_capture import write_captures
    from ...data.dicom.write.seg import write_seg

    check(source, kind)
    if kind == "sr":
        return write_measurements(path, said, image or read(source), source, maker=maker)
    if kind == "capture":
        return write_captures(path.with_suffix(""), said, image or read(source), source, maker=maker)
    if kind == "rtstruct":
        return [write_structures(path, said, source, maker=maker)]
    return [write_seg(path, said, source, kind="LABELMAP" if kind == "labelmap" else "BINARY", maker=maker)]


def put_chances(path: Path, said: Image, source: Source, kind: str, maker: Algorithm) -> list[Path]:
    """Write chances as ``kind``, one of ``CHANCES``, at a path that ends in ``.dcm``, and give what was written."""
    from ...data.dicom.write.parametric_map import write_maps
    from ...data.dicom.write.seg import encoded_chances, save

    check(source, kind)
    if kind == "map":
        return write_maps(path, said, source, maker=maker)
    return [save(encoded_chances(said, source, maker=maker), path)]


def check(source: Source, kind: str) -> None:
    """Raise if an image did not come as DICOM, so that nothing could be referred to."""
    if not is_dicom(source.path):
        raise FormatError(
            f"{str(source)!r} did not come as DICOM, so there is no series that --format {kind} could refer to. "
            "Give the series, or leave --format out."
        )


def told(written: list[Path], said: LabelMap | Image) -> tuple[str, ...]:
    """Tell what a person may want to know about an answer that was written as DICOM."""
    names = said.names.values() if isinstance(said, LabelMap) else said.tags["labels"]
    return uncoded(names) if any(p.suffix == ".dcm" for p in written) else ()
