"""The elements of a file are those that pydicom finds, however odd the file."""

import io
import struct
import warnings

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from medgrad.data.dicom.elements import PIXEL_TAGS, read_encodings, split_elements
from medgrad.data.dicom.parse import keyword_tags

ENDLESS = 0xFFFF_FFFF
ITEM, CLOSED = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def short(tag, kind, value):
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, kind, len(value)) + value


def long(tag, kind, value, length=None):
    n = len(value) if length is None else length
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, kind, 0, n) + value


def bare(tag, value, length=None):
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


HEAD = short(0x00080005, b"CS", b"ISO_IR 192") + short(0x00080060, b"CS", b"CT") + short(0x00100010, b"PN", b"")
INSIDE = short(0x0020000E, b"UI", b"1.2.3\0")
ENDLESS_SQ = long(0x00081115, b"SQ", ITEM + struct.pack("<L", len(INSIDE)) + INSIDE + CLOSED, ENDLESS)
TAIL = short(0x00280010, b"US", b"\x02\0") + short(0x00280011, b"US", b"\x03\0")
PLAIN = long(0x7FE00010, b"OW", bytes(12))
PACKED = long(0x7FE00010, b"OB", ITEM + bytes(4) + ITEM + struct.pack("<L", 4) + CLOSED[:4] + CLOSED, ENDLESS)
EXPLICIT = {
    "plain": HEAD + TAIL + PLAIN,
    "packed": HEAD + TAIL + PACKED + short(0x7FE10010, b"LO", b"behind"),
    "endless sequence": HEAD + ENDLESS_SQ + TAIL + PLAIN,
    "sequence of a length": HEAD + long(0x00081115, b"SQ", ITEM + struct.pack("<L", len(INSIDE)) + INSIDE) + TAIL,
    "kind that is not known": HEAD + short(0x00081030, b"ZZ", b"word") + TAIL,
    "kind left out": HEAD + bare(0x00081030, b"word") + TAIL,
    "said twice": HEAD + TAIL + short(0x00080060, b"CS", b"MR") + PLAIN,
    "cut in a value": (HEAD + TAIL + PLAIN)[:-5],
    "cut in a length": HEAD + PLAIN[:10],
    "ends early": HEAD + bare(0xFFFEE00D, b"") + TAIL,
    "two alphabets": short(0x00080005, b"CS", b"ISO 2022 IR 6\\ISO 2022 IR 87") + HEAD[18:] + ENDLESS_SQ,
    "unknown sequence": HEAD + long(0x00091010, b"UN", ITEM + bytes(4) + CLOSED, ENDLESS) + TAIL,
}
IMPLICIT = {
    "plain": bare(0x00080060, b"CT") + bare(0x00280010, b"\x02\0") + bare(0x7FE00010, bytes(12)),
    "endless sequence": bare(0x00080060, b"CT") + bare(0x00081115, ITEM + bytes(4) + CLOSED, ENDLESS),
    "empty": bare(0x00080060, b"") + bare(0x00280010, b""),
}


def ours(raw, implicit, pixels, only):
    found = split_elements(raw, 0, implicit=implicit, with_pixels=pixels, wanted_tags=only)
    return list(map(plain, found.values())), read_encodings(found)


def theirs(raw, implicit, pixels, only):
    found = read_dataset(
        io.BytesIO(raw),
        implicit,
        True,
        stop_when=None if pixels else lambda tag, *_: int(tag) in PIXEL_TAGS,
        specific_tags=sorted(only) if only else None,
    )
    return list(map(plain, found._dict.values())), found.original_character_set


def plain(element):
    value = element.value
    told = value if isinstance(element, RawDataElement) else repr(value)
    where = element.value_tell if isinstance(element, RawDataElement) else 0
    return int(element.tag), element.VR, told, where, type(element).__name__


def outcome(read, *asked):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(*asked)
        except Exception as reason:
            return type(reason)


@pytest.mark.parametrize("only", [None, ("Modality", "Rows", "ReferencedSeriesSequence")])
@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize(
    ("raw", "implicit"),
    [*((r, False) for r in EXPLICIT.values()), *((r, True) for r in IMPLICIT.values())],
    ids=[*EXPLICIT, *(f"implicit, {name}" for name in IMPLICIT)],
)
def test_elements_are_those_of_pydicom(raw, implicit, pixels, only):
    asked = raw, implicit, pixels, keyword_tags(only or ())
    assert outcome(ours, *asked) == outcome(theirs, *asked)


def test_damaged_bytes_give_what_pydicom_makes_of_them():
    chance = np.random.default_rng(0)
    for number in range(400):
        raw = bytearray(list(EXPLICIT.values())[number % len(EXPLICIT)])
        for at in chance.integers(8, len(raw), 3):
            raw[at] = chance.integers(256)
        asked = bytes(raw), False, bool(number % 2), None
        assert outcome(ours, *asked) == outcome(theirs, *asked), (number, bytes(raw))


def test_a_file_that_tells_kinds_against_its_word_is_left_to_pydicom():
    assert split_elements(EXPLICIT["plain"], 0, implicit=True) is None
    assert split_elements(IMPLICIT["plain"], 0) is None


def test_a_tag_is_one_object_wherever_it_is_found():
    (first, *_), (again, *_) = (split_elements(EXPLICIT["plain"], 0), split_elements(EXPLICIT["plain"], 0))
    assert first is again
    assert isinstance(first, BaseTag)
