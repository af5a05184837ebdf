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
from ..extent import ImageSpec
from ..file_errors import damage_told, native
from ..grid import Grid, as_rows
from ..types import Image
from .file import number, word
from .frames import Frame
from .header import LOOKED_AT, kind_of
from .index import series_in
from .open import Opened, offered, opened_all
from .pixels import every_pixels
from .values import kind_of_values, prepared, rescaled, tell, uptake_factor
from .volume import Stack, stacked

MODALITY = {"CT": "ct", "MR": "mr", "PT": "pet", "US": "us", "IVUS": "us"}
MODALITY |= dict.fromkeys(("CR", "DX", "MG", "XA", "RF", "RG", "IO", "PX"), "xray")
MODALITY |= dict.fromkeys(("XC", "OP", "ES", "DMS", "GP"), "photo")
MODALITY |= dict.fromkeys(("SM", "GM"), "microscopy")
TAGS = {
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
MEASURES = {"weight_kg": "PatientWeight", "height_m": "PatientSize", "field_strength_t": "MagneticFieldStrength"}


def claims(path: Path) -> bool:
    """Tell whether a file is a DICOM image, or whether one is among the first files of a folder."""
    if path.is_file():
        return kind_of(path) == "image"
    return any(kind_of(p) == "image" for p in first_files(path))


def first_files(folder: Path) -> Iterator[Path]:
    """List the first few files of a folder and its subfolders."""
    left = LOOKED_AT
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files)[:left]:
            left -= 1
            yield Path(here, name)
        if left <= 0:
            return


def items(path: Path) -> list[str]:
    """List the UIDs of the image series, without localizers; one empty name for a single file."""
    with damage_told(path, "DICOM"):
        return [""] if path.is_file() else [s.series_uid for s in offered(series_in(path))[0]]


def read(path: Path, item: str = "") -> Image:
    """Read one series as a volume (columns, rows, slices) in world RAS, or as a 2D image (rows, columns).

    ``item`` is a series UID where a folder holds several; ``uid:3`` or ``:3`` is frame 3, from 0, of a multi-frame
    image.
    """
    with damage_told(path, "DICOM"):
        return read_series(path, *item.partition(":")[::2])


def read_series(path: Path, uid: str, frame: str) -> Image:
    """Read one series of a file or a folder, or one frame of it."""
    told: list[str] = []
    heads, name = opened_all(path, uid, told)
    if all(f.position for h in heads for f in h.frames) and not frame:
        return volume(heads, name, told)
    return flat(heads, name, frame, told)


def values_of(head: Opened, told: list[str]) -> NDArray[Any]:
    """Decode a file as (frames, rows, columns) or (frames, rows, columns, colours), without rescaling."""
    return next(every_values([head], told))


def every_values(heads: Sequence[Opened], told: list[str]) -> Iterator[NDArray[Any]]:
    """Decode files, each as ``values_of`` does."""
    decoded = every_pixels([(h.path, h.source, h.shape) for h in heads])
    for head, stored in zip(heads, decoded, strict=True):
        with damage_told(head.path, "DICOM"):
            array = prepared(head.source, native(stored), head.shape, told)
        yield array if head.shape.frames > 1 else array[None]


def volume(heads: Sequence[Opened], name: str, told: list[str]) -> Image:
    """Stack frames with positions into a volume."""
    of_path = {h.path: h for h in heads}
    frames = [f for h in heads for f in h.frames]

    def same_pixels(one: Frame, other: Frame) -> bool:
        a, b = (values_of(of_path[f.path], [])[f.number] for f in (one, other))
        return (one.slope, one.intercept) == (other.slope, other.intercept) and np.array_equal(a, b)

    stack = stacked(frames, name, same_pixels)
    told += stack.told
    array = filled(stack, of_path, told)  # (volumes, slices, rows, columns, colours)
    if not frames[0].spacing:
        told.append("The file does not say how large a pixel is: 1 mm is assumed.")
    array, tags = in_units(array, heads, told)
    if array.shape[0] > 1 and array.shape[-1] > 1:
        raise FormatError(f"{name} has several colour pictures at each place. Put them in folders of their own.")
    array = array.transpose(3, 2, 1, 4, 0).reshape(*array.shape[3:0:-1], -1)
    grid = Grid(array.shape[:3], as_rows(stack.affine), bool(frames[0].spacing))
    return Image(array if array.shape[-1] > 1 else array[..., 0], grid, modality_of(heads), tags, tuple(told))


