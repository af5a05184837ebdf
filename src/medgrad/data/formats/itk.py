"""MetaImage and NRRD, the formats of ITK and 3D Slicer, read and written by SimpleITK."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, require_package
from ..file_errors import MAX_COMPRESSION, as_format_error, check_byte_count, read_first_bytes, to_smallest_unsigned
from ..grid import Grid, matrix_to_tuples
from ..types import Image, LabelMap
from ._format import Format

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
IMAGE_IO = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}
LONGEST_HEADER = 2**16
BYTES_PER_TYPE = {"char": 1, "short": 2, "int": 4, "long": 8, "long long": 8, "float": 4, "double": 8, "block": 1}
BYTES_PER_TYPE |= {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}
BYTES_PER_TYPE |= {"int8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8, "longlong": 8, "long_long": 8}


def can_read(path: Path) -> bool:
    """Tell whether a file begins as a MetaImage or NRRD header does."""
    return kind_of(path) != ""


def kind_of(path: Path) -> str:
    """Detect ``NRRD`` or ``MetaImage`` by the first bytes; empty for anything else."""
    start = read_first_bytes(path, 256)
    if start[:7] == b"NRRD000":
        return "NRRD"
    keys = (b"ObjectType", b"NDims", b"Comment")
    return "MetaImage" if start.startswith(keys) and b"=" in start.split(b"\n")[0] else ""


def read(path: Path, item: str = "") -> Image:
    """Read a volume; vectors become channels, and the affine is converted from LPS to RAS."""
    del item
    sitk = require_package("SimpleITK", extra="itk")
    with as_format_error(path, "an ITK image"):
        kind = kind_of(path)
        if not kind:
            raise FormatError(f"{str(path)!r} begins neither as MetaImage nor as NRRD. Was it copied whole?")
        check_data(path, kind)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO(IMAGE_IO[kind])
        found = read_without_warnings(sitk, reader)
        values: NDArray[Any] = sitk.GetArrayFromImage(found)
        dims, channels = found.GetDimension(), found.GetNumberOfComponentsPerPixel()
        order = (*range(dims - 1, -1, -1), *([dims] if channels > 1 else []))
        array = values.transpose(order)
        matrix = read_affine(found)
        return array_to_image(path, array, matrix, channels)


def read_without_warnings(sitk: Any, reader: Any) -> Any:
    """Read without ITK's warnings on the terminal."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return reader.Execute()


def read_affine(sitk_image: Any) -> NDArray[np.float64]:
    """Give the RAS affine of the first three axes of an ITK image."""
    n = sitk_image.GetDimension()
    direction = np.reshape(sitk_image.GetDirection(), (n, n)) * np.array(sitk_image.GetSpacing())
    matrix = np.eye(4)
    m = min(n, 3)
    matrix[:m, :m] = direction[:m, :m]
    matrix[:m, 3] = sitk_image.GetOrigin()[:m]
    return TO_RAS @ matrix


def array_to_image(path: Path, array: NDArray[Any], affine: NDArray[np.float64], channels: int) -> Image:
    """Convert an array of 2, 3 or 4 axes to an image on its grid; a fourth axis becomes the channels."""
    dims = array.ndim - (channels > 1)
    messages: list[str] = []
    if dims == 2:
        messages.append("It is a flat picture: its columns lie to the left and its rows to the back.")
        array = array[:, :, None]
    elif dims == 4 and channels == 1:
        messages.append(f"Its fourth axis holds {array.shape[3]} volumes: the channels.")
        array = array if array.shape[3] > 1 else array[..., 0]
    elif dims != 3:
        raise FormatError(f"{str(path)!r} has {dims} axes of {channels} values each. Take it apart into volumes first.")
    return Image(
        np.ascontiguousarray(array), Grid(array.shape[:3], matrix_to_tuples(affine)), None, {}, tuple(messages)
    )


def check_data(path: Path, file_kind: str) -> None:
    """Raise unless the data file that a header names exists and holds as many bytes as declared.

    ITK would fill missing data with whatever lies in memory.
    """
    raw = read_first_bytes(path, LONGEST_HEADER)
    header, inside = split_header(path, raw, file_kind)
    shape, each = declared_shape_and_bytes(path, header, file_kind)
    wanted = math.prod(shape) * each
    name = header.get("elementdatafile" if file_kind == "MetaImage" else "datafile", header.get("data file", "LOCAL"))
    local = name.upper() == "LOCAL"
    if not local and (Path(name).name != name or not (path.parent / name).is_file()):
        raise FormatError(f"{str(path)!r} keeps its values in {name[:80]!r}, which does not lie beside it.")
    data, skip = (path, inside) if local else (path.parent / name, 0)
    encoding = header.get("encoding", "raw").lower()
    packed = header.get("compresseddata", "").lower() == "true" or encoding in ("gzip", "gz")
    if encoding not in ("raw", "gzip", "gz", "txt", "text", "ascii"):
        raise FormatError(f"{str(path)!r} is packed as {encoding[:20]!r}, which is not read. Write it as gzip.")
    there = data.stat().st_size - skip
    if encoding in ("txt", "text", "ascii"):
        check_byte_count(path, math.prod(shape), there)
        return
    check_byte_count(path, wanted, there, compressed=packed)
    if packed:
        check_decompressed_size(path, data, skip, wanted, gzipped=file_kind == "NRRD")


