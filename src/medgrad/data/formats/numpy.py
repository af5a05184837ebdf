"""NumPy files: ``.npy`` holds one array, ``.npz`` several, each of which may have a row for every case."""

from __future__ import annotations

import math
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ..file_errors import (
    as_format_error,
    check_byte_count,
    read_first_bytes,
    to_native_byte_order,
    to_smallest_unsigned,
)
from ..grid import Grid, matrix_to_tuples
from ..types import Image, LabelMap
from ._format import Format

NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"


def can_read(path: Path) -> bool:
    """Tell whether a file is a NumPy array or an archive of arrays."""
    start = read_first_bytes(path, 6)
    if start == NPY:
        return True
    try:
        return start[:4] == ZIP and any(n.endswith(".npy") for n in zipfile.ZipFile(path).namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def list_items(path: Path) -> list[str]:
    """List the arrays of an archive; one empty name for a single array."""
    with as_format_error(path, "arrays"):
        return [""] if read_first_bytes(path, 6) == NPY else list_archive_arrays(path)


def list_archive_arrays(path: Path) -> list[str]:
    """List the arrays of an archive."""
    with zipfile.ZipFile(path) as archive:
        return [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]


def load_array(path: Path, name: str = "") -> NDArray[Any]:
    """Load an array of a file read-only; a ``.npy`` is memory-mapped."""
    with as_format_error(path, "arrays"):
        if read_first_bytes(path, 6) == NPY:
            with path.open("rb") as file:
                check_array_header(path, file, path.stat().st_size)
            return np.load(path, mmap_mode="r", allow_pickle=False)
        about = path.stat()
        return load_archive_array(path, name, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def load_archive_array(path: Path, name: str, mtime_ns: int, size: int) -> NDArray[Any]:
    """Load one array of an ``.npz``; the last few are cached, because cases are read a row at a time."""
    del mtime_ns, size
    with zipfile.ZipFile(path) as archive:
        try:
            about = archive.getinfo(f"{name}.npy")
        except KeyError:
            raise FormatError(
                f"{str(path)!r} holds no array {name!r}. It has: {', '.join(list_archive_arrays(path))}."
            ) from None
        check_byte_count(
            path, about.file_size, about.compress_size, compressed=about.compress_type != zipfile.ZIP_STORED
        )
        with archive.open(about) as file:
            check_array_header(path, file, about.file_size)
        with archive.open(about) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    array.flags.writeable = False
    return array


def check_array_header(path: Path, file: IO[bytes], available_bytes: int) -> None:
    """Raise unless an array's header fits the bytes of its data and its type is a plain number."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = reader(file)
    if kind.hasobject or kind.kind not in "buif":
        raise FormatError(f"{str(path)!r} holds {kind} values. Only plain numbers are read.")
    check_byte_count(path, math.prod(shape) * kind.itemsize, available_bytes)


def read(path: Path, item: str = "") -> Image:
    """Read an array, or one row of it, as a 2D image or a volume.

    The item is ``array``, ``array:row``, or ``:row`` in a ``.npy``. Two axes are a 2D image, three a volume unless
    the last has 3 or 4 elements: those are colours. The arrays ``affine`` and ``measured``, as ``write`` saves
    them, give the grid.
    """
    name, _, row = item.partition(":")
    if not name and read_first_bytes(path, 6) != NPY:
        name = only_array_name(path)
    array = load_array(path, name)
    if row:
        if not row.isdecimal() or int(row) >= len(array):
            raise FormatError(f"{str(path)!r} has no row {row!r} in {name!r}: it has {len(array)}, numbered from 0.")
        array = array[int(row)]
    array = to_native_byte_order(np.array(array))
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    with as_format_error(path, "arrays"):
        if name and not row and {"affine", "measured"} <= set(list_archive_arrays(path)):
            matrix = np.asarray(load_array(path, "affine"), float)
            shape = array.shape[: len(matrix) - 1]
            return Image(array, Grid(shape, matrix_to_tuples(matrix), bool(load_array(path, "measured"))))
    return array_to_image(path, array)


def only_array_name(path: Path) -> str:
    """Give the name of the only image array in an archive."""
    names = [n for n in list_items(path) if n not in ("affine", "measured")]
    if len(names) != 1:
        raise FormatError(f"{str(path)!r} holds {len(names)} arrays. Name one of them: {', '.join(names)}.")
    return names[0]


def array_to_image(path: Path, array: NDArray[Any]) -> Image:
    """Convert an array to an image on a grid without known spacing."""
    colours = array.ndim > 2 and array.shape[-1] in (3, 4) and min(array.shape[:-1]) > 4
    dims = array.ndim - (colours or array.ndim == 4)
    if dims not in (2, 3):
        raise FormatError(f"{str(path)!r} holds an array of shape {array.shape}, neither a picture nor a volume.")
    messages = ("The last axis holds the channels.",) if array.ndim > dims else ()
    return Image(array, Grid.from_shape(array.shape[:dims], has_spacing=False), None, {}, messages)


def write(path: Path, image_or_labels: Image | LabelMap) -> None:
    """Write an array with its affine beside it, as ``.npz``."""
    if path.suffix.lower() != ".npz":
        raise FormatError(f"{str(path)!r}: a .npy has no place for the grid. Use .npz.")
    array = (
        to_smallest_unsigned(image_or_labels.array) if isinstance(image_or_labels, LabelMap) else image_or_labels.array
    )
    np.savez_compressed(
        path, array=array, affine=image_or_labels.grid.matrix, measured=np.array(image_or_labels.grid.has_spacing)
    )


THIS = Format((".npy", ".npz"), can_read, read, None, write, list_items)
