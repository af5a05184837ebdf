"""Read a DICOM file as a pydicom dataset, and get its elements as text and numbers."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from ...errors import FormatError
from ..file_cache import opened
from ..file_errors import damage_told, first_bytes
from .elements import tag_like
from .parse import parsed

DEFLATED = "1.2.840.10008.1.2.1.99"
MOST_UNPACKED, MOST_TIMES = 2**24, 100  # bytes that any deflated file may become, or else so many times its size
LONGEST_WORD = 256
LONGEST_START = 140  # the bytes by which DICOM is told
MOST_AT_ONCE, FEW = 2**26, 2**20  # files of no more bytes are read at once, with their pixels and without
MOST_MEANINGS = 4096
UNLIKE = ("SQ", "UN", "OB", "OW", "OB or OW", "US or SS")
LETTERED = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
FIRST_GROUPS = (b"\x02\0", b"\x08\0")
SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM by its first bytes: by the preamble, or by the first elements without one."""
    return begins_as_dicom(first_bytes(path, LONGEST_START))


def begins_as_dicom(start: bytes) -> bool:
    """Tell whether the first bytes of a file have the signature of DICOM."""
    start = start[:LONGEST_START]
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in FIRST_GROUPS or start[3:4] != b"\0":
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or (start[2:4] <= b"\x20\0" and int.from_bytes(start[4:8], "little") <= 1024)


def open_dicom(path: Path, *, pixels: bool = True, only: Sequence[str] | None = None) -> Dataset:
    """Read a DICOM file in one opening, optionally without its pixels or only some elements."""
    try:
        with opened(path) as file:
            return read_from(file, path, pixels=pixels, only=only)
    except OSError:
        raise no_dicom(path) from None


def read_from(file: BinaryIO, path: Path, *, pixels: bool = True, only: Sequence[str] | None = None) -> Dataset:
    """Read an open DICOM file from its beginning."""
    start = file.read(LONGEST_START)
    if not begins_as_dicom(start):
        raise no_dicom(path)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with damage_told(path, "DICOM"):
        if size <= MOST_AT_ONCE and (pixels or size <= FEW):
            return from_bytes(file.read(), path, pixels=pixels, only=only)
        check_deflated(path, file, size)
        file.seek(0)
        return filled(
            path, pydicom.dcmread(file, stop_before_pixels=not pixels, force=True, specific_tags=listed(only))
        )


def from_bytes(raw: bytes, path: Path, *, pixels: bool = True, only: Sequence[str] | None = None) -> Dataset:
    """Read a DICOM dataset from the bytes of a file; errors name ``path``."""
    with damage_told(path, "DICOM"):
        if DEFLATED.encode() in raw:
            check_deflated(path, io.BytesIO(raw), len(raw))
        found = parsed(raw, pixels=pixels, only=only)
        if found is None:
            found = pydicom.dcmread(
                io.BytesIO(raw), stop_before_pixels=not pixels, force=True, specific_tags=listed(only)
            )
            found.buffer = None  # what was read stands in the elements
        return filled(path, found)


def listed(only: Sequence[str] | None) -> list[str] | None:
    return list(only) if only else None


def filled(path: Path, found: Dataset) -> Dataset:
    """Give a dataset, or raise if it is empty."""
    if not len(found):
        raise FormatError(f"{str(path)!r} begins as DICOM but holds nothing. Copy it again: it is cut off.")
    return found


def no_dicom(path: Path) -> FormatError:
    return FormatError(f"{str(path)!r} does not begin as a DICOM file does. Was it copied whole?")


def check_deflated(path: Path, file: BinaryIO, size: int) -> None:
    """Raise if a deflated file is truncated, or would inflate beyond a sensible size."""
    file.seek(128)
    if file.read(4) != b"DICM":
        return
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if str(meta.get("TransferSyntaxUID", "")).strip() != DEFLATED:
        return
    most = max(MOST_UNPACKED, MOST_TIMES * size)
    engine, left = zlib.decompressobj(-zlib.MAX_WBITS), most
    while left >= 0 and not engine.eof and (piece := engine.unconsumed_tail or file.read(2**16)):
        left -= len(engine.decompress(piece, 2**20))
    if left < 0 or not engine.eof:
        why = f"unpacks to more than {most:,} bytes" if left < 0 else "is cut off"
        raise FormatError(f"{str(path)!r} is deflated and {why}. Ask for it without compression.")