def check_decompressed_size(path: Path, data: Path, offset: int, expected_bytes: int, *, gzipped: bool) -> None:
    """Raise unless compressed data decompress to the expected size; only one piece is in memory at a time."""
    engine = zlib.decompressobj(zlib.MAX_WBITS | (16 if gzipped else 32))
    n = 0
    with data.open("rb") as file:
        file.seek(offset)
        while not engine.eof and n <= expected_bytes and (piece := engine.unconsumed_tail or file.read(2**16)):
            n += len(engine.decompress(piece, 2**16 * MAX_COMPRESSION // 16))
    if n < expected_bytes or not engine.eof:
        raise FormatError(
            f"{str(path)!r} unpacks to {n:,} bytes, but promises {expected_bytes:,}. Copy it again: it is cut off."
        )


def split_header(path: Path, raw: bytes, kind: str) -> tuple[dict[str, str], int]:
    """Parse the fields of a header in lower case, and give the offset of the data."""
    end = re.search(rb"\r?\n\r?\n" if kind == "NRRD" else rb"(?i)ElementDataFile\s*=[^\n]*(\n|\Z)", raw)
    if end is None and kind == "MetaImage":
        raise FormatError(f"{str(path)!r} has a header without an end. Copy it again: it is cut off.")
    stop = end.end() if end else len(raw)
    fields: dict[str, str] = {}
    for line in raw[:stop].decode("latin-1").splitlines():
        key, found, value = line.partition("=" if kind == "MetaImage" else ":")
        if found and not line.startswith("#"):
            fields[key.strip().lower()] = value.lstrip("=").strip()
    return fields, stop


def declared_shape_and_bytes(path: Path, header: dict[str, str], kind: str) -> tuple[list[int], int]:
    """Give the shape that a header declares, channels included, and the bytes of each value."""
    sizes = header.get("dimsize" if kind == "MetaImage" else "sizes", "")
    word = header.get("elementtype" if kind == "MetaImage" else "type", "").lower()
    word = word.removeprefix("met_").removesuffix("_array").removeprefix("unsigned ").removeprefix("signed ")
    each = BYTES_PER_TYPE.get(word, BYTES_PER_TYPE.get(word.removeprefix("u"), 0))
    shape = [int(v) for v in sizes.split()] if re.fullmatch(r"[0-9 \t]{1,200}", sizes) else []
    channels = header.get("elementnumberofchannels", "1")
    if kind == "MetaImage" and channels.isdecimal():
        shape.append(int(channels))
    if not shape or min(shape) < 1 or not each:
        raise FormatError(f"{str(path)!r} promises {sizes[:40]!r} values of type {word[:20]!r}. Copy it again.")
    return shape, each


def write(path: Path, image_or_labels: Image | LabelMap) -> None:
    """Write a volume with lossless compression; channels become vectors."""
    sitk = require_package("SimpleITK", extra="itk")
    if image_or_labels.grid.dims != 3:
        raise FormatError(f"{str(path)!r} cannot hold a flat picture. Use .png or .tiff.")
    array = (
        to_smallest_unsigned(image_or_labels.array) if isinstance(image_or_labels, LabelMap) else image_or_labels.array
    )
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    is_vector = array.ndim > 3
    turned = np.ascontiguousarray(array.transpose(2, 1, 0, *([3] if is_vector else [])))
    image = sitk.GetImageFromArray(turned, isVector=is_vector)
    d = TO_RAS[:3, :3] @ image_or_labels.grid.directions
    if not np.allclose(d.T @ d, np.eye(3), atol=1e-5):
        raise FormatError(f"{str(path)!r} cannot hold a sheared grid. Use .nii.gz.")
    image.SetDirection(d.ravel().tolist())
    image.SetSpacing(image_or_labels.grid.spacing)
    image.SetOrigin((TO_RAS @ image_or_labels.grid.matrix)[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=path.suffix.lower() in (".mha", ".nrrd"))


THIS = Format((".mha", ".mhd", ".nrrd", ".nhdr"), can_read, read, None, write, extra="itk")
