"""MetaImage and NRRD, the formats of ITK and 3D Slicer, read and written by SimpleITK."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, need
from ..file_errors import MOST_TIMES_SMALLER, check_promise, damage_told, first_bytes, smallest_unsigned
from ..grid import Grid, as_rows
from ..types import Image, LabelMap
from ._format import Format

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
READERS = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}
LONGEST_HEADER = 2**16
BYTES = {"char": 1, "short": 2, "int": 4, "long": 8, "long long": 8, "float": 4, "double": 8, "block": 1}
BYTES |= {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}
BYTES |= {"int8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8, "longlong": 8, "long_long": 8}


def claims(path: Path) -> bool:
    """Tell whether a file begins as a MetaImage or NRRD header does."""
    return kind_of(path) != ""


def kind_of(path: Path) -> str:
    """Detect ``NRRD`` or ``MetaImage`` by the first bytes; empty for anything else."""
    start = first_bytes(path, 256)
    if start[:7] == b"NRRD000":
        return "NRRD"
    keys = (b"ObjectType", b"NDims", b"Comment")
    return "MetaImage" if start.startswith(keys) and b"=" in start.split(b"\n")[0] else ""


def read(path: Path, item: str = "") -> Image:
    """Read a volume; vectors become channels, and the affine is converted from LPS to RAS."""
    del item
    sitk = need("SimpleITK", extra="itk")
    with damage_told(path, "an ITK image"):
        kind = kind_of(path)
        if not kind:
            raise FormatError(f"{str(path)!r} begins neither as MetaImage nor as NRRD. Was it copied whole?")
        check_data(path, kind)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO(READERS[kind])
        found = quietly(sitk, reader)
        values: NDArray[Any] = sitk.GetArrayFromImage(found)
        dims, channels = found.GetDimension(), found.GetNumberOfComponentsPerPixel()
        order = (*range(dims - 1, -1, -1), *([dims] if channels > 1 else []))
        array = values.transpose(order)
        matrix = affine_of(found)
        return placed(path, array, matrix, channels)


def quietly(sitk: Any, reader: Any) -> Any:
    """Read without ITK's warnings on the terminal."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return reader.Execute()


def affine_of(found: Any) -> NDArray[np.float64]:
    """Give the RAS affine of the first three axes of an ITK image."""
    n = found.GetDimension()
    direction = np.reshape(found.GetDirection(), (n, n)) * np.array(found.GetSpacing())
    matrix = np.eye(4)
    m = min(n, 3)
    matrix[:m, :m] = direction[:m, :m]
    matrix[:m, 3] = found.GetOrigin()[:m]
    return TO_RAS @ matrix


def placed(path: Path, array: NDArray[Any], matrix: NDArray[np.float64], channels: int) -> Image:
    """Convert an array of 2, 3 or 4 axes to an image on its grid; a fourth axis becomes the channels."""
    dims = array.ndim - (channels > 1)
    told: list[str] = []
    if dims == 2:
        told.append("It is a flat picture: its columns lie to the left and its rows to the back.")
        array = array[:, :, None]
    elif dims == 4 and channels == 1:
        told.append(f"Its fourth axis holds {array.shape[3]} volumes: the channels.")
        array = array if array.shape[3] > 1 else array[..., 0]
    elif dims != 3:
        raise FormatError(f"{str(path)!r} has {dims} axes of {channels} values each. Take it apart into volumes first.")
    return Image(np.ascontiguousarray(array), Grid(array.shape[:3], as_rows(matrix)), None, {}, tuple(told))


def check_data(path: Path, kind: str) -> None:
    """Raise unless the data file that a header names exists and holds as many bytes as declared.

    ITK would fill missing data with whatever lies in memory.
    """
    raw = first_bytes(path, LONGEST_HEADER)
    header, inside = split_header(path, raw, kind)
    shape, each = promised(path, header, kind)
    wanted = math.prod(shape) * each
    name = header.get("elementdatafile" if kind == "MetaImage" else "datafile", header.get("data file", "LOCAL"))
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
        check_promise(path, math.prod(shape), there)
        return
    check_promise(path, wanted, there, packed=packed)
    if packed:
        check_unpacked(path, data, skip, wanted, gzipped=kind == "NRRD")


def check_unpacked(path: Path, data: Path, skip: int, wanted: int, *, gzipped: bool) -> None:
    """Raise unless compressed data decompress to the expected size; only one piece is in memory at a time."""
    engine = zlib.decompressobj(zlib.MAX_WBITS | (16 if gzipped else 32))
    n = 0
    with data.open("rb") as file:
        file.seek(skip)
        while not engine.eof and n <= wanted and (piece := engine.unconsumed_tail or file.read(2**16)):
            n += len(engine.decompress(piece, 2**16 * MOST_TIMES_SMALLER // 16))
    if n < wanted or not engine.eof:
        raise FormatError(
            f"{str(path)!r} unpacks to {n:,} bytes, but promises {wanted:,}. Copy it again: it is cut off."
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


def promised(path: Path, header: dict[str, str], kind: str) -> tuple[list[int], int]:
    """Give the shape that a header declares, channels included, and the bytes of each value."""
    sizes = header.get("dimsize" if kind == "MetaImage" else "sizes", "")
    word = header.get("elementtype" if kind == "MetaImage" else "type", "").lower()
    word = word.removeprefix("met_").removesuffix("_array").removeprefix("unsigned ").removeprefix("signed ")
    each = BYTES.get(word, BYTES.get(word.removeprefix("u"), 0))
    shape = [int(v) for v in sizes.split()] if re.fullmatch(r"[0-9 \t]{1,200}", sizes) else []
    channels = header.get("elementnumberofchannels", "1")
    if kind == "MetaImage" and channels.isdecimal():
        shape.append(int(channels))
    if not shape or min(shape) < 1 or not each:
        raise FormatError(f"{str(path)!r} promises {sizes[:40]!r} values of type {word[:20]!r}. Copy it again.")
    return shape, each


def write(path: Path, thing: Image | LabelMap) -> None:
    """Write a volume with lossless compression; channels become vectors."""
    sitk = need("SimpleITK", extra="itk")
    if thing.grid.dims != 3:
        raise FormatError(f"{str(path)!r} cannot hold a flat picture. Use .png or .tiff.")
    array = smallest_unsigned(thing.array) if isinstance(thing, LabelMap) else thing.array
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    is_vector = array.ndim > 3
    turned = np.ascontiguousarray(array.transpose(2, 1, 0, *([3] if is_vector else [])))
    image = sitk.GetImageFromArray(turned, isVector=is_vector)
    d = TO_RAS[:3, :3] @ thing.grid.directions
    if not np.allclose(d.T @ d, np.eye(3), atol=1e-5):
        raise FormatError(f"{str(path)!r} cannot hold a sheared grid. Use .nii.gz.")
    image.SetDirection(d.ravel().tolist())
    image.SetSpacing(thing.grid.spacing)
    image.SetOrigin((TO_RAS @ thing.grid.matrix)[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=path.suffix.lower() in (".mha", ".nrrd"))


THIS = Format((".mha", ".mhd", ".nrrd", ".nhdr"), claims, read, None, write, extra="itk")
