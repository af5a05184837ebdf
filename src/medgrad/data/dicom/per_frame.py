"""What a file says of each of its frames, read once where it is said often.

Of a hundred segments on three hundred slices there are thousands of frames, but only three hundred places and a hundred
segments. Each item of the frames is cut into its elements without reading them; those of equal bytes are one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from .elements import UNDEFINED, tag_like
from .file import every_item, numbers, tag_of

FRAMES, CONTENT = "PerFrameFunctionalGroupsSequence", "FrameContentSequence"
SEGMENT, PLACE = "SegmentIdentificationSequence", "PlanePositionSequence"
ITEM = 0xFFFE, 0xE000
LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
Element = tuple[int, bytes, bytes]
T = TypeVar("T")


@dataclass(frozen=True)
class FrameGroups:
    """The different places that frames have and which is whose, then the same of their segments.

    What numbers a frame is in neither: it is another for each. All is empty where nothing is said of each frame.
    """

    places: Sequence[Dataset]
    place: Sequence[int]
    segments: Sequence[Dataset]
    segment: Sequence[int]


def said_of_each(source: Dataset) -> FrameGroups:
    """Read what a file says of each of its frames."""
    cut = items_of(source)
    if cut is None:
        each = every_item(source, FRAMES)
        return FrameGroups(each, range(len(each)), each, range(len(each)))
    own, aside = tag_for_keyword(SEGMENT), [tag_for_keyword(name) for name in (CONTENT, SEGMENT)]
    places, place = different([tuple(e for e in item if e[0] not in aside) for item in cut])
    segments, segment = different([tuple(e for e in item if e[0] == own) for item in cut])
    return FrameGroups([*map(dataset, places)], place, [*map(dataset, segments)], segment)


def different(every: Iterable[T]) -> tuple[list[T], list[int]]:
    """List what is there once each, in the order in which it comes, and which of these each is.

    >>> different("abac")
    (['a', 'b', 'c'], [0, 1, 0, 2])
    """
    number: dict[T, int] = {}
    which = [number.setdefault(one, len(number)) for one in every]
    return list(number), which


def items_of(source: Dataset) -> list[list[Element]] | None:
    """Cut what is said of the frames into the elements of each, or give None where their lengths are not all told."""
    if FRAMES not in source:
        return None
    whole = source.get_item(FRAMES)
    if not isinstance(whole, RawDataElement) or whole.is_implicit_VR or not whole.is_little_endian:
        return None
    try:
        return [list(elements(item)) for item in pieces(whole.value or b"")]
    except (ValueError, struct.error):
        return None  # whoever reads all of it will say what is wrong


def pieces(raw: bytes) -> Iterator[bytes]:
    """Cut a sequence into its items."""
    at = 0
    while at < len(raw):
        group, element, length = struct.unpack_from("<HHL", raw, at)
        if (group, element) != ITEM or length == UNDEFINED or at + 8 + length > len(raw):
            raise ValueError
        yield raw[at + 8 : at + 8 + length]
        at += 8 + length


def elements(raw: bytes) -> Iterator[Element]:
    """Cut an item into its elements: the tag, the kind of value and the value."""
    at = 0
    while at < len(raw):
        group, element, kind, length = struct.unpack_from("<HH2sH", raw, at)
        begin = at + 8
        if kind in LONG:
            (length,), begin = struct.unpack_from("<L", raw, at + 8), at + 12
        at = begin + length
        if length == UNDEFINED or at > len(raw) or not kind.isalpha():
            raise ValueError
        yield group << 16 | element, kind, raw[begin:at]


def as_they_stand(source: Dataset, names: Sequence[str]) -> tuple[Element, ...] | None:
    """Give some elements as they are stored, None where one of them has been read."""
    every = [source.get_item(tag_of(name)) for name in names if tag_of(name) in source]
    if not all(isinstance(e, RawDataElement) for e in every):
        return None
    return tuple((int(e.tag), (e.VR or "").encode(), e.value) for e in every if e is not None)


def position_in(source: Dataset) -> tuple[float, ...]:
    """Give the position that is said of a frame, none where it is not plain to see."""
    whole = source.get_item(tag_of(PLACE)) if tag_of(PLACE) in source else None
    if not isinstance(whole, RawDataElement) or whole.is_implicit_VR or not whole.is_little_endian:
        return ()
    try:
        first = dataset(list(elements(next(pieces(whole.value or b"")))))
    except (StopIteration, ValueError, struct.error):
        return ()  # whoever reads all of it will say what is wrong
    return numbers(first, "ImagePositionPatient", 3)


def dataset(said: Sequence[Element]) -> Dataset:
    """Give elements as pydicom reads them."""
    return Dataset({t: RawDataElement(tag_like(t), k.decode(), len(v), v, 0, False, True) for t, k, v in said})