@cache
def tag_of(name: str) -> BaseTag:
    """Give the tag of a keyword."""
    found = tag_for_keyword(name)
    assert found is not None
    return tag_like(found)


Said = tuple[str, str | None, bytes, bool, str]


def as_stored(source: Dataset, name: str) -> Said | None:
    """Give a short element as stored, as a cache key; None where it is decoded already or is not cacheable."""
    tag = tag_of(name)
    raw = source.get_item(tag)
    if not isinstance(raw, RawDataElement) or not isinstance(raw.value, bytes) or len(raw.value) > LONGEST_WORD:
        return None
    kind = raw.VR or kind_by_tag(tag)
    if kind in UNLIKE:
        return None
    letters = str(source.original_character_set or source._character_set) if kind in LETTERED else ""
    return name, raw.VR, raw.value, raw.is_little_endian, letters


@cache
def kind_by_tag(tag: BaseTag) -> str:
    """Give the standard VR of a tag."""
    return dictionary_VR(tag)


class Meanings(dict[Said, Any]):
    """Caches the decoded values of short elements: most are the same in every file of a series."""

    def keep(self, said: Said, meaning: Any) -> None:
        """Add the value of an element; the cache is cleared when it is full."""
        if len(self) >= MOST_MEANINGS:
            self.clear()
        self[said] = meaning


WORDS, NUMBERS = Meanings(), Meanings()


def word(source: Dataset, name: str) -> str:
    """Give an element as text of limited length; empty where it is absent or unreadable."""
    if tag_of(name) not in source:
        return ""
    said = as_stored(source, name)
    if said is None:
        return read_word(source, name)
    found = WORDS.get(said)
    if found is None:
        found = read_word(source, name)
        WORDS.keep(said, found)
    return str(found)


def read_word(source: Dataset, name: str) -> str:
    """Decode an element as text without the cache."""
    try:
        value = source.get(name)
        if value is None:
            return ""
        value = value.decode("latin-1") if isinstance(value, bytes) else value
        parts = [str(v) for v in value] if isinstance(value, MultiValue) else [str(value)]
    except Exception:  # an unreadable word is no reason to lose the picture; numbers that matter are asked for strictly
        return ""
    text = "".join(c if c.isprintable() else " " for c in "\\".join(parts))
    return text.strip()[:LONGEST_WORD]


def numbers(source: Dataset, name: str, n: int | None = None) -> tuple[float, ...]:
    """Give an element as numbers; empty where it is absent or empty. Raises where it is no number."""
    if tag_of(name) not in source:
        return ()
    said = as_stored(source, name)
    found: tuple[float, ...] | None = NUMBERS.get(said) if said is not None else None
    if found is None:
        found = read_numbers(source, name)
        if said is not None:
            NUMBERS.keep(said, found)
    if found and (not all(map(math.isfinite, found)) or (n is not None and len(found) != n)):
        raise ValueError(f"{name} is {list(found)[:8]}, not {n or 'finite'} numbers")
    return found


def read_numbers(source: Dataset, name: str) -> tuple[float, ...]:
    """Decode an element as numbers without the cache."""
    try:
        value = source.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return ()
        several = isinstance(value, MultiValue | list | tuple)
        return tuple(float(v) for v in (value if several else [value]))
    except (TypeError, ValueError, OverflowError, NotImplementedError, AttributeError, KeyError) as reason:
        raise ValueError(f"{name} is not a number") from reason


def number(source: Dataset, name: str) -> float | None:
    """Give an element as one number; None where it is absent or empty."""
    found = numbers(source, name)
    if len(found) > 1:
        raise ValueError(f"{name} has {len(found)} values, not one")
    return found[0] if found else None


def first_item(source: Dataset | None, name: str) -> Dataset | None:
    """Give the first item of a sequence; None where there is none."""
    found = every_item(source, name)
    return found[0] if found else None


def every_item(source: Dataset | None, name: str) -> list[Dataset]:
    """Give the items of a sequence; empty where it is absent or is no sequence."""
    if source is None or tag_of(name) not in source:
        return []
    value = source.get(name)
    if not isinstance(value, pydicom.Sequence):
        return []
    return list(value)
