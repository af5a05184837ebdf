"""The elements of an ordinary DICOM file, read without looking at any of them twice."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import cache

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

GROUP_LENGTH = b"\x02\0\0\0UL\x04\0"
SYNTAX = 0x00020010
IMPLICIT, NOT_SO = "1.2.840.10008.1.2", ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
FIRST, SHORTEST = 132, 160
PIXEL_GROUP = 0x7FE0
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


def parsed(raw: bytes, *, pixels: bool, only: Sequence[str] | None) -> Dataset | None:
    """Give the elements of a file from its bytes, None unless it is built as nearly all are.

    Such a file has a preamble, a group of file elements that is as long as it says and names a transfer syntax of the
    standard, and little-endian elements that are not deflated. All others are for ``dcmread``.
    """
    meta = file_elements(raw)
    syntax = known(meta[0][SYNTAX].value) if meta else None
    if meta is None or syntax is None:
        return None
    elements, begin = meta
    implicit = syntax == IMPLICIT
    file = io.BytesIO(raw)
    file.seek(begin)
    try:
        found = read_dataset(
            file, implicit, True, stop_when=None if pixels else at_pixels, specific_tags=tags_of(tuple(only or ()))
        )
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    found.file_meta = FileMetaDataset(elements)
    found.set_original_encoding(implicit, True, found._character_set)
    return found


def file_elements(raw: bytes) -> tuple[dict[BaseTag, RawDataElement], int] | None:
    """Give the elements about the file itself, and where the others begin; None where that is not plain to see."""
    if len(raw) < SHORTEST or raw[FIRST - 4 : FIRST + 8] != b"DICM" + GROUP_LENGTH:
        return None
    begin = FIRST + 12 + int(struct.unpack_from("<L", raw, FIRST + 8)[0])
    if begin + 8 > len(raw) or raw[begin : begin + 2] < b"\x03":  # elements of group 0 or 2
        return None
    found = {}
    try:
        for element in data_element_generator(io.BytesIO(raw[FIRST:begin]), False, True):
            whole = isinstance(element, RawDataElement) and len(element.value or b"") == element.length
            if element.tag >> 16 != 2 or not whole:
                return None
            found[BaseTag(element.tag)] = element
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    return (found, begin) if SYNTAX in found else None


@cache
def known(said: bytes | None) -> str | None:
    """Give a transfer syntax as text, None unless it is of the standard, little-endian and not deflated."""
    words = (said or b"").rstrip(b"\0 ").decode("latin-1")
    uid = UID(words, validation_mode=0)
    if uid in NOT_SO or uid.is_private or not uid.is_transfer_syntax:
        return None
    return words


@cache
def tags_of(only: tuple[str, ...]) -> list[BaseTag | int] | None:
    """Give the tags of elements that are asked for by their names."""
    return [tag for name in only if (tag := tag_for_keyword(name)) is not None] or None


def at_pixels(tag: BaseTag, kind: str | None, length: int) -> bool:
    """Tell whether the pixels begin."""
    del kind, length
    return tag >> 16 == PIXEL_GROUP and int(tag) in PIXELS
