"""A fast parser for ordinary DICOM files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from .elements import LETTERS, Elements, cached_tag, read_encodings, split_elements

GROUP_LENGTH = b"\x02\0\0\0UL\x04\0"
SYNTAX_TAG = cached_tag(0x00020010)
IMPLICIT, NOT_SO = "1.2.840.10008.1.2", ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
FIRST, SHORTEST = 132, 160


def parse_dataset(raw: bytes, *, with_pixels: bool, keywords: Sequence[str] | None) -> Dataset | None:
    """Parse a dataset from the bytes of a file; None unless the file is built as nearly all are.

    Such a file has a preamble, file meta elements of the declared length with a standard transfer syntax, and
    little-endian elements that are not deflated. All others are for ``dcmread``.
    """
    try:
        cuts = split_file(raw, with_pixels=with_pixels, keywords=keywords)
        if cuts is None:
            return None
        meta, found, implicit = cuts
        whole = Dataset(found)
        whole.file_meta = FileMetaDataset(meta)
        whole.set_original_encoding(implicit, True, read_encodings(found))
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    return whole


def split_file(
    raw: bytes, *, with_pixels: bool, keywords: Sequence[str] | None
) -> tuple[Elements, Elements, bool] | None:
    """Parse the file meta elements and the others, and tell whether the VR is implicit.

    None where pydicom must parse.
    """
    meta = read_file_meta(raw)
    syntax = supported_syntax(meta[0][SYNTAX_TAG].value) if meta else None
    if meta is None or syntax is None:
        return None
    implicit = syntax == IMPLICIT
    found = split_elements(
        raw, meta[1], implicit=implicit, with_pixels=with_pixels, wanted_tags=keyword_tags(tuple(keywords or ()))
    )
    return (meta[0], found, implicit) if found is not None else None


def read_file_meta(raw: bytes) -> tuple[Elements, int] | None:
    """Parse the file meta elements, and give the offset of the others; None where they are unusual."""
    if len(raw) < SHORTEST or raw[FIRST - 4 : FIRST + 8] != b"DICM" + GROUP_LENGTH:
        return None
    begin = FIRST + 12 + int(struct.unpack_from("<L", raw, FIRST + 8)[0])
    if begin + 8 > len(raw) or raw[begin : begin + 2] < b"\x03":  # elements of group 0 or 2
        return None
    try:
        found = split_elements(raw[:begin], FIRST)
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    if found is None or SYNTAX_TAG not in found:
        return None
    plain = all(tag >> 16 == 2 and has_full_length(element) for tag, element in found.items())
    return (found, begin) if plain else None


def has_full_length(element: RawDataElement | DataElement) -> bool:
    """Tell whether a value has its declared length."""
    return isinstance(element, RawDataElement) and len(element.value or b"") == element.length


@cache
def supported_syntax(value: bytes | None) -> str | None:
    """Give a transfer syntax as text; None unless it is standard, little-endian and not deflated."""
    words = (value or b"").rstrip(b"\0 ").decode("latin-1")
    uid = UID(words, validation_mode=0)
    if uid in NOT_SO or uid.is_private or not uid.is_transfer_syntax:
        return None
    return words


@cache
def keyword_tags(keywords: tuple[str, ...]) -> frozenset[BaseTag] | None:
    """Give the tags of keywords, and that of the character set."""
    found = [cached_tag(tag) for name in keywords if (tag := tag_for_keyword(name)) is not None]
    return frozenset([*found, cached_tag(LETTERS)]) if found else None
