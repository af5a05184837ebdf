"""Labels and their chances out, as a DICOM segmentation that names the series that it was drawn on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ....errors import FormatError, need
from ...file_errors import damage_told
from ...source import Source
from ...types import Image, LabelMap
from ..file import word
from .ct import uid_of
from .equipment import Algorithm, algorithm, code_item, coded, contributions, declare, equipment, uid
from .seg_frames import present_on, with_all_frames
from .snomed import PRIVATE, meant_by, plain_text
from .source import Slice, heads_of, planes, slices_of

SegmentKind = Literal["BINARY", "LABELMAP", "FRACTIONAL"]
MOST_SEGMENTS: Mapping[SegmentKind, int] = {"BINARY": 255, "LABELMAP": 65_535, "FRACTIONAL": 255}
UNCODED = f"No code of SNOMED CT is known for this name. Its code of the scheme {PRIVATE} is medgrad's own."


def encoded(
    labels: LabelMap, source: Source, *, kind: SegmentKind = "BINARY", maker: Algorithm | None = None, key: str = ""
) -> Dataset:
    """Give labels as a DICOM segmentation: a bit a segment (``BINARY``), or the labels themselves (``LABELMAP``).

    With a ``key`` its UIDs are made of it and it bears the date of the study, so that the same key and labels give
    the same bytes. A slice that was missing in the series and filled in by the reader cannot be referred to: what is
    marked there is left out.
    """
    names = names_of(labels, source.path, MOST_SEGMENTS[kind])
    slices = slices_of(labels.grid, source)
    array = labels.array.astype(np.uint8 if max(names) < 256 else np.uint16, copy=False)
    marked = np.stack([s.of(array) for s in slices])  # (slices, rows, columns)
    present = present_on(marked)
    if kind != "BINARY" or not any(present):
        return segmentation(marked, slices, names, source, kind=kind, maker=maker or Algorithm(), key=key)
    first = np.zeros_like(marked)
    first[[i for i, found in enumerate(present) if found], 0, 0] = 1
    made = segmentation(first, slices, names, source, kind=kind, maker=maker or Algorithm(), key=key, described=1)
    return with_all_frames(made, marked, present, [list(s.frame.position) for s in slices])


def encoded_chances(chances: Image, source: Source, *, maker: Algorithm | None = None, key: str = "") -> Dataset:
    """Give chances (x, y, z, labels) as a fractional segmentation, in steps of 1/255.

    Their tag ``labels`` names them.
    """
    names = dict(enumerate(chance_names(chances), 1))
    slices = slices_of(chances.grid, source)
    array = np.moveaxis(chances.planes, 0, -1).astype(np.float32)
    shares = np.clip(np.stack([s.of(array) for s in slices]), 0, 1)  # (slices, rows, columns, labels)
    return segmentation(shares, slices, names, source, kind="FRACTIONAL", maker=maker or Algorithm(), key=key)


def chance_names(chances: Image) -> tuple[str, ...]:
    """Give the names of the labels that chances are about, one a channel."""
    names = tuple(str(n) for n in chances.tags.get("labels", ()))
    if len(names) != chances.channels:
        raise ValueError(f"Chances of {chances.channels} labels need as many names, but their tag has {len(names)}.")
    if not np.isfinite(chances.array).all() or chances.array.min() < -1e-6 or chances.array.max() > 1 + 1e-6:
        raise ValueError("Chances lie between 0 and 1, but some of these do not.")
    return names


def segmentation(
    array: NDArray[Any],
    slices: Sequence[Slice],
    names: Mapping[int, str],
    source: Source,
    *,
    kind: SegmentKind,
    maker: Algorithm,
    key: str,
    described: int | None = None,
) -> Dataset:
    """Give a segmentation of what lies on each slice.

    highdicom looks at every slice for each segment, so it may be shown the first few only, if only those are marked.
    """
    highdicom = need("highdicom", extra="dicom")
    heads = heads_of(slices)
    instance = uid(key, "instance")
    segments = [segment(highdicom, n, name, maker, instance) for n, name in names.items()]
    with damage_told(source.path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
        made = highdicom.seg.Segmentation(
            heads[:1] if slices[0].is_one_of_several or len(heads) < len(slices) else heads,
            array,
            highdicom.seg.SegmentationTypeValues[kind],
            segments[:described],
            series_instance_uid=uid(key, "series"),
            series_number=900,
            sop_instance_uid=instance,
            instance_number=1,
            series_description=f"Segmentation by {maker.title}"[:64],
            content_label="SEGMENTATION",
            content_description=plain_text(", ".join(names.values()))[:64],
            specific_character_set="ISO_IR 192",
            omit_empty_frames=bool(array.any()),
            contributing_equipment=contributions(highdicom, maker),
            **equipment(maker),
            **planes(highdicom, [s.frame for s in slices]),
        )
    made.SegmentSequence = segments
    name_sides(made, names)
    declare(made, [meant_by(name).kind for name in names.values()])
    return dated(made, key) if key else made


def names_of(labels: LabelMap, path: Path, most: int = MOST_SEGMENTS["BINARY"]) -> dict[int, str]:
    """Give a name for every label; DICOM numbers segments 1, 2, ... without a gap, and so must the labels."""
    found = {int(v): str(n) for v, n in labels.names.items() if v > 0}
    found |= {int(v): f"label {int(v)}" for v in np.unique(labels.array) if v > 0 and int(v) not in found}
    if not found:
        raise ValueError(f"The labels for {str(path)!r} have no names, so there is no segment to write. Name one.")
    if max(found) > most:
        raise ValueError(f"Labels up to {max(found)} are too many for {path.name!r}: at most {most} fit.")
    return {v: found.get(v, f"label {v}") for v in range(1, max(found) + 1)}


def tracking(instance: str, number: int, name: str) -> tuple[str, str]:
    """Give the UID and the name under which a segment is followed; the report on it has the same."""
    return uid_of(instance, "tracking", number), plain_text(f"{number} {name}")[:64]


def segment(highdicom: Any, number: int, name: str, maker: Algorithm, instance: str) -> Any:
    """Describe a segment: its name, what SNOMED CT calls it, and which program drew it."""
    meant = meant_by(name)
    followed, identifier = tracking(instance, number, name)
    return highdicom.seg.SegmentDescription(
        number,
        plain_text(name)[:64] or f"label {number}",
        coded(meant.category),
        coded(meant.kind),
        highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm(highdicom, maker),
        tracking_uid=followed,
        tracking_id=identifier,
        anatomic_regions=[coded(meant.site)] if meant.site else None,
    )


def name_sides(made: Dataset, names: Mapping[int, str]) -> None:
    """Say on which side of the body each segment lies, where its name tells, and which names have no code."""
    segments = {int(s.SegmentNumber): s for s in made.SegmentSequence}
    for number, name in names.items():
        meant, segment = meant_by(name), segments[number]
        if meant.side:
            within = segment.AnatomicRegionSequence[0] if meant.site else segment.SegmentedPropertyTypeCodeSequence[0]
            keyword = "AnatomicRegionModifierSequence" if meant.site else "SegmentedPropertyTypeModifierCodeSequence"
            setattr(within, keyword, [code_item(meant.side)])
        if meant.kind.scheme == PRIVATE:
            segment.SegmentDescription = UNCODED


def dated(made: Dataset, key: str) -> Dataset:
    """Give it the date of its study instead of today's, and UIDs made of the key throughout."""
    organisation = uid_of(key, "dimensions")
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in made.get(name, ()):
            item.DimensionOrganizationUID = organisation
    return at_study(made)


def at_study(made: Dataset) -> Dataset:
    """Give it the date of its study instead of today's."""
    day, hour = word(made, "StudyDate") or "20000101", word(made, "StudyTime") or "000000"
    for name in ("ContentDate", "InstanceCreationDate", "SeriesDate"):
        if name in made:
            setattr(made, name, day)
    for name in ("ContentTime", "InstanceCreationTime", "SeriesTime"):
        if name in made:
            setattr(made, name, hour)
    for item in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = day + hour
    return made


def write_seg(
    path: Path, labels: LabelMap, source: Source, *, kind: SegmentKind = "BINARY", maker: Algorithm | None = None
) -> Path:
    """Write labels as a segmentation of a kind, and give its path."""
    if kind == "FRACTIONAL":
        raise FormatError("Labels have no chances. Give those instead.")
    return save(encoded(labels, source, kind=kind, maker=maker), path)


def save(made: Dataset, path: Path) -> Path:
    """Write a dataset whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    try:
        made.save_as(draft, enforce_file_format=True)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
