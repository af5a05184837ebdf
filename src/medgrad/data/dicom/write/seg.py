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

from ....errors import FormatError, require_package
from ...file_errors import as_format_error
from ...source import Source
from ...types import Image, LabelMap
from ..read_dataset import get_text
from .ct import uid_from_words
from .equipment import (
    Algorithm,
    code_to_item,
    contributing_equipment,
    declare_private_codes,
    equipment_attributes,
    image_algorithm_identification,
    make_uid,
    to_pydicom_code,
)
from .seg_frames import expand_to_all_frames, list_labels_per_slice
from .snomed import PRIVATE, find_region_code, printable_text
from .source_slices import Slice, load_slices, plane_attributes, unique_headers

SegmentKind = Literal["BINARY", "LABELMAP", "FRACTIONAL"]
MAX_SEGMENTS: Mapping[SegmentKind, int] = {"BINARY": 255, "LABELMAP": 65_535, "FRACTIONAL": 255}
UNCODED_MESSAGE = f"No code of SNOMED CT is known for this name. Its code of the scheme {PRIVATE} is medgrad's own."


def make_seg(
    labels: LabelMap,
    source: Source,
    *,
    segment_kind: SegmentKind = "BINARY",
    made_by: Algorithm | None = None,
    key: str = "",
) -> Dataset:
    """Make the DICOM SEG of labels: one bit per segment (``BINARY``), or the labels themselves (``LABELMAP``).

    With a ``key`` its UIDs are made from it and it has the date of the study, so that equal keys and labels give
    equal bytes. A slice that was missing in the series and filled in by the reader cannot be referenced: its
    labels are left out.
    """
    names = names_of(labels, source.path, MAX_SEGMENTS[segment_kind])
    slices = load_slices(labels.grid, source)
    array = labels.array.astype(np.uint8 if max(names) < 256 else np.uint16, copy=False)
    marked = np.stack([s.sample(array) for s in slices])  # (slices, rows, columns)
    present = list_labels_per_slice(marked)
    if segment_kind != "BINARY" or not any(present):
        return make_segmentation(
            marked, slices, names, source, segment_kind=segment_kind, made_by=made_by or Algorithm(), key=key
        )
    first = np.zeros_like(marked)
    first[[i for i, found in enumerate(present) if found], 0, 0] = 1
    made = make_segmentation(
        first, slices, names, source, segment_kind=segment_kind, made_by=made_by or Algorithm(), key=key, n_described=1
    )
    return expand_to_all_frames(made, marked, present, [list(s.frame.position) for s in slices])


def make_probability_seg(
    probabilities: Image, source: Source, *, made_by: Algorithm | None = None, key: str = ""
) -> Dataset:
    """Make the fractional DICOM SEG of probabilities (x, y, z, labels), in steps of 1/255.

    The tag ``labels`` names them.
    """
    names = dict(enumerate(check_probabilities(probabilities), 1))
    slices = load_slices(probabilities.grid, source)
    array = np.moveaxis(probabilities.channels_first, 0, -1).astype(np.float32)
    shares = np.clip(np.stack([s.sample(array) for s in slices]), 0, 1)  # (slices, rows, columns, labels)
    return make_segmentation(
        shares, slices, names, source, segment_kind="FRACTIONAL", made_by=made_by or Algorithm(), key=key
    )


def check_probabilities(probabilities: Image) -> tuple[str, ...]:
    """Give the label names of probabilities, one for each channel; raise if values are not between 0 and 1."""
    names = tuple(str(n) for n in probabilities.tags.get("labels", ()))
    if len(names) != probabilities.channels:
        raise ValueError(
            f"Chances of {probabilities.channels} labels need as many names, but their tag has {len(names)}."
        )
    if (
        not np.isfinite(probabilities.array).all()
        or probabilities.array.min() < -1e-6
        or probabilities.array.max() > 1 + 1e-6
    ):
        raise ValueError("Chances lie between 0 and 1, but some of these do not.")
    return names


