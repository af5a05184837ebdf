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
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
CAPITALS = frozenset(range(0x41, 0x5B))
MAX_CACHED = 2**14
VRS = {str(kind).encode(): (str(kind), kind in EXPLICIT_VR_LENGTH_32) for kind in STANDARD_VR}
SHORT, LONG = Struct("<H").unpack_from, Struct("<L").unpack_from
new_element = tuple.__new__  # an element is a tuple, and there are many

ElementStart = tuple[BaseTag, str | None, bool, bytes | None, bool]


@lru_cache(MAX_CACHED)
def cached_tag(number: int) -> BaseTag:
    """Give the cached tag object of a number: dictionary lookups are fast for the identical object."""
    return BaseTag(number)


ELEMENT_STARTS: dict[bytes, ElementStart] = {}


def parse_element_start(first_bytes: bytes) -> ElementStart | None:
    """Parse the first bytes of an element; None where pydicom must parse it.

    Gives the tag, the VR, whether its length field is long, its empty value, and whether it is pixel data. Six
    bytes are given for explicit VR, four for implicit.
    """
    kind, is_long = VRS.get(first_bytes[4:], ("", False)) if len(first_bytes) > 4 else (None, True)
    number = int.from_bytes(first_bytes[:2], "little") << 16 | int.from_bytes(first_bytes[2:4], "little")
    if kind == "" or number == END:
        return None
    if len(ELEMENT_STARTS) >= MAX_CACHED:
        ELEMENT_STARTS.clear()
    empty = empty_value_for_VR(kind, raw=True)
    ELEMENT_STARTS[first_bytes] = cached_tag(number), kind, is_long, empty, number in PIXEL_TAGS
    return ELEMENT_STARTS[first_bytes]


def split_elements(
    raw: bytes,
    offset: int,
    *,
    implicit: bool = False,
    with_pixels: bool = True,
    wanted_tags: frozenset[BaseTag] | None = None,
) -> Elements | None:
    """Parse the elements from an offset to the end or the pixels, or ``wanted_tags`` some of them.

    None where the file's VR encoding is not the declared one.
    """
    if CAPITALS.issuperset(raw[offset + 4 : offset + 6]) == implicit:
        return None
    found: Elements = {}
    n, whole, known = len(raw), 4 if implicit else 6, ELEMENT_STARTS.get
    while offset + 8 <= n:
        first = raw[offset : offset + whole]
        start = known(first) or parse_element_start(first)
        if start is None or offset + 12 > n:
            offset = split_next_element(
                raw, offset, found, implicit=implicit, with_pixels=with_pixels, wanted_tags=wanted_tags
            )
            continue
        tag, kind, is_long, empty, is_pixels = start
        if implicit:
            length, begin = LONG(raw, offset + 4)[0], offset + 8
        elif is_long:
            length, begin = LONG(raw, offset + 8)[0], offset + 12
        else:
            length, begin = SHORT(raw, offset + 6)[0], offset + 8
        if is_pixels and not with_pixels:
            break
        if length == UNDEFINED:
            offset = split_next_element(
                raw, offset, found, implicit=implicit, with_pixels=with_pixels, wanted_tags=wanted_tags
            )
            continue
        offset = begin + length
        if wanted_tags is None or tag in wanted_tags:
            value = raw[begin:offset] if length else empty
            found[tag] = new_element(RawDataElement, (tag, kind, length, value, begin, implicit, True, True, False))
    return found


def split_next_element(
    raw: bytes,
    offset: int,
    elements: Elements,
    *,
    implicit: bool,
    with_pixels: bool,
    wanted_tags: frozenset[BaseTag] | None,
) -> int:
    """Parse the next element with pydicom, add it to ``elements``, and give the offset of its end."""
    file = io.BytesIO(raw)
    file.seek(offset)
    stop = None if with_pixels else is_pixel_tag
    said = data_element_generator(file, implicit, True, stop, encoding=read_encodings(elements))
    element = next(said, None)
    if element is None:
        return len(raw)
    if wanted_tags is None or element.tag in wanted_tags:
        elements[element.tag] = element
    return file.tell()


def is_pixel_tag(tag: BaseTag, vr: str | None, length: int) -> bool:
    """Tell whether a tag is pixel data, as pydicom's stop condition."""
    del vr, length
    return tag in PIXEL_TAGS


def read_encodings(elements: Elements) -> str | list[str]:
    """Give the Python names of a file's character sets."""
    said = elements.get(cached_tag(LETTERS))
    if said is None:
        return default_encoding
    if not isinstance(said, RawDataElement):
        raise TypeError
    return [*decode_charsets(said)]


@lru_cache(64)
def decode_charsets(charset_element: RawDataElement) -> tuple[str, ...]:
    """Decode the character set element to Python encoding names."""
    return tuple(convert_encodings(convert_raw_data_element(charset_element).value))
