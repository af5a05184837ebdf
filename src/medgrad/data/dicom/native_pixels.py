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

from .file import tag_of, word

WHOLE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
GREY = ("MONOCHROME1", "MONOCHROME2")
LARGEST = 2**16 - 1


@dataclass(frozen=True)
class Shape:
    """The pixel format that a header declares: frames, size, samples, bits and photometric interpretation."""

    frames: int
    rows: int
    columns: int
    samples: int
    bits: int
    bits_stored: int
    signed: bool
    photometric: str
    is_simple: bool = False  # grey, of whole bytes, and told in the kinds of value meant for it

    @property
    def frame_bits(self) -> int:
        return self.rows * self.columns * self.samples * self.bits


def stored(source: Dataset, shape: Shape, syntax: UID) -> NDArray[Any] | None:
    """Give uncompressed grey pixels as a view of their bytes; None where pydicom must decode them."""
    data = source.get_item(tag_of("PixelData"))
    if syntax.is_encapsulated or not syntax.is_little_endian or not shape.is_simple or data is None:
        return None
    count = shape.frames * shape.rows * shape.columns
    kind = np.dtype(f"<{'i' if shape.signed else 'u'}{shape.bits // 8}")
    if not isinstance(data.value, bytes) or len(data.value) < count * kind.itemsize:
        return None
    return trimmed(np.frombuffer(data.value, kind, count), shape)


def is_simple(source: Dataset, shape: Shape) -> bool:
    """Tell whether the pixels are grey, of whole bytes, with all header elements of the standard VR."""
    if shape.samples != 1 or shape.bits not in (8, 16) or max(shape.rows, shape.columns) > LARGEST:
        return False
    if shape.photometric not in GREY or ("NumberOfFrames" in source and not of_kind(source, "NumberOfFrames", "IS")):
        return False
    return all(of_kind(source, name, "US") for name in WHOLE) and of_kind(source, "PhotometricInterpretation", "CS")


def of_kind(source: Dataset, name: str, kind: str) -> bool:
    """Tell whether an element is present with one value of a VR, written in canonical form."""
    element = source.get_item(tag_of(name))
    if element is None or element.VR not in (kind, None):
        return False
    value = element.value
    if not isinstance(element, RawDataElement):
        return isinstance(value, int) or value in GREY
    if not isinstance(value, bytes):
        return False
    if kind == "US":
        return len(value) == 2 and (name != "PixelRepresentation" or value in (b"\0\0", b"\1\0"))
    return value.rstrip(b"\0 ").decode("latin-1") == word(source, name) if kind == "CS" else bool(value.strip())


def trimmed(flat: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Reshape pixels, and mask the bits that are allocated but not stored."""
    array = flat.reshape((shape.frames,) * (shape.frames > 1) + (shape.rows, shape.columns))
    spare = shape.bits - shape.bits_stored
    if spare and shape.signed:
        return np.right_shift(np.left_shift(array, spare), spare)
    return array & array.dtype.type(2**shape.bits_stored - 1) if spare else array


def unpacked_runs(source: Dataset, shape: Shape) -> NDArray[Any] | None:
    """Decode RLE grey pixels; None where pydicom must decode them."""
    if not shape.is_simple:
        return None
    kind = np.dtype(f"<{'i' if shape.signed else 'u'}{shape.bits // 8}")
    count = shape.rows * shape.columns
    frames = np.empty((shape.frames, count), kind)
    parts = frames.view(np.uint8).reshape(shape.frames, count, kind.itemsize)
    for i, frame in enumerate(generate_frames(source.PixelData, number_of_frames=shape.frames)):
        segments = segments_of(frame, shape)
        if segments is None or i >= shape.frames:
            return None
        for byte, segment in enumerate(reversed(segments)):  # the highest comes first
            parts[i, :, byte] = np.frombuffer(segment, np.uint8, count)
    return trimmed(frames.reshape(-1), shape)


def segments_of(frame: bytes, shape: Shape) -> list[bytes] | None:
    """Decode the RLE segments of a frame; None unless each gives one byte per pixel, plus at most one of padding."""
    n = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[k : k + 4], "little") for k in range(4, 4 + 4 * min(n, 15), 4)]
    if n != shape.bits // 8 * shape.samples or not starts or min(starts) < 64:
        return None
    wanted, found = shape.rows * shape.columns, []
    for a, b in pairwise([*starts, len(frame)]):
        segment = unpack(frame[a:b]) if b - a > 1 else None
        if segment is None or not 0 <= len(segment) - wanted <= 1:
            return None
        found.append(segment)
    return found


def unpack(runs: bytes) -> bytes | None:
    """Decode one PackBits segment; None where it is damaged."""
    try:
        return bytes(decode_segment(runs))
    except BaseException as reason:  # its panics are no Exception
        if isinstance(reason, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return None
