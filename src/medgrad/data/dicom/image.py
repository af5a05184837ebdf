"""Read DICOM images: a file, or a folder with the files of one or several series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..file_errors import as_format_error, to_native_byte_order
from ..grid import Grid, matrix_to_tuples
from ..image_spec import ImageSpec
from ..types import Image
from .frames import Frame
from .header import MAX_FILES_CHECKED, classify_file
from .index import list_series
from .open import OpenedFile, list_image_series, open_series
from .pixels import decode_all_pixels
from .read_dataset import get_number, get_text
from .rescale import add_message_once, apply_lookup_tables, rescale, rescaled_dtype, suv_factor
from .volume import Stack, stack_frames

MODALITY = {"CT": "ct", "MR": "mr", "PT": "pet", "US": "us", "IVUS": "us"}
MODALITY |= dict.fromkeys(("CR", "DX", "MG", "XA", "RF", "RG", "IO", "PX"), "xray")
MODALITY |= dict.fromkeys(("XC", "OP", "ES", "DMS", "GP"), "photo")
MODALITY |= dict.fromkeys(("SM", "GM"), "microscopy")
TEXT_TAGS = {
    "patient": "PatientID",
    "study_date": "StudyDate",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "series": "SeriesDescription",
    "frame_of_reference": "FrameOfReferenceUID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "sex": "PatientSex",
    "age": "PatientAge",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "station": "StationName",
    "institution": "InstitutionName",
    "units": "Units",
}
NUMBER_TAGS = {"weight_kg": "PatientWeight", "height_m": "PatientSize", "field_strength_t": "MagneticFieldStrength"}


def can_read(path: Path) -> bool:
    """Tell whether a file is a DICOM image, or whether one is among the first files of a folder."""
    if path.is_file():
        return classify_file(path) == "image"
    return any(classify_file(p) == "image" for p in list_first_files(path))


def list_first_files(folder: Path) -> Iterator[Path]:
    """List the first few files of a folder and its subfolders."""
    left = MAX_FILES_CHECKED
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files)[:left]:
            left -= 1
            yield Path(here, name)
        if left <= 0:
            return


def list_items(path: Path) -> list[str]:
    """List the UIDs of the image series, without localizers; one empty name for a single file."""
    with as_format_error(path, "DICOM"):
        return [""] if path.is_file() else [s.series_uid for s in list_image_series(list_series(path))[0]]


def read(path: Path, item: str = "") -> Image:
    """Read one series as a volume (columns, rows, slices) in world RAS, or as a 2D image (rows, columns).

    ``item`` is a series UID where a folder holds several; ``uid:3`` or ``:3`` is frame 3, from 0, of a multi-frame
    image.
    """
    with as_format_error(path, "DICOM"):
        return read_series(path, *item.partition(":")[::2])


def read_series(path: Path, uid: str, frame: str) -> Image:
    """Read one series of a file or a folder, or one frame of it."""
    messages: list[str] = []
    heads, name = open_series(path, uid, messages)
    if all(f.position for h in heads for f in h.frames) and not frame:
        return build_volume(heads, name, messages)
    return build_flat_image(heads, name, frame, messages)


def decode_values(file: OpenedFile, messages: list[str]) -> NDArray[Any]:
    """Decode a file as (frames, rows, columns) or (frames, rows, columns, colours), without rescaling."""
    return next(decode_all_values([file], messages))


def decode_all_values(files: Sequence[OpenedFile], messages: list[str]) -> Iterator[NDArray[Any]]:
    """Decode files, each as ``decode_values`` does."""
    decoded = decode_all_pixels([(h.path, h.dataset, h.pixel_format) for h in files])
    for head, stored in zip(files, decoded, strict=True):
        with as_format_error(head.path, "DICOM"):
            array = apply_lookup_tables(head.dataset, to_native_byte_order(stored), head.pixel_format, messages)
        yield array if head.pixel_format.frames > 1 else array[None]


def build_volume(files: Sequence[OpenedFile], name: str, messages: list[str]) -> Image:
    """Stack frames with positions into a volume."""
    of_path = {h.path: h for h in files}
    frames = [f for h in files for f in h.frames]

    def same_pixels(one: Frame, other: Frame) -> bool:
        a, b = (decode_values(of_path[f.path], [])[f.number] for f in (one, other))
        return (one.slope, one.intercept) == (other.slope, other.intercept) and np.array_equal(a, b)

    stack = stack_frames(frames, name, same_pixels)
    messages += stack.messages
    array = fill_stack(stack, of_path, messages)  # (volumes, slices, rows, columns, colours)
    if not frames[0].spacing:
        messages.append("The file does not say how large a pixel is: 1 mm is assumed.")
    array, tags = convert_pet_to_suv(array, files, messages)
    if array.shape[0] > 1 and array.shape[-1] > 1:
        raise FormatError(f"{name} has several colour pictures at each place. Put them in folders of their own.")
    array = array.transpose(3, 2, 1, 4, 0).reshape(*array.shape[3:0:-1], -1)
    grid = Grid(array.shape[:3], matrix_to_tuples(stack.affine), bool(frames[0].spacing))
    return Image(array if array.shape[-1] > 1 else array[..., 0], grid, image_modality(files), tags, tuple(messages))


def fill_stack(stack: Stack, file_by_path: dict[Path, OpenedFile], messages: list[str]) -> NDArray[Any]:
    """Decode every file once and put its frames into the stack; missing slices are interpolated."""
    at = {(f.path, f.number): (v, s) for v, slices in enumerate(stack.volumes) for s, f in enumerate(slices) if f}
    used = [f for slices in stack.volumes for f in slices if f]
    array: NDArray[Any] | None = None
    paths = list(dict.fromkeys(f.path for f in used))
    for path, values in zip(paths, decode_all_values([file_by_path[p] for p in paths], messages), strict=True):
        if array is None:
            kind = rescaled_dtype([h.pixel_format for h in file_by_path.values()], used, values.dtype)
            colours = values.shape[3:] or (1,)
            array = np.zeros((len(stack.volumes), len(stack.volumes[0]), *values.shape[1:3], *colours), kind)
        for frame in file_by_path[path].frames:
            if (path, frame.number) in at:
                one = rescale(values[frame.number], frame, array.dtype)
                if one.size != array[0, 0].size:
                    raise FormatError(f"{str(path)!r} has other colours than the rest of its series. Leave it out.")
                array[at[path, frame.number]] = one.reshape(array.shape[2:])
    assert array is not None
    for v, slices in enumerate(stack.volumes):
        there = [s for s, f in enumerate(slices) if f]
        for s in sorted(set(range(len(slices))) - set(there)):
            below, above = max(t for t in there if t < s), min(t for t in there if t > s)
            share = (s - below) / (above - below)
            between = array[v, below] * (1 - share) + array[v, above] * share
            array[v, s] = np.round(between) if array.dtype.kind in "ui" else between
    return array


class NeedsPixelsError(Exception):
    """Raised where only the pixels could tell."""


def read_spec(path: Path, item: str = "") -> ImageSpec | None:
    """Read the size of a series of plain grey slices from its headers; None where headers do not suffice."""
    uid, _, frame = item.partition(":")

    def raise_needs_pixels(one: Frame, other: Frame) -> bool:
        raise NeedsPixelsError(f"{one} and {other}")

    with as_format_error(path, "DICOM"):
        heads, name = open_series(path, uid, [], with_pixels=False)
        frames = [f for h in heads for f in h.frames]
        if frame or not all(is_plain_grey(h) for h in heads) or not all(f.position for f in frames):
            return None
        try:
            stack = stack_frames(frames, name, raise_needs_pixels)
        except NeedsPixelsError:
            return None
    first = heads[0].pixel_format
    stored = np.dtype(f"{'i' if first.is_signed else 'u'}{first.bits // 8}")
    kind = rescaled_dtype([h.pixel_format for h in heads], [f for v in stack.volumes for f in v if f], stored)
    grid = Grid(
        (first.columns, first.rows, len(stack.volumes[0])), matrix_to_tuples(stack.affine), bool(frames[0].spacing)
    )
    return ImageSpec(grid, len(stack.volumes), kind.itemsize, stored.itemsize)


def is_plain_grey(file: OpenedFile) -> bool:
    """Tell whether an image is plain grey: no lookup table, no colours, no PET."""
    shape = file.pixel_format
    kept = shape.samples == 1 and shape.photometric.startswith("MONOCHROME") and shape.bits in (8, 16)
    return kept and get_text(file.dataset, "Modality") != "PT" and "ModalityLUTSequence" not in file.dataset


def build_flat_image(files: Sequence[OpenedFile], name: str, frame: str, messages: list[str]) -> Image:
    """Give a 2D image without a position, or a multi-frame one with its frames as channels."""
    if len(files) > 1:
        raise FormatError(
            f"{name} holds {len(files)} pictures that do not say where in the patient they lie. Read them file by file."
        )
    head = files[0]
    array = decode_values(head, messages)
    if frame:
        if not frame.isdecimal() or int(frame) >= len(array):
            raise FormatError(f"{name} has no frame {frame!r}: it has {len(array)}, numbered from 0.")
        array, first = array[int(frame)][None], head.frames[int(frame)]
    else:
        first = head.frames[0]
    if len(array) > 1 and array.ndim > 3:
        raise FormatError(f"{name} is a film of {len(array)} colour pictures. Name one of them, such as ':0'.")
    if len(array) > 1:
        messages.append(f"It is a film of {len(array)} frames: the channels.")
    kind = rescaled_dtype([head.pixel_format], head.frames, array.dtype)
    array = np.stack([rescale(a, f, kind) for a, f in zip(array, [first] if frame else head.frames, strict=True)])
    array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    if first.spacing_from in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        messages.append(f"The spacing is that of {first.spacing_from}, not measured in the patient.")
    spacing = first.spacing or None
    grid = Grid.from_shape(array.shape[:2], spacing=spacing, has_spacing=spacing is not None)
    return Image(array, grid, image_modality(files), read_tags(head.dataset), tuple(messages))


def convert_pet_to_suv(
    array: NDArray[Any], files: Sequence[OpenedFile], messages: list[str]
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Convert PET to SUV where the tags allow it, and add a message on the units."""
    source = files[0].dataset
    tags = read_tags(source)
    if get_text(source, "Modality") != "PT":
        return array, tags
    times = sorted(t for h in files if (t := get_text(h.dataset, "AcquisitionTime")))
    with as_format_error(files[0].path, "DICOM"):
        factor, why = suv_factor(source, times[0] if times else "")
    add_message_once(messages, why)
    if factor is None:
        return array, tags
    return (array * np.float32(factor)).astype(np.float32) if factor != 1 else array, {**tags, "units": "SUV"}


def image_modality(files: Sequence[OpenedFile]) -> str:
    return MODALITY.get(get_text(files[0].dataset, "Modality"), "other")


def read_tags(dataset: Dataset) -> dict[str, Any]:
    """Read patient, date, device and other tags as text and numbers; absent ones are left out."""
    tags: dict[str, Any] = {key: text for key, name in TEXT_TAGS.items() if (text := get_text(dataset, name))}
    for key, name in NUMBER_TAGS.items():
        try:
            value = get_number(dataset, name)
        except ValueError:
            continue
        if value is not None:
            tags[key] = value
    return tags
