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
from ..file_errors import check_promise, damage_told, first_bytes, native, smallest_unsigned
from ..grid import Grid, as_rows
from ..types import Image, LabelMap
from ._format import Format

NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"


def claims(path: Path) -> bool:
    """Tell whether a file is a NumPy array or an archive of arrays."""
    start = first_bytes(path, 6)
    if start == NPY:
        return True
    try:
        return start[:4] == ZIP and any(n.endswith(".npy") for n in zipfile.ZipFile(path).namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def items(path: Path) -> list[str]:
    """List the arrays of an archive; one empty name for a single array."""
    with damage_told(path, "arrays"):
        return [""] if first_bytes(path, 6) == NPY else names_in(path)


def names_in(path: Path) -> list[str]:
    """List the arrays of an archive."""
    with zipfile.ZipFile(path) as archive:
        return [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]


def stored(path: Path, name: str = "") -> NDArray[Any]:
    """Load an array of a file read-only; a ``.npy`` is memory-mapped."""
    with damage_told(path, "arrays"):
        if first_bytes(path, 6) == NPY:
            with path.open("rb") as file:
                check_header(path, file, path.stat().st_size)
            return np.load(path, mmap_mode="r", allow_pickle=False)
        about = path.stat()
        return unpacked(path, name, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def unpacked(path: Path, name: str, changed: int, size: int) -> NDArray[Any]:
    """Load one array of an ``.npz``; the last few are cached, because cases are read a row at a time."""
    del changed, size
    with zipfile.ZipFile(path) as archive:
        try:
            about = archive.getinfo(f"{name}.npy")
        except KeyError:
            raise FormatError(f"{str(path)!r} holds no array {name!r}. It has: {', '.join(names_in(path))}.") from None
        check_promise(path, about.file_size, about.compress_size, packed=about.compress_type != zipfile.ZIP_STORED)
        with archive.open(about) as file:
            check_header(path, file, about.file_size)
        with archive.open(about) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    array.flags.writeable = False
    return array


def check_header(path: Path, file: IO[bytes], there: int) -> None:
    """Raise unless an array's header fits the bytes of its data and its type is a plain number."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = reader(file)
    if kind.hasobject or kind.kind not in "buif":
        raise FormatError(f"{str(path)!r} holds {kind} values. Only plain numbers are read.")
    check_promise(path, math.prod(shape) * kind.itemsize, there)


def read(path: Path, item: str = "") -> Image:
    """Read an array, or one row of it, as a 2D image or a volume.

    The item is ``array``, ``array:row``, or ``:row`` in a ``.npy``. Two axes are a 2D image, three a volume unless
    the last has 3 or 4 elements: those are colours. The arrays ``affine`` and ``measured``, as ``write`` saves
    them, give the grid.
    """
    name, _, row = item.partition(":")
    if not name and first_bytes(path, 6) != NPY:
        name = only_name(path)
    array = stored(path, name)
    if row:
        if not row.isdecimal() or int(row) >= len(array):
            raise FormatError(f"{str(path)!r} has no row {row!r} in {name!r}: it has {len(array)}, numbered from 0.")
        array = array[int(row)]
    array = native(np.array(array))
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    with damage_told(path, "arrays"):
        if name and not row and {"affine", "measured"} <= set(names_in(path)):
            matrix = np.asarray(stored(path, "affine"), float)
            shape = array.shape[: len(matrix) - 1]
            return Image(array, Grid(shape, as_rows(matrix), bool(stored(path, "measured"))))
    return plain(path, array)


def only_name(path: Path) -> str:
    """Give the name of the only image array in an archive."""
    names = [n for n in items(path) if n not in ("affine", "measured")]
    if len(names) != 1:
        raise FormatError(f"{str(path)!r} holds {len(names)} arrays. Name one of them: {', '.join(names)}.")
    return names[0]


def plain(path: Path, array: NDArray[Any]) -> Image:
    """Convert an array to an image on a grid without known spacing."""
    colours = array.ndim > 2 and array.shape[-1] in (3, 4) and min(array.shape[:-1]) > 4
    dims = array.ndim - (colours or array.ndim == 4)
    if dims not in (2, 3):
        raise FormatError(f"{str(path)!r} holds an array of shape {array.shape}, neither a picture nor a volume.")
    told = ("The last axis holds the channels.",) if array.ndim > dims else ()
    return Image(array, Grid.of(array.shape[:dims], measured=False), None, {}, told)


def write(path: Path, thing: Image | LabelMap) -> None:
    """Write an array with its affine beside it, as ``.npz``."""
    if path.suffix.lower() != ".npz":
        raise FormatError(f"{str(path)!r}: a .npy has no place for the grid. Use .npz.")
    array = smallest_unsigned(thing.array) if isinstance(thing, LabelMap) else thing.array
    np.savez_compressed(path, array=array, affine=thing.grid.matrix, measured=np.array(thing.grid.measured))


THIS = Format((".npy", ".npz"), claims, read, None, write, items)
