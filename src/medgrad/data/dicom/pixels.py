"""Decode DICOM pixels, with checks against the header before and after decoding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames, parse_fragments
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import UID

from ...errors import FormatError
from ..file_errors import MOST_PIXELS, MOST_TIMES_SMALLER, damage_told
from .codec_process import Packed, decoded_apart
from .elements import UNDEFINED
from .file import PIXELS, Meanings, as_stored, number, open_dicom, tag_of, word
from .native_pixels import Shape, is_simple, segments_of, stored, unpacked_runs

GREY, COLOUR = (
    ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"),
    ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
)
BITS = (1, 8, 16, 32, 64)
RLE = "1.2.840.10008.1.2.5"
SYNTAXES = Meanings()
ITEM = b"\xfe\xff\x00\xe0"
FREE_BYTES = 2**28  # what a packed file may unpack to however small it is
MOST_FRAMES = 20_000
MOST_PADDING = 1024
JPEG_FRAMES = {0xC0: "JPEG", 0xC1: "JPEG", 0xC2: "JPEG", 0xC3: "lossless JPEG", 0xF7: "JPEG-LS"}
CODECS = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.57": "lossless JPEG",
    "1.2.840.10008.1.2.4.70": "lossless JPEG",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "JPEG 2000",
    "1.2.840.10008.1.2.4.202": "JPEG 2000",
    "1.2.840.10008.1.2.4.203": "JPEG 2000",
    RLE: "RLE",
}


def stored_pixels(path: Path | str) -> NDArray[Any]:
    """Read the pixels of a file without rescaling: (frames, rows, columns, samples), without axes of length one."""
    path = Path(path)
    found = pixels_of(path, open_dicom(path))
    return found if found.flags.writeable else found.copy()


def pixels_of(path: Path, source: Dataset, shape: Shape | None = None) -> NDArray[Any]:
    """Decode the pixels of a dataset; ``shape`` is its checked pixel format."""
    with damage_told(path, "DICOM pixels"):
        shape = shape or promised_by(path, source)
        return next(every_pixels([(path, source, shape)]))


def every_pixels(files: Sequence[tuple[Path, Dataset, Shape]]) -> Iterator[NDArray[Any]]:
    """Decode the pixels of checked files, and yield them in order.

    Files that need a C decoder go to a separate process, many at a time.
    """
    for is_packed, some in groupby(files, key=lambda f: codec_of(f[0], f[1]) not in ("", "RLE")):
        group = list(some)
        if not is_packed:
            for path, source, shape in group:
                with damage_told(path, "DICOM pixels"):
                    array = decoded_here(source, shape, syntax_of(path, source))
                    yield as_promised(path, array, shape)
            continue
        sizes = [shape.frames * shape.frame_bits // 8 for _, _, shape in group]
        arrays = decoded_apart([packed(*one) for one in group], sizes)
        for (path, _, shape), array in zip(group, arrays, strict=True):
            yield as_promised(path, array, shape)


def codec_of(path: Path, source: Dataset) -> str:
    """Give the name of the codec of a file's pixels; empty where they are uncompressed."""
    return CODECS.get(str(syntax_of(path, source)), "")


def promised_by(path: Path, source: Dataset) -> Shape:
    """Read the pixel format from the header, and raise unless the file's pixel data fit it."""
    shape = shape_of(path, source)
    check_pixels(path, source, shape)
    return replace(shape, is_simple=is_simple(source, shape))


def check_pixels(path: Path, source: Dataset, shape: Shape) -> None:
    """Raise unless the pixel data of a file fit its header."""
    syntax = syntax_of(path, source)
    if tag_of("PixelData") not in source:
        return
    data, has_length = pixel_bytes(source)
    if not isinstance(data, bytes):
        raise FormatError(f"{str(path)!r} has no bytes of pixel data. Copy it again: it is cut off.")
    if syntax.is_encapsulated:
        check_packed(path, data, shape, syntax)
    else:
        check_plain(path, data, shape, has_length=has_length)


