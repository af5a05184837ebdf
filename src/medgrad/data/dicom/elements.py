"""Parse the elements of a little-endian DICOM file as pydicom does, but faster for the usual ones."""

from __future__ import annotations

import io
from functools import lru_cache
from struct import Struct

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element, empty_value_for_VR
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

Elements = dict[BaseTag, RawDataElement | DataElement]
UNDEFINED = 0xFFFF_FFFF
LETTERS, END = 0x00080005, 0xFFFEE00D
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
CAPITALS = frozenset(range(0x41, 0x5B))
MOST_KNOWN = 2**14
KINDS = {str(kind).encode(): (str(kind), kind in EXPLICIT_VR_LENGTH_32) for kind in STANDARD_VR}
SHORT, LONG = Struct("<H").unpack_from, Struct("<L").unpack_from
made = tuple.__new__  # an element is a tuple, and there are many

Start = tuple[BaseTag, str | None, bool, bytes | None, bool]


@lru_cache(MOST_KNOWN)
def tag_like(number: int) -> BaseTag:
    """Give the cached tag object of a number: dictionary lookups are fast for the identical object."""
    return BaseTag(number)


STARTS: dict[bytes, Start] = {}


def start_of(first: bytes) -> Start | None:
    """Parse the first bytes of an element; None where pydicom must parse it.

    Gives the tag, the VR, whether its length field is long, its empty value, and whether it is pixel data. Six
    bytes are given for explicit VR, four for implicit.
    """
    kind, is_long = KINDS.get(first[4:], ("", False)) if len(first) > 4 else (None, True)
    number = int.from_bytes(first[:2], "little") << 16 | int.from_bytes(first[2:4], "little")
    if kind == "" or number == END:
        return None
    if len(STARTS) >= MOST_KNOWN:
        STARTS.clear()
    empty = empty_value_for_VR(kind, raw=True)
    STARTS[first] = tag_like(number), kind, is_long, empty, number in PIXELS
    return STARTS[first]


def cut(
    raw: bytes, at: int, *, implicit: bool = False, pixels: bool = True, only: frozenset[BaseTag] | None = None
) -> Elements | None:
    """Parse the elements from an offset to the end or the pixels, or ``only`` some of them.

    None where the file's VR encoding is not the declared one.
    """
    if CAPITALS.issuperset(raw[at + 4 : at + 6]) == implicit:
        return None
    found: Elements = {}
    n, whole, known = len(raw), 4 if implicit else 6, STARTS.get
    while at + 8 <= n:
        first = raw[at : at + whole]
        start = known(first) or start_of(first)
        if start is None or at + 12 > n:
            at = cut_one(raw, at, found, implicit=implicit, pixels=pixels, only=only)
            continue
        tag, kind, is_long, empty, is_pixels = start
        if implicit:
            length, begin = LONG(raw, at + 4)[0], at + 8
        elif is_long:
            length, begin = LONG(raw, at + 8)[0], at + 12
        else:
            length, begin = SHORT(raw, at + 6)[0], at + 8
        if is_pixels and not pixels:
            break
        if length == UNDEFINED:
            at = cut_one(raw, at, found, implicit=implicit, pixels=pixels, only=only)
            continue
        at = begin + length
        if only is None or tag in only:
            value = raw[begin:at] if length else empty
            found[tag] = made(RawDataElement, (tag, kind, length, value, begin, implicit, True, True, False))
    return found


def cut_one(
    raw: bytes, at: int, found: Elements, *, implicit: bool, pixels: bool, only: frozenset[BaseTag] | None
) -> int:
    """Parse the next element with pydicom, add it to ``found``, and give the offset of its end."""
    file = io.BytesIO(raw)
    file.seek(at)
    stop = None if pixels else at_pixels
    said = data_element_generator(file, implicit, True, stop, encoding=encoding_of(found))
    element = next(said, None)
    if element is None:
        return len(raw)
    if only is None or element.tag in only:
        found[element.tag] = element
    return file.tell()


def at_pixels(tag: BaseTag, kind: str | None, length: int) -> bool:
    """Tell whether a tag is pixel data, as pydicom's stop condition."""
    del kind, length
    return tag in PIXELS


def encoding_of(found: Elements) -> str | list[str]:
    """Give the Python names of a file's character sets."""
    said = found.get(tag_like(LETTERS))
    if said is None:
        return default_encoding
    if not isinstance(said, RawDataElement):
        raise TypeError
    return [*encodings(said)]


@lru_cache(64)
def encodings(said: RawDataElement) -> tuple[str, ...]:
    """Decode the character set element to Python encoding names."""
    return tuple(convert_encodings(convert_raw_data_element(said).value))
