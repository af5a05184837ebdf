"""Decode grey pixels that need no C decoder: uncompressed and RLE."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID
from rle.rle import decode_segment

from .read_dataset import get_text, keyword_tag

INTEGER_KEYWORDS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
GREY = ("MONOCHROME1", "MONOCHROME2")
MAX_UINT16 = 2**16 - 1


@dataclass(frozen=True)
class PixelFormat:
    """The pixel format that a header declares: frames, size, samples, bits and photometric interpretation."""

    frames: int
    rows: int
    columns: int
    samples: int
    bits: int
    bits_stored: int
    is_signed: bool
    photometric: str
    is_simple: bool = False  # grey, of whole bytes, and told in the kinds of value meant for it

    @property
    def frame_bits(self) -> int:
        return self.rows * self.columns * self.samples * self.bits


def view_uncompressed(dataset: Dataset, pixel_format: PixelFormat, syntax: UID) -> NDArray[Any] | None:
    """Give uncompressed grey pixels as a view of their bytes; None where pydicom must decode them."""
    data = dataset.get_item(keyword_tag("PixelData"))
    if syntax.is_encapsulated or not syntax.is_little_endian or not pixel_format.is_simple or data is None:
        return None
    count = pixel_format.frames * pixel_format.rows * pixel_format.columns
    kind = np.dtype(f"<{'i' if pixel_format.is_signed else 'u'}{pixel_format.bits // 8}")
    if not isinstance(data.value, bytes) or len(data.value) < count * kind.itemsize:
        return None
    return mask_unused_bits(np.frombuffer(data.value, kind, count), pixel_format)


def is_simple_grey(dataset: Dataset, pixel_format: PixelFormat) -> bool:
    """Tell whether the pixels are grey, of whole bytes, with all header elements of the standard VR."""
    if (
        pixel_format.samples != 1
        or pixel_format.bits not in (8, 16)
        or max(pixel_format.rows, pixel_format.columns) > MAX_UINT16
    ):
        return False
    if pixel_format.photometric not in GREY or (
        "NumberOfFrames" in dataset and not has_vr(dataset, "NumberOfFrames", "IS")
    ):
        return False
    return all(has_vr(dataset, name, "US") for name in INTEGER_KEYWORDS) and has_vr(
        dataset, "PhotometricInterpretation", "CS"
    )


def has_vr(dataset: Dataset, keyword: str, vr: str) -> bool:
    """Tell whether an element is present with one value of a VR, written in canonical form."""
    element = dataset.get_item(keyword_tag(keyword))
    if element is None or element.VR not in (vr, None):
        return False
    value = element.value
    if not isinstance(element, RawDataElement):
        return isinstance(value, int) or value in GREY
    if not isinstance(value, bytes):
        return False
    if vr == "US":
        return len(value) == 2 and (keyword != "PixelRepresentation" or value in (b"\0\0", b"\1\0"))
    return value.rstrip(b"\0 ").decode("latin-1") == get_text(dataset, keyword) if vr == "CS" else bool(value.strip())


def mask_unused_bits(flat: NDArray[Any], pixel_format: PixelFormat) -> NDArray[Any]:
    """Reshape pixels, and mask the bits that are allocated but not stored."""
    array = flat.reshape((pixel_format.frames,) * (pixel_format.frames > 1) + (pixel_format.rows, pixel_format.columns))
    spare = pixel_format.bits - pixel_format.bits_stored
    if spare and pixel_format.is_signed:
        return np.right_shift(np.left_shift(array, spare), spare)
    return array & array.dtype.type(2**pixel_format.bits_stored - 1) if spare else array


def decode_rle(dataset: Dataset, pixel_format: PixelFormat) -> NDArray[Any] | None:
    """Decode RLE grey pixels; None where pydicom must decode them."""
    if not pixel_format.is_simple:
        return None
    kind = np.dtype(f"<{'i' if pixel_format.is_signed else 'u'}{pixel_format.bits // 8}")
    count = pixel_format.rows * pixel_format.columns
    frames = np.empty((pixel_format.frames, count), kind)
    parts = frames.view(np.uint8).reshape(pixel_format.frames, count, kind.itemsize)
    for i, frame in enumerate(generate_frames(dataset.PixelData, number_of_frames=pixel_format.frames)):
        segments = decode_rle_segments(frame, pixel_format)
        if segments is None or i >= pixel_format.frames:
            return None
        for byte, segment in enumerate(reversed(segments)):  # the highest comes first
            parts[i, :, byte] = np.frombuffer(segment, np.uint8, count)
    return mask_unused_bits(frames.reshape(-1), pixel_format)


def decode_rle_segments(frame: bytes, pixel_format: PixelFormat) -> list[bytes] | None:
    """Decode the RLE segments of a frame; None unless each gives one byte per pixel, plus at most one of padding."""
    n = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[k : k + 4], "little") for k in range(4, 4 + 4 * min(n, 15), 4)]
    if n != pixel_format.bits // 8 * pixel_format.samples or not starts or min(starts) < 64:
        return None
    wanted, found = pixel_format.rows * pixel_format.columns, []
    for a, b in pairwise([*starts, len(frame)]):
        segment = decode_packbits(frame[a:b]) if b - a > 1 else None
        if segment is None or not 0 <= len(segment) - wanted <= 1:
            return None
        found.append(segment)
    return found


def decode_packbits(packbits: bytes) -> bytes | None:
    """Decode one PackBits segment; None where it is damaged."""
    try:
        return bytes(decode_segment(packbits))
    except BaseException as reason:  # its panics are no Exception
        if isinstance(reason, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return None