def shape_of(path: Path, source: Dataset, *, pixels: bool = True) -> Shape:
    """Read the pixel format from the header, or raise if it is invalid.

    ``pixels`` says that the pixel data were read too.
    """
    if pixels and not any(tag_of(name) in source for name in PIXELS):
        raise FormatError(
            f"{str(path)!r} holds no pixels ({word(source, 'Modality') or 'no modality'}). Give an image."
        )

    def whole(name: str, usual: float | None = None) -> int:
        value = number(source, name)
        value = usual if value is None else value
        if value is None or value != int(value):
            raise FormatError(f"{str(path)!r} gives {name} as {value}. Copy it again: its header is damaged.")
        return int(value)

    is_float = pixels and tag_of("PixelData") not in source
    bits = whole("BitsAllocated", 64 if "DoubleFloatPixelData" in source else 32 if is_float else None)
    stored = whole("BitsStored", bits)
    found = Shape(
        max(whole("NumberOfFrames", 1), 1) if whole("NumberOfFrames", 1) >= 0 else -1,
        whole("Rows"),
        whole("Columns"),
        whole("SamplesPerPixel", 1),
        bits,
        stored,
        whole("PixelRepresentation", 0) == 1,
        word(source, "PhotometricInterpretation"),
    )
    high = whole("HighBit", stored - 1)
    kinds = {1: GREY, 3: COLOUR}.get(found.samples, ())
    wrong = [
        *([f"Rows {found.rows}"] if found.rows < 1 else []),
        *([f"Columns {found.columns}"] if found.columns < 1 else []),
        *([f"NumberOfFrames {found.frames}"] if found.frames < 1 else []),
        *([f"BitsAllocated {bits}"] if bits not in BITS else []),
        *([f"BitsStored {stored}"] if not 1 <= stored <= bits else []),
        *([f"HighBit {high}"] if not is_float and high != stored - 1 else []),
        *([f"{found.samples} samples of {found.photometric!r}"] if found.photometric not in kinds else []),
    ]
    if wrong:
        raise FormatError(f"{str(path)!r} has a header that cannot be: {', '.join(wrong)}. Copy it again.")
    if found.frames > MOST_FRAMES:
        raise FormatError(
            f"{str(path)!r} promises {found.frames:,} frames, more than the {MOST_FRAMES:,} that are read."
        )
    if found.rows * found.columns > MOST_PIXELS:
        raise FormatError(f"{str(path)!r} promises {found.rows} x {found.columns} pixels, more than are read at once.")
    return found


def syntax_of(path: Path, source: Dataset) -> UID:
    """Give the transfer syntax; a file without one gets the uncompressed one that it was read by."""
    meta = getattr(source, "file_meta", None)
    said = syntax_said(meta) if meta is not None else ""
    if said:
        syntax = syntax_named(said)
        if syntax is None:
            raise FormatError(f"{str(path)!r} names a transfer syntax that is not known: {said[:64]!r}.")
        return syntax
    if meta is None:
        source.file_meta = meta = pydicom.dataset.FileMetaDataset()
    implicit, little = source.original_encoding
    plain = {(True, True): UID("1.2.840.10008.1.2"), (False, True): UID("1.2.840.10008.1.2.1")}
    meta.TransferSyntaxUID = plain.get((bool(implicit), bool(little)), UID("1.2.840.10008.1.2.2"))
    return UID(meta.TransferSyntaxUID)


def syntax_said(meta: Dataset) -> str:
    """Give the transfer syntax of a file as text; empty where it has none."""
    stored = as_stored(meta, "TransferSyntaxUID")
    found = SYNTAXES.get(stored) if stored is not None else None
    if found is None:
        found = str(meta.get("TransferSyntaxUID") or "").strip()
        if stored is not None:
            SYNTAXES.keep(stored, found)
    return str(found)


@cache
def syntax_named(said: str) -> UID | None:
    """Give a standard transfer syntax by its UID; None for another."""
    found = UID(said)
    return None if found.is_private or not found.is_transfer_syntax else found


def pixel_bytes(source: Dataset) -> tuple[Any, bool]:
    """Give the pixel data as stored, and whether their length is defined."""
    element = source.get_item(tag_of("PixelData"))
    if isinstance(element, RawDataElement) and element.VR in (None, "OB", "OW"):
        return element.value, element.length != UNDEFINED
    return source.PixelData, not source["PixelData"].is_undefined_length


