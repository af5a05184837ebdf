"""Write a processed image as a derived DICOM series: one new file for each file of its source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ....errors import FormatError
from ...file_errors import as_format_error
from ...source import Source
from ...types import Image, SyntheticImage
from ..frame_plane import Plane
from ..frames import Frame
from ..open import OpenedFile, open_series
from ..pixels import decode_all_pixels
from ..read_dataset import get_items, get_number, get_text, keyword_tag
from ..rescale import CALIBRATED_MODALITIES, suv_factor
from ..volume import pixel_to_voxel_function, stack_frames
from .ct import uid_from_words
from .derived_header import Derivation, add_frame_rescale, derive_header, set_pixels, set_rescale
from .equipment import Algorithm
from .seg import save_dataset
from .snomed import Code
from .source_slices import REQUIRED_KEYWORDS
from .stored_scale import StoredScale, fit_scales

FIXED_SLOPE = ("DX", "MG", "IO", "PX", "CR", "US")
"""Modalities whose images have no slope other than 1."""
Planes = list[NDArray[Any]]


def write_derived_series(
    folder: Path,
    image: Image,
    source: Source,
    *,
    derivation: str,
    codes: Sequence[Code] = (),
    made_by: Algorithm | None = None,
) -> list[Path]:
    """Write a processed image into a folder as a derived series; give the paths, in the order of the source's files.

    ``image`` lies on the grid of ``source``, in its unit, in any order of axes. ``derivation`` says in words what was
    done, and ``codes`` in codes of DICOM's CID 7203. Values keep the stored scale of their slice where they fit it.
    The same image and words give the same files.
    """
    made = make_derived_series(image, source, derivation=derivation, codes=codes, made_by=made_by)
    return save_all(made, [folder / f"{number:04}.dcm" for number in range(1, len(made) + 1)], source)


def write_derived_file(
    path: Path,
    image: Image,
    source: Source,
    *,
    derivation: str,
    codes: Sequence[Code] = (),
    made_by: Algorithm | None = None,
) -> Path:
    """Write a processed image of one file as a derived file, as ``write_derived_series`` does."""
    made = make_derived_series(image, source, derivation=derivation, codes=codes, made_by=made_by)
    return save_all(made, [path], source)[0]


def save_all(datasets: Sequence[Dataset], paths: Sequence[Path], source: Source) -> list[Path]:
    """Save datasets; where one cannot be saved, none is left."""
    written: list[Path] = []
    try:
        with as_format_error(source.path, "DICOM"):
            for dataset, path in zip(datasets, paths, strict=True):
                written.append(save_dataset(dataset, path))
    except FormatError:
        for path in written:
            path.unlink()
        raise
    return written


def make_derived_series(
    image: Image, source: Source, *, derivation: str, codes: Sequence[Code] = (), made_by: Algorithm | None = None
) -> list[Dataset]:
    """Make the datasets of a derived series; raise a FormatError where the image cannot be written so."""
    uid, _, frame = source.item.partition(":")
    if frame:
        raise FormatError(f"{str(source)!r} is one frame of several, which has no derived file of its own.")
    with as_format_error(source.path, "DICOM"):
        files, name = open_series(source.path, uid, [])
        for file in files:
            check_can_be_derived(file)
        array = np.ascontiguousarray(image.array)
        if not np.isfinite(array).all():
            raise FormatError(f"{str(source)!r} was given values that are not finite, which DICOM cannot store.")
        check_unit_of_synthetic(image, files[0])
        planes = planes_of_files(image, files, name)
        planes, headers = to_file_units(image, files, planes)
        content = hashlib.sha256(array.tobytes()).hexdigest()
        series_uid = uid_from_words(
            get_text(files[0].dataset, "SeriesInstanceUID"), "derived", derivation, array.dtype, array.shape, content
        )
        is_synthetic = isinstance(image, SyntheticImage)
        about = Derivation(derivation, tuple(codes), series_uid, made_by or Algorithm(), is_synthetic)
        return store_files(
            files, planes, [derive_header(f.path, h, about) for f, h in zip(files, headers, strict=True)]
        )


def check_can_be_derived(file: OpenedFile) -> None:
    """Raise unless a file is a grey image of integers whose values are those stored, rescaled by a line."""
    shape, dataset = file.pixel_format, file.dataset
    reasons = {
        "is in colour": shape.samples != 1 or not shape.photometric.startswith("MONOCHROME"),
        "has no integers of 8, 16 or 32 bits": shape.bits not in (8, 16, 32) or keyword_tag("PixelData") not in dataset,
        "has a modality lookup table": bool(get_items(dataset, "ModalityLUTSequence")),
        "is a dose or a segmentation": get_text(dataset, "Modality") in ("RTDOSE", "SEG"),
        "is a part of a concatenation": "ConcatenationUID" in dataset,
    }
    lacking = {f"has no {name}": not get_text(dataset, name) for name in REQUIRED_KEYWORDS}
    for reason, is_so in {**reasons, **lacking}.items():
        if is_so:
            raise FormatError(f"{str(file.path)!r} {reason}, so no derived image of it is written.")


def check_unit_of_synthetic(image: Image, file: OpenedFile) -> None:
    """Raise where an image of a unit of its own would be written as one of a modality whose values have a unit."""
    modality = get_text(file.dataset, "Modality")
    if isinstance(image, SyntheticImage) and modality in CALIBRATED_MODALITIES:
        raise FormatError(
            f"{str(file.path)!r} is {modality}, whose values have a unit, but a synthetic image has one of its own. "
            "Write it as NIfTI: leave --format out."
        )


def planes_of_files(image: Image, files: Sequence[OpenedFile], name: str) -> list[Planes]:
    """Give the (rows, columns) planes of the frames of each file, as the image has them."""
    frames = [f for file in files for f in file.frames]
    if image.grid.dims == 3 and all(f.position for f in frames):
        channel = channels_of_frames(image, frames, name)
        return [[sample_plane(image, f, channel[f.path, f.number]) for f in file.frames] for file in files]
    if len(files) > 1 or image.channels_first.shape != (len(frames), *frames[0].shape):
        raise FormatError(f"The image of {image.array.shape} does not lie on the frames of {name}.")
    return [list(image.channels_first)]


def channels_of_frames(image: Image, frames: Sequence[Frame], name: str) -> dict[tuple[Path, int], int]:
    """Give the channel that each frame of a series is read as: the number of its volume."""
    if image.channels == 1:
        return {(f.path, f.number): 0 for f in frames}

    def raise_same_place(one: Frame, other: Frame) -> bool:
        raise FormatError(f"{name} has {one} and {other} at the same place.")

    volumes = stack_frames(frames, name, raise_same_place).volumes
    if len(volumes) != image.channels:
        raise FormatError(f"{name} has {len(volumes)} volumes, but the image {image.channels} channels.")
    return {(f.path, f.number): v for v, slices in enumerate(volumes) for f in slices if f}


def sample_plane(image: Image, frame: Frame, channel: int) -> NDArray[Any]:
    """Give the values of an image at the pixels of a frame, or raise if some of them lie beyond its grid."""
    plane = Plane(frame, pixel_to_voxel_function(frame.path, frame, image.grid))
    rows, columns = frame.shape
    corners = plane.to_voxels(np.array([[0, 0], [rows - 1, 0], [0, columns - 1], [rows - 1, columns - 1]]))
    if not ((corners >= 0) & (corners < image.grid.shape)).all():
        raise FormatError(f"The image of {image.grid.shape} voxels does not cover {str(frame.path)!r}.")
    return plane.sample(image.channels_first[channel])


def to_file_units(
    image: Image, files: Sequence[OpenedFile], planes: list[Planes]
) -> tuple[list[Planes], list[Dataset]]:
    """Convert SUV to the unit of the files, and give the headers that name it.

    Counts whose factor to SUV stands in a private element are written as SUV (GML), since that element is dropped.
    """
    headers = [file.dataset for file in files]
    if get_text(headers[0], "Modality") != "PT" or image.tags.get("units") != "SUV":
        return planes, headers
    times = sorted(t for h in headers if (t := get_text(h, "AcquisitionTime")))
    factor, why = suv_factor(headers[0], times[0] if times else "")
    if factor is None:
        raise FormatError(f"The image is in SUV, which cannot be brought back to the unit of its files. {why}")
    if get_text(headers[0], "Units").upper() == "CNTS":
        return planes, [as_suv_header(h) for h in headers]
    return [[p.astype(np.float64) / factor for p in some] for some in planes], headers


def as_suv_header(source: Dataset) -> Dataset:
    """Give a copy of a PET header in standardised uptake by body weight."""
    made = copy(source)
    made.Units, made.SUVType = "GML", "BW"
    for name in ("WindowCenter", "WindowWidth", "VOILUTSequence"):
        made.pop(name, None)
    return made


def store_files(files: Sequence[OpenedFile], planes: Sequence[Planes], headers: list[Dataset]) -> list[Dataset]:
    """Store the planes of each file in its header, in a scale that holds them."""
    owners = [(i, f) for i, file in enumerate(files) for f in file.frames]
    before = [scale_of(files[i], f) for i, f in owners]
    flat = [p for some in planes for p in some]
    ranges = [(float(p.min()), float(p.max())) for p in flat]
    groups = [(i, f.number if has_frame_groups(files[i]) else 0) for i, f in owners]
    modality = get_text(files[0].dataset, "Modality")
    after = fit_scales(
        before,
        join_ranges(groups, ranges),
        is_pet=modality == "PT",
        has_fixed_slope=modality in FIXED_SLOPE and all((s.slope, s.intercept) == (1, 0) for s in before),
    )
    kept_padding = padding_masks(files)
    at = 0
    for i, (file, header) in enumerate(zip(files, headers, strict=True)):
        here = slice(at, at + len(file.frames))
        at = here.stop
        stored = np.stack([s.store(p) for s, p in zip(after[here], flat[here], strict=True)])
        set_scale(header, file, before[here], after[here])
        one = after[here.start]
        is_same = before[here] == after[here]
        if not is_same or (i in kept_padding and not np.array_equal(kept_padding[i], padding_mask(file, stored))):
            drop_padding(header)
        set_pixels(header, stored, file.pixel_format, bits_stored=one.bits_stored, is_signed=one.is_signed)
    return headers


def scale_of(file: OpenedFile, frame: Frame) -> StoredScale:
    """Give the scale in which a frame of a file is stored."""
    shape = file.pixel_format
    is_inverted = shape.photometric == "MONOCHROME1" and get_text(file.dataset, "Modality") not in CALIBRATED_MODALITIES
    return StoredScale(frame.slope, frame.intercept, shape.bits, shape.bits_stored, shape.is_signed, is_inverted)


def has_frame_groups(file: OpenedFile) -> bool:
    """Tell whether each frame of a file may have a slope of its own."""
    return bool(get_items(file.dataset, "PerFrameFunctionalGroupsSequence"))


def join_ranges(groups: Sequence[tuple[int, int]], ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give each range widened to that of its group.

    >>> join_ranges([(0, 0), (0, 0), (1, 0)], [(1, 2), (0, 1), (5, 6)])
    [(0, 2), (0, 2), (5, 6)]
    """
    joined: dict[tuple[int, int], tuple[float, float]] = {}
    for group, (low, high) in zip(groups, ranges, strict=True):
        known = joined.get(group, (low, high))
        joined[group] = min(known[0], low), max(known[1], high)
    return [joined[group] for group in groups]


