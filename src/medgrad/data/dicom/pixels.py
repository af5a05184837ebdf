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
from ..file_errors import MAX_COMPRESSION, MAX_PIXELS, as_format_error
from .codec_process import CompressedPixels, decode_in_processes
from .elements import UNDEFINED
from .native_pixels import PixelFormat, decode_rle, decode_rle_segments, is_simple_grey, view_uncompressed
from .read_dataset import (
    PIXEL_KEYWORDS,
    ElementValueCache,
    get_number,
    get_text,
    keyword_tag,
    open_dicom,
    stored_element,
)

GREY, COLOUR = (
    ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"),
    ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
)
BITS_ALLOCATED = (1, 8, 16, 32, 64)
RLE_SYNTAX = "1.2.840.10008.1.2.5"
SYNTAX_CACHE = ElementValueCache()
ITEM_TAG = b"\xfe\xff\x00\xe0"
MIN_DECODED_LIMIT = 2**28  # what a packed file may unpack to however small it is
MAX_FRAMES = 20_000
MAX_PADDING = 1024
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
    RLE_SYNTAX: "RLE",
}


def read_stored_pixels(path: Path | str) -> NDArray[Any]:
    """Read the pixels of a file without rescaling: (frames, rows, columns, samples), without axes of length one."""
    path = Path(path)
    found = decode_pixels(path, open_dicom(path))
    return found if found.flags.writeable else found.copy()


def decode_pixels(path: Path, dataset: Dataset, pixel_format: PixelFormat | None = None) -> NDArray[Any]:
    """Decode the pixels of a dataset; ``pixel_format`` is its checked pixel format."""
    with as_format_error(path, "DICOM pixels"):
        pixel_format = pixel_format or read_checked_pixel_format(path, dataset)
        return next(decode_all_pixels([(path, dataset, pixel_format)]))


