"""The elements of an ordinary DICOM file, read without looking at any of them twice."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from .elements import LETTERS, Elements, cut, encoding_of, tag_like

GROUP_LENGTH = b"\x02\0\0\0UL\x04\0"
SYNTAX = tag_like(0x00020010)
IMPLICIT, NOT_SO = "1.2.840.10008.1.2", ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
FIRST, SHORTEST = 132, 160


def parsed(raw: bytes, *, pixels: bool, only: Sequence[str] | None) -> Dataset | None:
    """Give the elements of a file from its bytes, None unless it is built as nearly all are.

    Such a file has a preamble, a group of file elements that is as long as it says and names a transfer syntax of the
    standard, and little-endian elements that are not deflated. All others are for ``dcmread``.
    """
    try:
        cuts = cut_all(raw, pixels=pixels, only=only)
        if cuts is None:
            return None
        meta, found, implicit = cuts
        whole = Dataset(found)
        whole.file_meta = FileMetaDataset(meta)
        whole.set_original_encoding(implicit, True, encoding_of(found))
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    return whole


def cut_all(raw: bytes, *, pixels: bool, only: Sequence[str] | None) -> tuple[Elements, Elements, bool] | None:
    """Give the elements about the file itself, the others, and whether these leave out their kinds; None as above."""
    meta = file_elements(raw)
    syntax = known(meta[0][SYNTAX].value) if meta else None
    if meta is None or syntax is None:
        return None
    implicit = syntax == IMPLICIT
    found = cut(raw, meta[1], implicit=implicit, pixels=pixels, only=tags_of(tuple(only or ())))
    return (meta[0], found, implicit) if found is not None else None


def file_elements(raw: bytes) -> tuple[Elements, int] | None:
    """Give the elements about the file itself, and where the others begin; None where that is not plain to see."""
    if len(raw) < SHORTEST or raw[FIRST - 4 : FIRST + 8] != b"DICM" + GROUP_LENGTH:
        return None
    begin = FIRST + 12 + int(struct.unpack_from("<L", raw, FIRST + 8)[0])
    if begin + 8 > len(raw) or raw[begin : begin + 2] < b"\x03":  # elements of group 0 or 2
        return None
    try:
        found = cut(raw[:begin], FIRST)
    except Exception:  # whoever reads it anew will say what is wrong
        return None
    if found is None or SYNTAX not in found:
        return None
    plain = all(tag >> 16 == 2 and has_all(element) for tag, element in found.items())
    return (found, begin) if plain else None


def has_all(element: RawDataElement | DataElement) -> bool:
    """Tell whether a value is as long as it says."""
    return isinstance(element, RawDataElement) and len(element.value or b"") == element.length


@cache
def known(said: bytes | None) -> str | None:
    """Give a transfer syntax as text, None unless it is of the standard, little-endian and not deflated."""
    words = (said or b"").rstrip(b"\0 ").decode("latin-1")
    uid = UID(words, validation_mode=0)
    if uid in NOT_SO or uid.is_private or not uid.is_transfer_syntax:
        return None
    return words


@cache
def tags_of(only: tuple[str, ...]) -> frozenset[BaseTag] | None:
    """Give the tags of elements that are asked for by their names, and that of the character set."""
    found = [tag_like(tag) for name in only if (tag := tag_for_keyword(name)) is not None]
    return frozenset([*found, tag_like(LETTERS)]) if found else None