def set_scale(header: Dataset, file: OpenedFile, before: Sequence[StoredScale], after: Sequence[StoredScale]) -> None:
    """Set the slope and intercept of a file where they were changed, and drop what the old ones meant."""
    pairs = [(s.slope, s.intercept) for s in after]
    if pairs == [(s.slope, s.intercept) for s in before]:
        return
    header.pop("RealWorldValueMappingSequence", None)
    if has_frame_groups(file):
        for group in (*header.SharedFunctionalGroupsSequence, *header.PerFrameFunctionalGroupsSequence):
            group.pop("RealWorldValueMappingSequence", None)
        add_frame_rescale(header, pairs)
        return
    modality = get_text(header, "Modality")
    set_rescale(header, *pairs[0], rescale_type={"CT": "HU", "PT": ""}.get(modality, "US"))


def padding_masks(files: Sequence[OpenedFile]) -> dict[int, NDArray[np.bool_]]:
    """Give the pixels of each file that has padding which are padding, by the number of the file."""
    padded = [i for i, file in enumerate(files) if "PixelPaddingValue" in file.dataset]
    decoded = decode_all_pixels([(files[i].path, files[i].dataset, files[i].pixel_format) for i in padded])
    return {i: padding_mask(files[i], stored) for i, stored in zip(padded, decoded, strict=True)}


def padding_mask(file: OpenedFile, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which stored pixels are padding."""
    value = get_number(file.dataset, "PixelPaddingValue") or 0
    limit = get_number(file.dataset, "PixelPaddingRangeLimit")
    ends = sorted((value, value if limit is None else limit))
    shape = (-1, file.pixel_format.rows, file.pixel_format.columns)
    found: NDArray[np.bool_] = ((stored >= ends[0]) & (stored <= ends[1])).reshape(shape)
    return found


def drop_padding(header: Dataset) -> None:
    """Drop the padding value from a header: other pixels have it now, or none."""
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        header.pop(name, None)
