"""NIfTI, the format of neuroimaging and of most challenges: ``.nii`` and ``.nii.gz``."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ..file_cache import cached_file_or_path
from ..file_cache import open_cached as open_plain
from ..file_errors import (
    as_format_error,
    check_byte_count,
    read_first_bytes,
    to_native_byte_order,
    to_smallest_unsigned,
)
from ..grid import Grid, matrix_to_tuples
from ..image_spec import ImageSpec
from ..types import Image, LabelMap
from ._format import Format

GZIP = b"\x1f\x8b"
CHUNK_BYTES = 1 << 22  # so much is read or scaled at a time
FLAT_MARK = b"flat picture"  # kept in the header of a picture that has rows and columns but no place in a patient
MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
FLAT_PIXEL_MARK = b"flat picture in pixels"
# Column 0 of a flat picture lies to the patient's right and row 0 on top in a viewer; the matrix is its own inverse.
FLAT_TO_WORLD = np.array([[0.0, -1.0], [-1.0, 0.0]])


def can_read(path: Path) -> bool:
    """Tell whether a file is NIfTI by its first bytes, gzipped or not."""
    start = read_first_bytes(path, 4096)
    if start[:2] == GZIP:
        try:
            with gzip.open(cached_file_or_path(path)) as file:
                start = file.read(540)
        except (OSError, EOFError, zlib.error):
            return False
    return header_size(start) != 0


def header_size(start: bytes) -> int:
    """Give the header size: 348 for NIfTI-1, 540 for NIfTI-2, 0 for anything else."""
    for size, magic in ((348, start[344:347]), (540, start[4:7])):
        if start[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")) and magic in (b"n+1", b"n+2"):
            return size
    return 0


def list_items(path: Path) -> list[str]:
    """List the volumes of a 4D file, as numbers; one empty name for a single volume."""
    with as_format_error(path, "NIfTI"), open_nifti(path) as file:
        _, rest = split_shape(path, read_header(path, file))
    n = math.prod(rest)
    return [""] if n == 1 else [str(i) for i in range(n)]


def read(path: Path, item: str = "") -> Image:
    """Read one volume, or all of them with the volumes as channels."""
    messages: list[str] = []
    with as_format_error(path, "NIfTI"), open_nifti(path) as file:
        header = read_header(path, file)
        shape, rest = split_shape(path, header)
        n = math.prod(rest)
        first, count = (0, n) if item == "" else (volume_number(path, item, n), 1)
        values = read_values(path, file, header, shape, first, count)
        matrix = read_affine(header, messages)
        if bytes(header["descrip"]).startswith(FLAT_MARK):
            return to_flat_image(values, matrix, has_spacing=not bytes(header["descrip"]).startswith(FLAT_PIXEL_MARK))
        array = values if values.shape[-1] > 1 else values[..., 0]
        return Image(array, Grid(shape, matrix_to_tuples(matrix)), None, {}, tuple(messages))


def read_spec(path: Path, item: str = "") -> ImageSpec | None:
    """Read the size of an image from its header."""
    with as_format_error(path, "NIfTI"), open_nifti(path) as file:
        header = read_header(path, file)
    shape, rest = split_shape(path, header)
    kind = np.dtype(header.get_data_dtype())
    slope, intercept = header.get_slope_inter()
    channels = (1 if item else int(np.prod(rest, dtype=np.int64))) * max(1, len(kind.names or ()))
    one = kind.itemsize // max(1, len(kind.names or ()))
    grid = Grid(shape, matrix_to_tuples(read_affine(header, [])))
    if slope is not None and not (slope == 1 and not intercept):
        return ImageSpec(grid, channels, 4, one)
    return ImageSpec(grid, channels, one, 0 if kind.isnative and not kind.names else one)


def open_nifti(path: Path) -> IO[bytes]:
    """Open a NIfTI file for reading, decompressing it if it is gzipped."""
    return (
        cast(IO[bytes], gzip.open(cached_file_or_path(path))) if read_first_bytes(path, 2) == GZIP else open_plain(path)
    )


def read_header(path: Path, file: IO[bytes]) -> Any:
    """Read a header from the start of a file."""
    start = file.read(540)
    size = header_size(start)
    if not size:
        raise FormatError(f"{str(path)!r} does not begin as a NIfTI file does. Was it copied whole?")
    if len(start) < size:
        raise FormatError(f"{str(path)!r} ends within its header. Copy it again: it is cut off.")
    import nibabel  # a tenth of a second of the processor, which those who read other files save

    kind = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
    return kind(start[:size], check=True)


def split_shape(path: Path, header: Any) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Split the shape into that of a volume and that of the axes beyond it."""
    shape = tuple(int(s) for s in header.get_data_shape())
    if not 1 <= len(shape) <= 7 or min(shape) < 1:
        raise FormatError(f"{str(path)!r} says that its shape is {shape}. Copy it again: its header is damaged.")
    x, y, z = (*shape[:3], 1, 1)[:3]
    return (x, y, z), shape[3:]


