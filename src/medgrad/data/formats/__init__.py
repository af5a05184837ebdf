"""File formats: read and write images and labels; the format is found by file name and first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ... import registry
from ...errors import FormatError
from ..dicom.index import SeriesInfo, list_series, reading_ahead
from ..dicom.pixels import read_stored_pixels
from ..file_cache import cache_case_files, cache_set_files, read_once
from ..grid import Grid
from ..image_spec import ImageSpec
from ..source import Source
from ..types import Image, LabelMap
from ._boxes import BoxFormat, write_boxes
from ._format import Format
from ._landmarks import check_landmarks, read_landmarks, write_landmarks
from ._transform_itk import read_field, read_matrix, write_field, write_matrix

__all__ = [
    "BoxFormat",
    "Format",
    "ImageSpec",
    "SeriesInfo",
    "cache_case_files",
    "cache_set_files",
    "check_landmarks",
    "extent_of",
    "file_suffix",
    "find_format",
    "list_series",
    "read",
    "read_field",
    "read_labels",
    "read_landmarks",
    "read_matrix",
    "read_stored_pixels",
    "reading_ahead",
    "to_label_array",
    "write",
    "write_boxes",
    "write_field",
    "write_landmarks",
    "write_matrix",
]


def file_suffix(path: Path) -> str:
    """Give the lower-case suffix of a file name; ``.nii.gz`` is one suffix."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def find_format(path: Path | str) -> Format:
    """Find the format of a file (or of a DICOM series folder) by its suffix, then by its first bytes."""
    path = Path(path)
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist. Check the path.")
    every = [registry.find("data.formats", name) for name in registry.names("data.formats")]
    by_name = [f for f in every if file_suffix(path) in f.suffixes]
    for form in [
        *[f for f in by_name if f.can_read(path)],
        *[f for f in every if f not in by_name and f.can_read(path)],
    ]:
        return form
    if by_name:
        raise FormatError(
            f"{str(path)!r} is not the {file_suffix(path)!r} file that its name says. Was it copied whole?"
        )
    raise FormatError(f"{str(path)!r} is not in a format that is known: {', '.join(registry.names('data.formats'))}.")


def extent_of(source: Source) -> ImageSpec | None:
    """Read the size of an image from its header; None where only reading it tells."""
    return find_format(source.path).read_spec(source.path, source.item)


def read(source: Source | Path | str) -> Image:
    """Read an image in any format, from the cache where it was read before."""
    source = source if isinstance(source, Source) else Source(Path(source))
    return read_once(source, lambda: read_uncached(source))


def read_uncached(source: Source) -> Image:
    """Read an image without the cache."""
    form = find_format(source.path)
    if form.read is None:
        raise FormatError(f"{str(source)!r} holds labels, not an image. Give it as the truth.")
    return form.read(source.path, source.item)


def read_labels(source: Source | Path | str, *, reference_grid: Grid | None = None) -> LabelMap:
    """Read a label map in any format.

    ``reference_grid`` is the grid of its image, which contours are rasterised onto.
    """
    source = source if isinstance(source, Source) else Source(Path(source))
    return read_once((source, reference_grid), lambda: read_labels_uncached(source, reference_grid))


def read_labels_uncached(source: Source, reference_grid: Grid | None) -> LabelMap:
    """Read a label map without the cache."""
    form = find_format(source.path)
    if form.read_labels is not None:
        return form.read_labels(source.path, source.item, reference_grid)
    image = read(source)
    return LabelMap(to_label_array(image, source), image.grid, {}, image.messages)


def to_label_array(image: Image, source: Source) -> np.ndarray[Any, np.dtype[Any]]:
    """Convert an image to integer labels, or raise if it is not integer, not one channel, or negative."""
    array = image.array
    if image.channels > 1:
        if not (array == array[..., :1]).all():
            raise FormatError(f"{str(source)!r} is a colour picture; a mask has one value a pixel.")
        array = array[..., 0]
    elif array.ndim > image.grid.dims:
        array = array[..., 0]
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or not (array == np.round(array)).all():
            raise FormatError(f"{str(source)!r} has values that are not whole numbers, so it is not a label map.")
        array = array.astype(np.int32)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.size and array.min() < 0:
        raise FormatError(f"{str(source)!r} has labels below zero.")
    return array


def write(path: Path | str, image_or_labels: Image | LabelMap) -> Path:
    """Write an image or a label map in the format of the path's suffix."""
    path = Path(path)
    for name in registry.names("data.formats"):
        form: Format = registry.find("data.formats", name)
        if file_suffix(path) in form.suffixes and form.write is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            form.write(path, image_or_labels)
            return path
    raise FormatError(f"{str(path)!r}: nothing here writes {file_suffix(path)!r} files. Use .nii.gz.")