def make_segmentation(
    array: NDArray[Any],
    slices: Sequence[Slice],
    segment_names: Mapping[int, str],
    source: Source,
    *,
    segment_kind: SegmentKind,
    made_by: Algorithm,
    key: str,
    n_described: int | None = None,
) -> Dataset:
    """Make a DICOM SEG of an array of slices with highdicom.

    highdicom visits every slice for each segment, so ``n_described`` limits it to the first segments, if only they
    are marked.
    """
    highdicom = require_package("highdicom", extra="dicom")
    heads = unique_headers(slices)
    instance = make_uid(key, "instance")
    segments = [describe_segment(highdicom, n, name, made_by, instance) for n, name in segment_names.items()]
    with as_format_error(source.path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd words in the source's header, which are not ours to mend
        made = highdicom.seg.Segmentation(
            heads[:1] if slices[0].is_multiframe or len(heads) < len(slices) else heads,
            array,
            highdicom.seg.SegmentationTypeValues[segment_kind],
            segments[:n_described],
            series_instance_uid=make_uid(key, "series"),
            series_number=900,
            sop_instance_uid=instance,
            instance_number=1,
            series_description=f"Segmentation by {made_by.short_name}"[:64],
            content_label="SEGMENTATION",
            content_description=printable_text(", ".join(segment_names.values()))[:64],
            specific_character_set="ISO_IR 192",
            omit_empty_frames=bool(array.any()),
            contributing_equipment=contributing_equipment(highdicom, made_by),
            **equipment_attributes(made_by),
            **plane_attributes(highdicom, [s.frame for s in slices]),
        )
    made.SegmentSequence = segments
    add_laterality(made, segment_names)
    declare_private_codes(made, [find_region_code(name).property_type for name in segment_names.values()])
    return use_study_date_and_key_uids(made, key) if key else made


def names_of(labels: LabelMap, path: Path, max_segments: int = MAX_SEGMENTS["BINARY"]) -> dict[int, str]:
    """Give a name for every label from 1 to the highest: DICOM numbers segments without a gap."""
    found = {int(v): str(n) for v, n in labels.names.items() if v > 0}
    found |= {int(v): f"label {int(v)}" for v in np.unique(labels.array) if v > 0 and int(v) not in found}
    if not found:
        raise ValueError(f"The labels for {str(path)!r} have no names, so there is no segment to write. Name one.")
    if max(found) > max_segments:
        raise ValueError(f"Labels up to {max(found)} are too many for {path.name!r}: at most {max_segments} fit.")
    return {v: found.get(v, f"label {v}") for v in range(1, max(found) + 1)}


def tracking_id(instance_uid: str, number: int, segment_name: str) -> tuple[str, str]:
    """Give the tracking UID and identifier of a segment; its report has the same."""
    return uid_from_words(instance_uid, "tracking", number), printable_text(f"{number} {segment_name}")[:64]


def describe_segment(highdicom: Any, number: int, segment_name: str, made_by: Algorithm, instance_uid: str) -> Any:
    """Make the segment description: name, SNOMED CT code, and algorithm."""
    meant = find_region_code(segment_name)
    followed, identifier = tracking_id(instance_uid, number, segment_name)
    return highdicom.seg.SegmentDescription(
        number,
        printable_text(segment_name)[:64] or f"label {number}",
        to_pydicom_code(meant.category),
        to_pydicom_code(meant.property_type),
        highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        image_algorithm_identification(highdicom, made_by),
        tracking_uid=followed,
        tracking_id=identifier,
        anatomic_regions=[to_pydicom_code(meant.anatomic_site)] if meant.anatomic_site else None,
    )


def add_laterality(dataset: Dataset, label_names: Mapping[int, str]) -> None:
    """Set the laterality of each segment where its name gives it, and mark names without a code."""
    segments = {int(s.SegmentNumber): s for s in dataset.SegmentSequence}
    for number, name in label_names.items():
        meant, segment = find_region_code(name), segments[number]
        if meant.laterality:
            within = (
                segment.AnatomicRegionSequence[0]
                if meant.anatomic_site
                else segment.SegmentedPropertyTypeCodeSequence[0]
            )
            keyword = (
                "AnatomicRegionModifierSequence" if meant.anatomic_site else "SegmentedPropertyTypeModifierCodeSequence"
            )
            setattr(within, keyword, [code_to_item(meant.laterality)])
        if meant.property_type.scheme == PRIVATE:
            segment.SegmentDescription = UNCODED_MESSAGE


def use_study_date_and_key_uids(dataset: Dataset, key: str) -> Dataset:
    """Set the study's date instead of today's, and make all UIDs from the key."""
    organisation = uid_from_words(key, "dimensions")
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(name, ()):
            item.DimensionOrganizationUID = organisation
    return use_study_date(dataset)


def use_study_date(dataset: Dataset) -> Dataset:
    """Set the study's date instead of today's."""
    day, hour = get_text(dataset, "StudyDate") or "20000101", get_text(dataset, "StudyTime") or "000000"
    for name in ("ContentDate", "InstanceCreationDate", "SeriesDate"):
        if name in dataset:
            setattr(dataset, name, day)
    for name in ("ContentTime", "InstanceCreationTime", "SeriesTime"):
        if name in dataset:
            setattr(dataset, name, hour)
    for item in dataset.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = day + hour
    return dataset


def write_seg(
    path: Path,
    labels: LabelMap,
    source: Source,
    *,
    segment_kind: SegmentKind = "BINARY",
    made_by: Algorithm | None = None,
) -> Path:
    """Write labels as a DICOM SEG of a kind, and give its path."""
    if segment_kind == "FRACTIONAL":
        raise FormatError("Labels have no chances. Give those instead.")
    return save_dataset(make_seg(labels, source, segment_kind=segment_kind, made_by=made_by), path)


def save_dataset(dataset: Dataset, path: Path) -> Path:
    """Write a dataset to a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    try:
        dataset.save_as(draft, enforce_file_format=True)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
