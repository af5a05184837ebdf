"""The frames of a binary SEG, built fast: frame items are encoded once for each slice and each segment.

A hundred segments on three hundred slices are thousands of frames. highdicom builds a dozen objects for each; here
it builds one item for each slice, and the others reuse its bytes with another segment number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_sequence
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

from ..per_frame import CONTENT, SEGMENT

EIGHT = 8
"""So many frames always fill whole bytes, however many bits one has."""
INDEX = struct.pack("<HH", 0x0020, 0x9157) + b"UL"
"""How the element begins that numbers a frame along each dimension: its segment first."""


def present_on(marked: NDArray[np.unsignedinteger]) -> list[list[int]]:
    """List the labels on each slice, lowest first.

    >>> present_on(np.array([[[0, 2], [1, 1]], [[0, 0], [0, 0]]], np.uint8))
    [[1, 2], []]
    """
    most = int(marked.max(initial=0)) + 1
    return [(np.flatnonzero(np.bincount(one.ravel(), minlength=most)[1:]) + 1).tolist() for one in marked]


def with_all_frames(
    made: Dataset,
    marked: NDArray[np.unsignedinteger],
    present: Sequence[Sequence[int]],
    places: Sequence[Sequence[float]],
) -> Dataset:
    """Expand a SEG with one frame for each marked slice to all frames, segment by segment, in place.

    ``present`` lists the labels on each slice, and ``places`` its position. Within a segment the frames keep their
    order.
    """
    items = {slice_of(item, places): item for item in made.PerFrameFunctionalGroupsSequence}
    if len(made.SegmentSequence) > 1:  # a lone segment is named once for all its frames, which may fill a volume
        made.pop(tag_for_keyword("DimensionOrganizationType"), None)
        named = made.SharedFunctionalGroupsSequence[0].pop(tag_for_keyword(SEGMENT), None)
        for item in items.values() if named is not None else ():
            item.add(named)
    rank = {at: list(item.FrameContentSequence[0].DimensionIndexValues)[1:] for at, item in items.items()}
    found = [(label, rank[at], at) for at, labels in enumerate(present) for label in labels]
    every = [(label, at) for label, _, at in sorted(found)]
    described = {at: raw(item) for at, item in items.items()}
    segments = {label: segment_of(label) for label in {label for label, _ in every}}
    pixels = b"".join(packed(marked, every))
    made.NumberOfFrames = len(every)
    made["PixelData"].value = pixels + b"\0" * (len(pixels) % 2)
    made.PerFrameFunctionalGroupsSequence = []
    correct_ambiguous_vr(made, True)
    made.PerFrameFunctionalGroupsSequence = Items(frame(described[at], segments[n], n) for n, at in every)
    settled(made)
    return made


def slice_of(item: Dataset, places: Sequence[Sequence[float]]) -> int:
    """Find the slice of a frame item by its position."""
    place = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
    return int(np.linalg.norm(np.array(places) - place, axis=1).argmin())


def packed(marked: NDArray[np.unsignedinteger], every: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the packed bits of the frames, contiguous."""
    for first in range(0, len(every), EIGHT):
        bits = np.stack([marked[at] == label for label, at in every[first : first + EIGHT]])
        yield np.packbits(bits.ravel(), bitorder="little").tobytes()


def raw(item: Dataset) -> dict[BaseTag, bytes]:
    """Encode the elements of a frame item."""
    return {element.tag: encoded_items(element) for element in item}


def encoded_items(element: DataElement) -> bytes:
    """Encode the items of a sequence element."""
    to = DicomBytesIO()
    to.is_little_endian, to.is_implicit_VR = True, False
    write_sequence(to, element, ["utf8"])
    return bytes(to.getvalue())


def segment_of(number: int) -> bytes:
    """Encode the segment identification of a frame."""
    item = Dataset()
    item.ReferencedSegmentNumber = number
    return encoded_items(DataElement(tag_for_keyword(SEGMENT), "SQ", Items([item])))


def frame(described: Mapping[BaseTag, bytes], segment: bytes, number: int) -> Dataset:
    """Make a frame item from the encoded elements of its slice, with another segment and dimension index."""
    content, own = tag_for_keyword(CONTENT), tag_for_keyword(SEGMENT)
    found = {}
    for tag, value in described.items():
        said = segment if tag == own else renumbered(value, number) if tag == content else value
        found[tag] = RawDataElement(tag, "SQ", len(said), said, 0, False, True)
    made = Dataset(found)
    settled(made)
    return made


def renumbered(content: bytes, number: int) -> bytes:
    """Replace the segment index among the dimension indices of a frame."""
    at = content.index(INDEX) + len(INDEX) + 2
    return content[:at] + struct.pack("<I", number) + content[at + 4 :]


def settled(made: Dataset) -> None:
    """Mark a dataset as encoded already, so that it is written as it is."""
    made.set_original_encoding(False, True, made._character_set)