def volume_number(path: Path, item: str, n_volumes: int) -> int:
    """Parse an item as the number of a volume."""
    if not item.isdecimal() or int(item) >= n_volumes:
        raise FormatError(f"{str(path)!r} has no volume {item!r}: it has {n_volumes}, numbered from 0.")
    return int(item)


def read_values(
    path: Path, file: IO[bytes], header: Any, shape: tuple[int, int, int], first: int, count: int
) -> NDArray[Any]:
    """Read some volumes as (*shape, count), with the header's scaling applied."""
    kind = np.dtype(header.get_data_dtype())
    if kind.kind == "c":
        raise FormatError(f"{str(path)!r} holds complex numbers. Write their magnitude instead.")
    one = math.prod(shape) * kind.itemsize
    offset = max(int(header.get_data_offset()), header.single_vox_offset)
    check_byte_count(
        path, offset + (first + count) * one, path.stat().st_size, compressed=isinstance(file, gzip.GzipFile)
    )
    file.seek(offset + first * one)
    raw = read_bytes(path, file, count * one)
    array: NDArray[Any] = np.frombuffer(raw, kind).reshape((*shape, count), order="F")
    if kind.names:
        array = np.concatenate([array[name] for name in kind.names], axis=-1)
    return apply_scaling(to_native_byte_order(array), header)


def read_bytes(path: Path, file: IO[bytes], count: int) -> NDArray[np.uint8]:
    """Read ``count`` bytes in pieces, so that memory is only used for bytes that exist."""
    raw, there = np.empty(count, np.uint8), 0
    while there < count:
        piece = file.read(min(count - there, CHUNK_BYTES))
        if not piece:
            raise FormatError(
                f"{str(path)!r} promises {count:,} bytes of values but ends after {there:,}. Copy it "
                "again: it is cut off."
            )
        raw[there : there + len(piece)] = np.frombuffer(piece, np.uint8)
        there += len(piece)
    return raw