def check_plain(path: Path, data: bytes, shape: Shape, *, has_length: bool) -> None:
    """Raise unless uncompressed pixel data have the declared length, plus at most some padding."""
    if not has_length:
        raise FormatError(f"{str(path)!r} packs its pixels, but its transfer syntax says that they are plain.")
    bits = shape.frame_bits * 2 // 3 if shape.photometric == "YBR_FULL_422" else shape.frame_bits
    wanted = math.ceil(bits * shape.frames / 8)
    if len(data) < wanted:
        raise FormatError(
            f"{str(path)!r} has {len(data):,} bytes of pixels, but its header promises {wanted:,}. "
            "Copy it again: it is cut off."
        )
    left = data[wanted:]
    if len(left) > 1 and (len(left) > MOST_PADDING or len(left) >= bits // 8 or any(left)):
        raise FormatError(
            f"{str(path)!r} has {len(data):,} bytes of pixels, but its header says {wanted:,}: "
            "which of them are the picture cannot be known. Ask for the file again."
        )


def check_packed(path: Path, data: bytes, shape: Shape, syntax: UID) -> None:
    """Raise unless every compressed frame is present, and has the declared codec and size."""
    codec = CODECS.get(str(syntax))
    if codec is None:
        raise FormatError(f"{str(path)!r} is packed as {syntax.name[:60]!r}, which is not read. Ask for it unpacked.")
    if data[:4] != ITEM:
        raise FormatError(f"{str(path)!r} says that it is packed as {codec}, but its pixels are plain.")
    n = parse_fragments(data)[0]
    promised = shape.frame_bits // 8 * shape.frames
    if n < shape.frames or promised > max(FREE_BYTES, len(data) * MOST_TIMES_SMALLER):
        raise FormatError(
            f"{str(path)!r} promises {shape.frames} frames of {shape.rows} x {shape.columns} pixels but has "
            f"{len(data):,} bytes in {n} pieces. Copy it again: it is cut off or damaged."
        )
    i = -1
    for i, frame in enumerate(generate_frames(data, number_of_frames=shape.frames)):
        check_frame(path, i, frame, shape, codec)
    if i + 1 != shape.frames:
        raise FormatError(f"{str(path)!r} promises {shape.frames} frames but has {i + 1}. Copy it again.")


def check_frame(path: Path, i: int, frame: bytes, shape: Shape, codec: str) -> None:
    """Raise unless one compressed frame begins and ends as its codec does, and has the declared size."""
    if codec == "RLE":
        check_runs(path, i, frame, shape)
        return
    found, rows, columns, samples, bits = codestream(frame)
    if found != codec:
        raise FormatError(f"{str(path)!r}, frame {i + 1}, is {found}, but its transfer syntax says {codec}.")
    if (rows, columns, samples) != (shape.rows, shape.columns, shape.samples) or not (2 <= bits <= shape.bits <= 16):
        raise FormatError(
            f"{str(path)!r}, frame {i + 1}, is {rows} x {columns} x {samples} of {bits} bits inside, but its header "
            f"says {shape.rows} x {shape.columns} x {shape.samples} of {shape.bits}. Ask for the file again."
        )
    if b"\xff\xd9" not in frame[-16:]:
        raise FormatError(f"{str(path)!r}, frame {i + 1}, does not end as {codec} does. Copy it again: it is cut off.")


def check_runs(path: Path, i: int, frame: bytes, shape: Shape) -> None:
    """Raise unless each segment of an RLE frame decodes to one byte per pixel."""
    if segments_of(frame, shape) is not None:
        return
    n = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[k : k + 4], "little") for k in range(4, 4 + 4 * min(n, 15), 4)]
    lengths = [unpacked_length(frame[a:b]) for a, b in pairwise([*starts, len(frame)])]
    wanted = shape.rows * shape.columns
    if n != shape.bits // 8 * shape.samples or min(starts) < 64 or not all(0 <= k - wanted <= 1 for k in lengths):
        raise FormatError(
            f"{str(path)!r}, frame {i + 1}, unpacks from RLE to {lengths[:4]} bytes in {n} parts, but {wanted} in "
            f"{shape.bits // 8 * shape.samples} were promised. Copy it again: it is damaged."
        )