def filled(stack: Stack, of_path: dict[Path, Opened], told: list[str]) -> NDArray[Any]:
    """Decode every file once and put its frames into the stack; missing slices are interpolated."""
    at = {(f.path, f.number): (v, s) for v, slices in enumerate(stack.volumes) for s, f in enumerate(slices) if f}
    used = [f for slices in stack.volumes for f in slices if f]
    array: NDArray[Any] | None = None
    paths = list(dict.fromkeys(f.path for f in used))
    for path, values in zip(paths, every_values([of_path[p] for p in paths], told), strict=True):
        if array is None:
            kind = kind_of_values([h.shape for h in of_path.values()], used, values.dtype)
            colours = values.shape[3:] or (1,)
            array = np.zeros((len(stack.volumes), len(stack.volumes[0]), *values.shape[1:3], *colours), kind)
        for frame in of_path[path].frames:
            if (path, frame.number) in at:
                one = rescaled(values[frame.number], frame, array.dtype)
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


class UnseenError(Exception):
    """Raised where only the pixels could tell."""


def extent(path: Path, item: str = "") -> ImageSpec | None:
    """Read the size of a series of plain grey slices from its headers; None where headers do not suffice."""
    uid, _, frame = item.partition(":")

    def unseen(one: Frame, other: Frame) -> bool:
        raise UnseenError(f"{one} and {other}")

    with damage_told(path, "DICOM"):
        heads, name = opened_all(path, uid, [], pixels=False)
        frames = [f for h in heads for f in h.frames]
        if frame or not all(is_plain(h) for h in heads) or not all(f.position for f in frames):
            return None
        try:
            stack = stacked(frames, name, unseen)
        except UnseenError:
            return None
    first = heads[0].shape
    stored = np.dtype(f"{'i' if first.signed else 'u'}{first.bits // 8}")
    kind = kind_of_values([h.shape for h in heads], [f for v in stack.volumes for f in v if f], stored)
    grid = Grid((first.columns, first.rows, len(stack.volumes[0])), as_rows(stack.affine), bool(frames[0].spacing))
    return ImageSpec(grid, len(stack.volumes), kind.itemsize, stored.itemsize)


def is_plain(head: Opened) -> bool:
    """Tell whether an image is plain grey: no lookup table, no colours, no PET."""
    shape = head.shape
    kept = shape.samples == 1 and shape.photometric.startswith("MONOCHROME") and shape.bits in (8, 16)
    return kept and word(head.source, "Modality") != "PT" and "ModalityLUTSequence" not in head.source


def flat(heads: Sequence[Opened], name: str, frame: str, told: list[str]) -> Image:
    """Give a 2D image without a position, or a multi-frame one with its frames as channels."""
    if len(heads) > 1:
        raise FormatError(
            f"{name} holds {len(heads)} pictures that do not say where in the patient they lie. Read them file by file."
        )
    head = heads[0]
    array = values_of(head, told)
    if frame:
        if not frame.isdecimal() or int(frame) >= len(array):
            raise FormatError(f"{name} has no frame {frame!r}: it has {len(array)}, numbered from 0.")
        array, first = array[int(frame)][None], head.frames[int(frame)]
    else:
        first = head.frames[0]
    if len(array) > 1 and array.ndim > 3:
        raise FormatError(f"{name} is a film of {len(array)} colour pictures. Name one of them, such as ':0'.")
    if len(array) > 1:
        told.append(f"It is a film of {len(array)} frames: the channels.")
    kind = kind_of_values([head.shape], head.frames, array.dtype)
    array = np.stack([rescaled(a, f, kind) for a, f in zip(array, [first] if frame else head.frames, strict=True)])
    array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    if first.spacing_from in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        told.append(f"The spacing is that of {first.spacing_from}, not measured in the patient.")
    spacing = first.spacing or None
    grid = Grid.of(array.shape[:2], spacing=spacing, measured=spacing is not None)
    return Image(array, grid, modality_of(heads), tags_of(head.source), tuple(told))


def in_units(array: NDArray[Any], heads: Sequence[Opened], told: list[str]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Convert PET to SUV where the tags allow it, and add a message on the units."""
    source = heads[0].source
    tags = tags_of(source)
    if word(source, "Modality") != "PT":
        return array, tags
    times = sorted(t for h in heads if (t := word(h.source, "AcquisitionTime")))
    with damage_told(heads[0].path, "DICOM"):
        factor, why = uptake_factor(source, times[0] if times else "")
    tell(told, why)
    if factor is None:
        return array, tags
    return (array * np.float32(factor)).astype(np.float32) if factor != 1 else array, {**tags, "units": "SUV"}


def modality_of(heads: Sequence[Opened]) -> str:
    return MODALITY.get(word(heads[0].source, "Modality"), "other")


def tags_of(source: Dataset) -> dict[str, Any]:
    """Read patient, date, device and other tags as text and numbers; absent ones are left out."""
    tags: dict[str, Any] = {key: text for key, name in TAGS.items() if (text := word(source, name))}
    for key, name in MEASURES.items():
        try:
            value = number(source, name)
        except ValueError:
            continue
        if value is not None:
            tags[key] = value
    return tags
