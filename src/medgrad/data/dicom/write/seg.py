"""Write labels or their probabilities as a DICOM SEG that refers to its image series."""

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
    """Make the DICOM SEG of labels: one bit per segment (``BINARY``), or the labels themselves (``LABELMAP``).

    With a ``key`` its UIDs are made from it and it has the date of the study, so that equal keys and labels give
    equal bytes. A slice that was missing in the series and filled in by the reader cannot be referenced: its
    labels are left out.
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
    """Make the fractional DICOM SEG of probabilities (x, y, z, labels), in steps of 1/255.

    The tag ``labels`` names them.
    """
    names = dict(enumerate(chance_names(chances), 1))
    slices = slices_of(chances.grid, source)
    array = np.moveaxis(chances.planes, 0, -1).astype(np.float32)
    shares = np.clip(np.stack([s.of(array) for s in slices]), 0, 1)  # (slices, rows, columns, labels)
    return segmentation(shares, slices, names, source, kind="FRACTIONAL", maker=maker or Algorithm(), key=key)


def chance_names(chances: Image) -> tuple[str, ...]:
    """Give the label names of probabilities, one for each channel; raise if values are not between 0 and 1."""
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
    """Make a DICOM SEG of an array of slices with highdicom.

    highdicom visits every slice for each segment, so ``described`` limits it to the first segments, if only they
    are marked.
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
    """Give a name for every label from 1 to the highest: DICOM numbers segments without a gap."""
    found = {int(v): str(n) for v, n in labels.names.items() if v > 0}
    found |= {int(v): f"label {int(v)}" for v in np.unique(labels.array) if v > 0 and int(v) not in found}
    if not found:
        raise ValueError(f"The labels for {str(path)!r} have no names, so there is no segment to write. Name one.")
    if max(found) > most:
        raise ValueError(f"Labels up to {max(found)} are too many for {path.name!r}: at most {most} fit.")
    return {v: found.get(v, f"label {v}") for v in range(1, max(found) + 1)}


def tracking(instance: str, number: int, name: str) -> tuple[str, str]:
    """Give the tracking UID and identifier of a segment; its report has the same."""
    return uid_of(instance, "tracking", number), plain_text(f"{number} {name}")[:64]


def segment(highdicom: Any, number: int, name: str, maker: Algorithm, instance: str) -> Any:
    """Make the segment description: name, SNOMED CT code, and algorithm."""
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
    """Set the laterality of each segment where its name gives it, and mark names without a code."""
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
    """Set the study's date instead of today's, and make all UIDs from the key."""
    organisation = uid_of(key, "dimensions")
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in made.get(name, ()):
            item.DimensionOrganizationUID = organisation
    return at_study(made)


def at_study(made: Dataset) -> Dataset:
    """Set the study's date instead of today's."""
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
    """Write labels as a DICOM SEG of a kind, and give its path."""
    if kind == "FRACTIONAL":
        raise FormatError("Labels have no chances. Give those instead.")
    return save(encoded(labels, source, kind=kind, maker=maker), path)


def save(made: Dataset, path: Path) -> Path:
    """Write a dataset to a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    try:
        made.save_as(draft, enforce_file_format=True)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