def unpacked_length(runs: bytes) -> int:
    """Give the decoded length of a PackBits segment in bytes; a lone last byte is padding.

    >>> unpacked_length(bytes([2, 7, 8, 9, 254, 5, 0]))
    6
    """
    at = n = 0
    while at + 1 < len(runs):
        head = runs[at]
        if head < 128:
            n += min(head + 1, len(runs) - at - 1)
            at += head + 2
        elif head > 128:
            n += 257 - head
            at += 2
        else:
            at += 1
    return n


def codestream(frame: bytes) -> tuple[str, int, int, int, int]:
    """Parse codec, rows, columns, samples and bits from a compressed frame.

    >>> codestream(b"no picture")
    ('of no known kind', 0, 0, 0, 0)
    """
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) > 43:
        size = [int.from_bytes(frame[i : i + 4], "big") for i in (8, 12, 16, 20)]
        bits = max((frame[42 + 3 * c] & 0x7F) + 1 for c in range((len(frame) - 42) // 3)[: frame[41]] or [0])
        return "JPEG 2000", size[1] - size[3], size[0] - size[2], int.from_bytes(frame[40:42], "big"), bits
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 10 <= len(frame):
        if frame[at] != 0xFF:
            break
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if marker in JPEG_FRAMES:
            rows, columns = int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(frame[at + 7 : at + 9], "big")
            return JPEG_FRAMES[marker], rows, columns, frame[at + 9], frame[at + 4]
        at += 2 + max(length, 2)
    return "of no known kind", 0, 0, 0, 0


def decoded_here(source: Dataset, shape: Shape, syntax: UID) -> NDArray[Any]:
    """Decode pixels that need no C decoder, in this process."""
    array = unpacked_runs(source, shape) if syntax == RLE else stored(source, shape, syntax)
    return plain_pixels(source, shape, syntax) if array is None else array


def packed(path: Path, source: Dataset, shape: Shape) -> Packed:
    """Give the compressed pixels and decoder options of a file."""
    with damage_told(path, "DICOM pixels"):
        options = {**options_of(source, shape), "transfer_syntax": str(syntax_of(path, source))}
        return Packed(path, options, source.PixelData)


def as_promised(path: Path, array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Give a decoded array, or raise if its shape is not the declared one."""
    wanted = (
        [n for n in (shape.frames,) if n > 1] + [shape.rows, shape.columns] + [n for n in (shape.samples,) if n > 1]
    )
    if list(array.shape) != wanted:
        raise FormatError(f"{str(path)!r} unpacks to {array.shape}, not {tuple(wanted)}. Copy it again: it is damaged.")
    return array


def options_of(source: Dataset, shape: Shape) -> dict[str, Any]:
    """Give the decoder options of a file as plain values."""
    if shape.is_simple and tag_of("ExtendedOffsetTable") not in source:
        return {
            "samples_per_pixel": 1, "photometric_interpretation": shape.photometric, "rows": shape.rows,
            "columns": shape.columns, "bits_allocated": shape.bits, "bits_stored": shape.bits_stored,
            "pixel_representation": int(shape.signed), "number_of_frames": shape.frames,
        }  # fmt: skip
    if source.get("NumberOfFrames") is not None and shape.frames == 1:
        source.NumberOfFrames = 1
    found = as_pixel_options(source)
    found = {name: value if isinstance(value, int | float) else str(value) for name, value in found.items()
             if value is not None and name != "extended_offsets"}  # fmt: skip
    if "ExtendedOffsetTable" in source:
        tables = source.ExtendedOffsetTable, source.ExtendedOffsetTableLengths
        found["extended_offsets"] = [t.hex() for t in tables]
    return found


def plain_pixels(source: Dataset, shape: Shape, syntax: UID) -> NDArray[Any]:
    """Decode uncompressed or RLE pixels with pydicom."""
    if source.get("NumberOfFrames") is not None and shape.frames == 1:
        source.NumberOfFrames = 1
    if syntax == RLE:  # the faster decoder panics at damaged data
        source.pixel_array_options(decoding_plugin="pydicom")
    array: NDArray[Any] = source.pixel_array
    return array
