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
from ..file_cache import open_cached
from ..file_errors import as_format_error, read_first_bytes
from .elements import cached_tag
from .parse import parse_dataset

DEFLATED_SYNTAX = "1.2.840.10008.1.2.1.99"
MOST_UNPACKED, MOST_TIMES = 2**24, 100  # bytes that any deflated file may become, or else so many times its size
MAX_TEXT = 256
SIGNATURE_BYTES = 140  # the bytes by which DICOM is told
MOST_AT_ONCE, FEW = 2**26, 2**20  # files of no more bytes are read at once, with their pixels and without
MAX_CACHED_VALUES = 4096
UNCACHED_VRS = ("SQ", "UN", "OB", "OW", "OB or OW", "US or SS")
TEXT_VRS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
FIRST_GROUPS = (b"\x02\0", b"\x08\0")
SEG_SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
RTSTRUCT_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM by its first bytes: by the preamble, or by the first elements without one."""
    return has_dicom_signature(read_first_bytes(path, SIGNATURE_BYTES))


def has_dicom_signature(start: bytes) -> bool:
    """Tell whether the first bytes of a file have the signature of DICOM."""
    start = start[:SIGNATURE_BYTES]
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in FIRST_GROUPS or start[3:4] != b"\0":
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or (start[2:4] <= b"\x20\0" and int.from_bytes(start[4:8], "little") <= 1024)


def open_dicom(path: Path, *, with_pixels: bool = True, keywords: Sequence[str] | None = None) -> Dataset:
    """Read a DICOM file in one opening, optionally without its pixels or only some elements."""
    try:
        with open_cached(path) as file:
            return read_open_file(file, path, with_pixels=with_pixels, keywords=keywords)
    except OSError:
        raise not_dicom_error(path) from None


def read_open_file(
    file: BinaryIO, path: Path, *, with_pixels: bool = True, keywords: Sequence[str] | None = None
) -> Dataset:
    """Read an open DICOM file from its beginning."""
    start = file.read(SIGNATURE_BYTES)
    if not has_dicom_signature(start):
        raise not_dicom_error(path)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with as_format_error(path, "DICOM"):
        if size <= MOST_AT_ONCE and (with_pixels or size <= FEW):
            return read_from_bytes(file.read(), path, with_pixels=with_pixels, keywords=keywords)
        check_deflated(path, file, size)
        file.seek(0)
        return require_elements(
            path,
            pydicom.dcmread(file, stop_before_pixels=not with_pixels, force=True, specific_tags=keyword_list(keywords)),
        )


def read_from_bytes(
    raw: bytes, path: Path, *, with_pixels: bool = True, keywords: Sequence[str] | None = None
) -> Dataset:
    """Read a DICOM dataset from the bytes of a file; errors name ``path``."""
    with as_format_error(path, "DICOM"):
        if DEFLATED_SYNTAX.encode() in raw:
            check_deflated(path, io.BytesIO(raw), len(raw))
        found = parse_dataset(raw, with_pixels=with_pixels, keywords=keywords)
        if found is None:
            found = pydicom.dcmread(
                io.BytesIO(raw), stop_before_pixels=not with_pixels, force=True, specific_tags=keyword_list(keywords)
            )
            found.buffer = None  # what was read stands in the elements
        return require_elements(path, found)


def keyword_list(keywords: Sequence[str] | None) -> list[str] | None:
    return list(keywords) if keywords else None


def require_elements(path: Path, dataset: Dataset) -> Dataset:
    """Give a dataset, or raise if it is empty."""
    if not len(dataset):
        raise FormatError(f"{str(path)!r} begins as DICOM but holds nothing. Copy it again: it is cut off.")
    return dataset


def not_dicom_error(path: Path) -> FormatError:
    return FormatError(f"{str(path)!r} does not begin as a DICOM file does. Was it copied whole?")


def check_deflated(path: Path, file: BinaryIO, size: int) -> None:
    """Raise if a deflated file is truncated, or would inflate beyond a sensible size."""
    file.seek(128)
    if file.read(4) != b"DICM":
        return
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if str(meta.get("TransferSyntaxUID", "")).strip() != DEFLATED_SYNTAX:
        return
    most = max(MOST_UNPACKED, MOST_TIMES * size)
    engine, left = zlib.decompressobj(-zlib.MAX_WBITS), most
    while left >= 0 and not engine.eof and (piece := engine.unconsumed_tail or file.read(2**16)):
        left -= len(engine.decompress(piece, 2**20))
    if left < 0 or not engine.eof:
        why = f"unpacks to more than {most:,} bytes" if left < 0 else "is cut off"
        raise FormatError(f"{str(path)!r} is deflated and {why}. Ask for it without compression.")


@cache
def keyword_tag(keyword: str) -> BaseTag:
    """Give the tag of a keyword."""
    found = tag_for_keyword(keyword)
    assert found is not None
    return cached_tag(found)


StoredElement = tuple[str, str | None, bytes, bool, str]


def stored_element(dataset: Dataset, keyword: str) -> StoredElement | None:
    """Give a short element as stored, as a cache key; None where it is decoded already or is not cacheable."""
    tag = keyword_tag(keyword)
    raw = dataset.get_item(tag)
    if not isinstance(raw, RawDataElement) or not isinstance(raw.value, bytes) or len(raw.value) > MAX_TEXT:
        return None
    kind = raw.VR or standard_vr(tag)
    if kind in UNCACHED_VRS:
        return None
    letters = str(dataset.original_character_set or dataset._character_set) if kind in TEXT_VRS else ""
    return keyword, raw.VR, raw.value, raw.is_little_endian, letters


@cache
def standard_vr(tag: BaseTag) -> str:
    """Give the standard VR of a tag."""
    return dictionary_VR(tag)


class ElementValueCache(dict[StoredElement, Any]):
    """Caches the decoded values of short elements: most are the same in every file of a series."""

    def add(self, element: StoredElement, value: Any) -> None:
        """Add the value of an element; the cache is cleared when it is full."""
        if len(self) >= MAX_CACHED_VALUES:
            self.clear()
        self[element] = value


WORDS, NUMBERS = ElementValueCache(), ElementValueCache()


def get_text(dataset: Dataset, keyword: str) -> str:
    """Give an element as text of limited length; empty where it is absent or unreadable."""
    if keyword_tag(keyword) not in dataset:
        return ""
    said = stored_element(dataset, keyword)
    if said is None:
        return read_text(dataset, keyword)
    found = WORDS.get(said)
    if found is None:
        found = read_text(dataset, keyword)
        WORDS.add(said, found)
    return str(found)


def read_text(dataset: Dataset, keyword: str) -> str:
    """Decode an element as text without the cache."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return ""
        value = value.decode("latin-1") if isinstance(value, bytes) else value
        parts = [str(v) for v in value] if isinstance(value, MultiValue) else [str(value)]
    except Exception:  # an unreadable word is no reason to lose the picture; numbers that matter are asked for strictly
        return ""
    text = "".join(c if c.isprintable() else " " for c in "\\".join(parts))
    return text.strip()[:MAX_TEXT]