def decode_all_pixels(files: Sequence[tuple[Path, Dataset, PixelFormat]]) -> Iterator[NDArray[Any]]:
    """Decode the pixels of checked files, and yield them in order.

    Files that need a C decoder go to a separate process, many at a time.
    """
    for is_packed, some in groupby(files, key=lambda f: codec_name(f[0], f[1]) not in ("", "RLE")):
        group = list(some)
        if not is_packed:
            for path, source, shape in group:
                with as_format_error(path, "DICOM pixels"):
                    array = decode_in_this_process(source, shape, transfer_syntax(path, source))
                    yield check_decoded_shape(path, array, shape)
            continue
        sizes = [shape.frames * shape.frame_bits // 8 for _, _, shape in group]
        arrays = decode_in_processes([compressed_pixels(*one) for one in group], sizes)
        for (path, _, shape), array in zip(group, arrays, strict=True):
            yield check_decoded_shape(path, array, shape)


def codec_name(path: Path, dataset: Dataset) -> str:
    """Give the name of the codec of a file's pixels; empty where they are uncompressed."""
    return CODECS.get(str(transfer_syntax(path, dataset)), "")


def read_checked_pixel_format(path: Path, dataset: Dataset) -> PixelFormat:
    """Read the pixel format from the header, and raise unless the file's pixel data fit it."""
    shape = read_pixel_format(path, dataset)
    check_pixel_data(path, dataset, shape)
    return replace(shape, is_simple=is_simple_grey(dataset, shape))


def check_pixel_data(path: Path, dataset: Dataset, pixel_format: PixelFormat) -> None:
    """Raise unless the pixel data of a file fit its header."""
    syntax = transfer_syntax(path, dataset)
    if keyword_tag("PixelData") not in dataset:
        return
    data, has_length = get_pixel_bytes(dataset)
    if not isinstance(data, bytes):
        raise FormatError(f"{str(path)!r} has no bytes of pixel data. Copy it again: it is cut off.")
    if syntax.is_encapsulated:
        check_compressed(path, data, pixel_format, syntax)
    else:
        check_uncompressed(path, data, pixel_format, has_length=has_length)


def read_pixel_format(path: Path, dataset: Dataset, *, with_pixels: bool = True) -> PixelFormat:
    """Read the pixel format from the header, or raise if it is invalid.

    ``with_pixels`` says that the pixel data were read too.
    """
    if with_pixels and not any(keyword_tag(name) in dataset for name in PIXEL_KEYWORDS):
        raise FormatError(
            f"{str(path)!r} holds no pixels ({get_text(dataset, 'Modality') or 'no modality'}). Give an image."
        )

    def read_integer(name: str, usual: float | None = None) -> int:
        value = get_number(dataset, name)
        value = usual if value is None else value
        if value is None or value != int(value):
            raise FormatError(f"{str(path)!r} gives {name} as {value}. Copy it again: its header is damaged.")
        return int(value)

    is_float = with_pixels and keyword_tag("PixelData") not in dataset
    bits = read_integer("BitsAllocated", 64 if "DoubleFloatPixelData" in dataset else 32 if is_float else None)
    stored = read_integer("BitsStored", bits)
    found = PixelFormat(
        max(read_integer("NumberOfFrames", 1), 1) if read_integer("NumberOfFrames", 1) >= 0 else -1,
        read_integer("Rows"),
        read_integer("Columns"),
        read_integer("SamplesPerPixel", 1),
        bits,
        stored,
        read_integer("PixelRepresentation", 0) == 1,
        get_text(dataset, "PhotometricInterpretation"),
    )
    high = read_integer("HighBit", stored - 1)
    kinds = {1: GREY, 3: COLOUR}.get(found.samples, ())
    wrong = [
        *([f"Rows {found.rows}"] if found.rows < 1 else []),
        *([f"Columns {found.columns}"] if found.columns < 1 else []),
        *([f"NumberOfFrames {found.frames}"] if found.frames < 1 else []),
        *([f"BitsAllocated {bits}"] if bits not in BITS_ALLOCATED else []),
        *([f"BitsStored {stored}"] if not 1 <= stored <= bits else []),
        *([f"HighBit {high}"] if not is_float and high != stored - 1 else []),
        *([f"{found.samples} samples of {found.photometric!r}"] if found.photometric not in kinds else []),
    ]
    if wrong:
        raise FormatError(f"{str(path)!r} has a header that cannot be: {', '.join(wrong)}. Copy it again.")
    if found.frames > MAX_FRAMES:
        raise FormatError(
            f"{str(path)!r} promises {found.frames:,} frames, more than the {MAX_FRAMES:,} that are read."
        )
    if found.rows * found.columns > MAX_PIXELS:
        raise FormatError(f"{str(path)!r} promises {found.rows} x {found.columns} pixels, more than are read at once.")
    return found


def transfer_syntax(path: Path, dataset: Dataset) -> UID:
    """Give the transfer syntax; a file without one gets the uncompressed one that it was read by."""
    meta = getattr(dataset, "file_meta", None)
    said = transfer_syntax_text(meta) if meta is not None else ""
    if said:
        syntax = standard_syntax(said)
        if syntax is None:
            raise FormatError(f"{str(path)!r} names a transfer syntax that is not known: {said[:64]!r}.")
        return syntax
    if meta is None:
        dataset.file_meta = meta = pydicom.dataset.FileMetaDataset()
    implicit, little = dataset.original_encoding
    plain = {(True, True): UID("1.2.840.10008.1.2"), (False, True): UID("1.2.840.10008.1.2.1")}
    meta.TransferSyntaxUID = plain.get((bool(implicit), bool(little)), UID("1.2.840.10008.1.2.2"))
    return UID(meta.TransferSyntaxUID)


def transfer_syntax_text(meta: Dataset) -> str:
    """Give the transfer syntax of a file as text; empty where it has none."""
    stored = stored_element(meta, "TransferSyntaxUID")
    found = SYNTAX_CACHE.get(stored) if stored is not None else None
    if found is None:
        found = str(meta.get("TransferSyntaxUID") or "").strip()
        if stored is not None:
            SYNTAX_CACHE.add(stored, found)
    return str(found)


@cache
def standard_syntax(text: str) -> UID | None:
    """Give a standard transfer syntax by its UID; None for another."""
    found = UID(text)
    return None if found.is_private or not found.is_transfer_syntax else found


def get_pixel_bytes(dataset: Dataset) -> tuple[Any, bool]:
    """Give the pixel data as stored, and whether their length is defined."""
    element = dataset.get_item(keyword_tag("PixelData"))
    if isinstance(element, RawDataElement) and element.VR in (None, "OB", "OW"):
        return element.value, element.length != UNDEFINED
    return dataset.PixelData, not dataset["PixelData"].is_undefined_length


def check_uncompressed(path: Path, data: bytes, pixel_format: PixelFormat, *, has_length: bool) -> None:
    """Raise unless uncompressed pixel data have the declared length, plus at most some padding."""
    if not has_length:
        raise FormatError(f"{str(path)!r} packs its pixels, but its transfer syntax says that they are plain.")
    bits = pixel_format.frame_bits * 2 // 3 if pixel_format.photometric == "YBR_FULL_422" else pixel_format.frame_bits
    wanted = math.ceil(bits * pixel_format.frames / 8)
    if len(data) < wanted:
        raise FormatError(
            f"{str(path)!r} has {len(data):,} bytes of pixels, but its header promises {wanted:,}. "
            "Copy it again: it is cut off."
        )
    left = data[wanted:]
    if len(left) > 1 and (len(left) > MAX_PADDING or len(left) >= bits // 8 or any(left)):
        raise FormatError(
            f"{str(path)!r} has {len(data):,} bytes of pixels, but its header says {wanted:,}: "
            "which of them are the picture cannot be known. Ask for the file again."
        )


def check_compressed(path: Path, data: bytes, pixel_format: PixelFormat, syntax: UID) -> None:
    """Raise unless every compressed frame is present, and has the declared codec and size."""
    codec = CODECS.get(str(syntax))
    if codec is None:
        raise FormatError(f"{str(path)!r} is packed as {syntax.name[:60]!r}, which is not read. Ask for it unpacked.")
    if data[:4] != ITEM_TAG:
        raise FormatError(f"{str(path)!r} says that it is packed as {codec}, but its pixels are plain.")
    n = parse_fragments(data)[0]
    promised = pixel_format.frame_bits // 8 * pixel_format.frames
    if n < pixel_format.frames or promised > max(MIN_DECODED_LIMIT, len(data) * MAX_COMPRESSION):
        raise FormatError(
            f"{str(path)!r} promises {pixel_format.frames} frames of {pixel_format.rows} x "
            f"{pixel_format.columns} pixels but has "
            f"{len(data):,} bytes in {n} pieces. Copy it again: it is cut off or damaged."
        )
    i = -1
    for i, frame in enumerate(generate_frames(data, number_of_frames=pixel_format.frames)):
        check_compressed_frame(path, i, frame, pixel_format, codec)
    if i + 1 != pixel_format.frames:
        raise FormatError(f"{str(path)!r} promises {pixel_format.frames} frames but has {i + 1}. Copy it again.")


def check_compressed_frame(path: Path, frame_index: int, frame: bytes, pixel_format: PixelFormat, codec: str) -> None:
    """Raise unless one compressed frame begins and ends as its codec does, and has the declared size."""
    if codec == "RLE":
        check_rle_frame(path, frame_index, frame, pixel_format)
        return
    found, rows, columns, samples, bits = parse_codestream(frame)
    if found != codec:
        raise FormatError(f"{str(path)!r}, frame {frame_index + 1}, is {found}, but its transfer syntax says {codec}.")
    if (rows, columns, samples) != (pixel_format.rows, pixel_format.columns, pixel_format.samples) or not (
        2 <= bits <= pixel_format.bits <= 16
    ):
        raise FormatError(
            f"{str(path)!r}, frame {frame_index + 1}, is {rows} x {columns} x {samples} of {bits} bits "
            "inside, but its header "
            f"says {pixel_format.rows} x {pixel_format.columns} x {pixel_format.samples} of "
            f"{pixel_format.bits}. Ask for the file again."
        )
    if b"\xff\xd9" not in frame[-16:]:
        raise FormatError(
            f"{str(path)!r}, frame {frame_index + 1}, does not end as {codec} does. Copy it again: it is cut off."
        )


def check_rle_frame(path: Path, frame_index: int, frame: bytes, pixel_format: PixelFormat) -> None:
    """Raise unless each segment of an RLE frame decodes to one byte per pixel."""
    if decode_rle_segments(frame, pixel_format) is not None:
        return
    n = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[k : k + 4], "little") for k in range(4, 4 + 4 * min(n, 15), 4)]
    lengths = [packbits_length(frame[a:b]) for a, b in pairwise([*starts, len(frame)])]
    wanted = pixel_format.rows * pixel_format.columns
    if (
        n != pixel_format.bits // 8 * pixel_format.samples
        or min(starts) < 64
        or not all(0 <= k - wanted <= 1 for k in lengths)
    ):
        raise FormatError(
            f"{str(path)!r}, frame {frame_index + 1}, unpacks from RLE to {lengths[:4]} bytes in {n} "
            f"parts, but {wanted} in "
            f"{pixel_format.bits // 8 * pixel_format.samples} were promised. Copy it again: it is damaged."
        )


