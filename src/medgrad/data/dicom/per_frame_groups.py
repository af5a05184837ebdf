"""Read the per-frame functional groups, parsing equal bytes only once.

A hundred segments on three hundred slices are thousands of frames, but only three hundred positions and a hundred
segments. Each frame's item is split into its elements without decoding them; those with equal bytes share one
dataset.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from .elements import UNDEFINED, cached_tag
from .read_dataset import get_items, get_numbers, keyword_tag

FRAMES, CONTENT = "PerFrameFunctionalGroupsSequence", "FrameContentSequence"
SEGMENT, PLACE = "SegmentIdentificationSequence", "PlanePositionSequence"
ITEM_TAG = 0xFFFE, 0xE000
LONG_LENGTH_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
Element = tuple[int, bytes, bytes]
T = TypeVar("T")


@dataclass(frozen=True)
class FrameGroups:
    """The distinct positions of the frames with the index of each frame's, then the same for the segments.

    The frame content is left out, since it differs in each frame. All is empty where a file has no per-frame
    groups.
    """

    positions: Sequence[Dataset]
    position_index: Sequence[int]
    segments: Sequence[Dataset]
    segment_index: Sequence[int]


def read_frame_groups(header: Dataset) -> FrameGroups:
    """Read the per-frame functional groups of a file."""
    cut = split_frame_items(header)
    if cut is None:
        each = get_items(header, FRAMES)
        return FrameGroups(each, range(len(each)), each, range(len(each)))
    own, aside = tag_for_keyword(SEGMENT), [tag_for_keyword(name) for name in (CONTENT, SEGMENT)]
    places, place = unique_inverse([tuple(e for e in item if e[0] not in aside) for item in cut])
    segments, segment = unique_inverse([tuple(e for e in item if e[0] == own) for item in cut])
    return FrameGroups([*map(to_dataset, places)], place, [*map(to_dataset, segments)], segment)


def unique_inverse(values: Iterable[T]) -> tuple[list[T], list[int]]:
    """Give the unique values in order of appearance, and the index of each value among them.

    >>> unique_inverse("abac")
    (['a', 'b', 'c'], [0, 1, 0, 2])
    """
    number: dict[T, int] = {}
    which = [number.setdefault(one, len(number)) for one in values]
    return list(number), which


def split_frame_items(header: Dataset) -> list[list[Element]] | None:
    """Split the per-frame groups into the elements of each frame; None where some lengths are undefined."""
    if FRAMES not in header:
        return None
    whole = header.get_item(FRAMES)
    if not isinstance(whole, RawDataElement) or whole.is_implicit_VR or not whole.is_little_endian:
        return None
    try:
        return [list(iter_elements(item)) for item in iter_items(whole.value or b"")]
    except (ValueError, struct.error):
        return None  # whoever reads all of it will say what is wrong


def iter_items(raw: bytes) -> Iterator[bytes]:
    """Yield the items of a sequence as bytes."""
    at = 0
    while at < len(raw):
        group, element, length = struct.unpack_from("<HHL", raw, at)
        if (group, element) != ITEM_TAG or length == UNDEFINED or at + 8 + length > len(raw):
            raise ValueError
        yield raw[at + 8 : at + 8 + length]
        at += 8 + length


def iter_elements(raw: bytes) -> Iterator[Element]:
    """Yield the elements of an item: tag, VR and value."""
    at = 0
    while at < len(raw):
        group, element, kind, length = struct.unpack_from("<HH2sH", raw, at)
        begin = at + 8
        if kind in LONG_LENGTH_VRS:
            (length,), begin = struct.unpack_from("<L", raw, at + 8), at + 12
        at = begin + length
        if length == UNDEFINED or at > len(raw) or not kind.isalpha():
            raise ValueError
        yield group << 16 | element, kind, raw[begin:at]


def stored_elements(source: Dataset, keywords: Sequence[str]) -> tuple[Element, ...] | None:
    """Give some elements as stored; None where one of them is decoded already."""
    every = [source.get_item(keyword_tag(name)) for name in keywords if keyword_tag(name) in source]
    if not all(isinstance(e, RawDataElement) for e in every):
        return None
    return tuple((int(e.tag), (e.VR or "").encode(), e.value) for e in every if e is not None)


def read_position(frame_group: Dataset) -> tuple[float, ...]:
    """Read the position of a frame from its group; empty where it is not simple."""
    whole = frame_group.get_item(keyword_tag(PLACE)) if keyword_tag(PLACE) in frame_group else None
    if not isinstance(whole, RawDataElement) or whole.is_implicit_VR or not whole.is_little_endian:
        return ()
    try:
        first = to_dataset(list(iter_elements(next(iter_items(whole.value or b"")))))
    except (StopIteration, ValueError, struct.error):
        return ()  # whoever reads all of it will say what is wrong
    return get_numbers(first, "ImagePositionPatient", 3)


def to_dataset(said: Sequence[Element]) -> Dataset:
    """Make a pydicom dataset of elements."""
    return Dataset({t: RawDataElement(cached_tag(t), k.decode(), len(v), v, 0, False, True) for t, k, v in said})