def get_numbers(dataset: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...]:
    """Give an element as numbers; empty where it is absent or empty. Raises where it is no number."""
    if keyword_tag(keyword) not in dataset:
        return ()
    said = stored_element(dataset, keyword)
    found: tuple[float, ...] | None = NUMBERS.get(said) if said is not None else None
    if found is None:
        found = read_numbers(dataset, keyword)
        if said is not None:
            NUMBERS.add(said, found)
    if found and (not all(map(math.isfinite, found)) or (count is not None and len(found) != count)):
        raise ValueError(f"{keyword} is {list(found)[:8]}, not {count or 'finite'} numbers")
    return found


def read_numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Decode an element as numbers without the cache."""
    try:
        value = dataset.get(keyword)
        if value is None or (isinstance(value, str) and not value.strip()):
            return ()
        several = isinstance(value, MultiValue | list | tuple)
        return tuple(float(v) for v in (value if several else [value]))
    except (TypeError, ValueError, OverflowError, NotImplementedError, AttributeError, KeyError) as reason:
        raise ValueError(f"{keyword} is not a number") from reason


def get_number(dataset: Dataset, keyword: str) -> float | None:
    """Give an element as one number; None where it is absent or empty."""
    found = get_numbers(dataset, keyword)
    if len(found) > 1:
        raise ValueError(f"{keyword} has {len(found)} values, not one")
    return found[0] if found else None


def get_first_item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """Give the first item of a sequence; None where there is none."""
    found = get_items(dataset, keyword)
    return found[0] if found else None


def get_items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """Give the items of a sequence; empty where it is absent or is no sequence."""
    if dataset is None or keyword_tag(keyword) not in dataset:
        return []
    value = dataset.get(keyword)
    if not isinstance(value, pydicom.Sequence):
        return []
    return list(value)