def packbits_length(packbits: bytes) -> int:
    """Give the decoded length of a PackBits segment in bytes; a lone last byte is padding.

    >>> packbits_length(bytes([2, 7, 8, 9, 254, 5, 0]))
    6
    """
    at = n = 0
    while at + 1 < len(packbits):
        head = packbits[at]
        if head < 128:
            n += min(head + 1, len(packbits) - at - 1)
            at += head + 2
        elif head > 128:
            n += 257 - head
            at += 2
        else:
            at += 1
    return n


def parse_codestream(frame: bytes) -> tuple[str, int, int, int, int]:
    """Parse codec, rows, columns, samples and bits from a compressed frame.

    >>> parse_codestream(b"no picture")
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


def decode_in_this_process(dataset: Dataset, pixel_format: PixelFormat, syntax: UID) -> NDArray[Any]:
    """Decode pixels that need no C decoder, in this process."""
    array = (
        decode_rle(dataset, pixel_format) if syntax == RLE_SYNTAX else view_uncompressed(dataset, pixel_format, syntax)
    )
    return decode_with_pydicom(dataset, pixel_format, syntax) if array is None else array


def compressed_pixels(path: Path, dataset: Dataset, pixel_format: PixelFormat) -> CompressedPixels:
    """Give the compressed pixels and decoder options of a file."""
    with as_format_error(path, "DICOM pixels"):
        options = {**decoder_options(dataset, pixel_format), "transfer_syntax": str(transfer_syntax(path, dataset))}
        return CompressedPixels(path, options, dataset.PixelData)


def check_decoded_shape(path: Path, array: NDArray[Any], pixel_format: PixelFormat) -> NDArray[Any]:
    """Give a decoded array, or raise if its shape is not the declared one."""
    frames, samples = ([n for n in (count,) if n > 1] for count in (pixel_format.frames, pixel_format.samples))
    wanted = [*frames, pixel_format.rows, pixel_format.columns, *samples]
    if list(array.shape) != wanted:
        raise FormatError(f"{str(path)!r} unpacks to {array.shape}, not {tuple(wanted)}. Copy it again: it is damaged.")
    return array


def decoder_options(dataset: Dataset, pixel_format: PixelFormat) -> dict[str, Any]:
    """Give the decoder options of a file as plain values."""
    if pixel_format.is_simple and keyword_tag("ExtendedOffsetTable") not in dataset:
        return {
            "samples_per_pixel": 1, "photometric_interpretation": pixel_format.photometric,
            "rows": pixel_format.rows, "columns": pixel_format.columns, "bits_allocated": pixel_format.bits,
            "bits_stored": pixel_format.bits_stored, "pixel_representation": int(pixel_format.is_signed),
            "number_of_frames": pixel_format.frames,
        }  # fmt: skip
    if dataset.get("NumberOfFrames") is not None and pixel_format.frames == 1:
        dataset.NumberOfFrames = 1
    found = as_pixel_options(dataset)
    found = {n: v for n, v in found.items() if v is not None and n != "extended_offsets"}
    found = {name: value if isinstance(value, int | float) else str(value) for name, value in found.items()}
    if "ExtendedOffsetTable" in dataset:
        tables = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
        found["extended_offsets"] = [t.hex() for t in tables]
    return found


def decode_with_pydicom(dataset: Dataset, pixel_format: PixelFormat, syntax: UID) -> NDArray[Any]:
    """Decode uncompressed or RLE pixels with pydicom."""
    if dataset.get("NumberOfFrames") is not None and pixel_format.frames == 1:
        dataset.NumberOfFrames = 1
    if syntax == RLE_SYNTAX:  # the faster decoder panics at damaged data
        dataset.pixel_array_options(decoding_plugin="pydicom")
    array: NDArray[Any] = dataset.pixel_array
    return array