def apply_scaling(array: NDArray[Any], header: Any) -> NDArray[Any]:
    """Apply slope and intercept, which gives float32; without them the stored type stays."""
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope == 1 and not intercept):
        return array.astype(np.float64) if array.dtype.itemsize > 8 else array
    found = np.empty_like(array, np.float32)
    step = max(1, CHUNK_BYTES // max(1, array[..., 0, :].size))
    for first in range(0, array.shape[2], step):  # in float64, a few slices at a time
        part = (slice(None), slice(None), slice(first, first + step))
        found[part] = array[part] * np.float64(slope) + np.float64(intercept)
    return found


def read_affine(header: Any, messages: list[str]) -> NDArray[np.float64]:
    """Give the affine in mm; the sform takes precedence over the qform, as in nibabel."""
    shape = (*header.get_data_shape(), 1, 1)[:3]
    sform, scode = header.get_sform(coded=True)
    qform, qcode = read_qform(header, messages)
    if scode and not is_invertible(sform):
        messages.append("The sform cannot be inverted, so it was left out.")
        scode = 0
    if scode and qcode and (far := max_corner_distance_mm(sform, qform, shape)) > 0.1:
        messages.append(f"The sform and the qform disagree by up to {far:.3g} mm; the sform was taken.")
    if scode:
        matrix = sform
    elif qcode:
        matrix = qform
    else:
        matrix = header.get_base_affine()
        messages.append("Neither sform nor qform is set: the spacing is known, but LAS orientation is assumed.")
    unit = header.get_xyzt_units()[0]
    if MM_PER_UNIT.get(unit, 1.0) != 1.0:
        messages.append(f"Lengths are in {unit}s in the file and were turned into mm.")
    matrix = np.array(matrix, float)
    matrix[:3] *= MM_PER_UNIT.get(unit, 1.0)
    return matrix


def read_qform(header: Any, messages: list[str]) -> tuple[Any, int]:
    """Read the qform and its code; (None, 0) where it is invalid."""
    try:
        matrix, code = header.get_qform(coded=True)
    except Exception:  # nibabel has several kinds of error for a quaternion that is none
        messages.append("The qform is not a rotation, so it was left out.")
        return None, 0
    if code and not is_invertible(matrix):
        messages.append("The qform cannot be inverted, so it was left out.")
        return None, 0
    return matrix, int(code)


def is_invertible(matrix: Any) -> bool:
    """Tell whether an affine can be inverted."""
    return bool(np.isfinite(matrix).all() and abs(np.linalg.det(matrix[:3, :3])) > 1e-12)


def max_corner_distance_mm(one: Any, other: Any, shape: tuple[int, ...]) -> float:
    """Give the largest distance between the corners of a volume under two affines, in mm."""
    corners = np.array(np.meshgrid(*[(0, s - 1) for s in shape], [1.0], indexing="ij")).reshape(4, -1)
    return float(np.linalg.norm(((one - other) @ corners)[:3], axis=0).max())


def to_flat_image(values: NDArray[Any], affine: NDArray[np.float64], *, has_spacing: bool) -> Image:
    """Convert a 2D image that ``write`` stored back to rows and columns."""
    array = values[:, :, 0].swapaxes(0, 1)
    plane = np.vstack([FLAT_TO_WORLD @ affine[:2, [1, 0, 3]], [0, 0, 1]])
    return Image(
        array if array.shape[-1] > 1 else array[..., 0], Grid(array.shape[:2], matrix_to_tuples(plane), has_spacing)
    )


def write(path: Path, image_or_labels: Image | LabelMap) -> None:
    """Write an image, or labels in the smallest unsigned type that holds them."""
    array = (
        to_smallest_unsigned(image_or_labels.array)
        if isinstance(image_or_labels, LabelMap)
        else to_storable_dtype(image_or_labels.array)
    )
    grid = image_or_labels.grid
    import nibabel

    header = nibabel.Nifti1Header()
    matrix = grid.matrix
    if grid.dims == 2:
        array = array.swapaxes(0, 1)[:, :, None]
        matrix = np.eye(4)
        matrix[:2, [1, 0, 3]] = FLAT_TO_WORLD @ grid.matrix[:2]
        header["descrip"] = FLAT_MARK if grid.has_spacing else FLAT_PIXEL_MARK
    if max(array.shape) > 32767:
        raise FormatError(f"{str(path)!r}: NIfTI holds at most 32,767 voxels an axis, but the shape is {array.shape}.")
    image = nibabel.Nifti1Image(array, matrix, header)
    image.header.set_data_dtype(array.dtype)
    image.set_sform(matrix, code=2)
    if has_orthogonal_axes(grid) and grid.dims == 3:
        image.set_qform(matrix, code=2)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def has_orthogonal_axes(grid: Grid) -> bool:
    """Tell whether the axes are orthogonal, which is all that a qform can represent."""
    d = grid.directions
    return bool(np.allclose(d.T @ d, np.eye(grid.dims), atol=1e-6))


def to_storable_dtype(array: NDArray[Any]) -> NDArray[Any]:
    """Convert values to a type that every NIfTI reader knows."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype in (np.int64, np.uint64) and array.size and array.min() >= -(2**31) and array.max() < 2**31:
        return array.astype(np.int32)
    return array


THIS = Format((".nii", ".nii.gz"), can_read, read, None, write, list_items, read_spec=read_spec)
