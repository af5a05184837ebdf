"""The frames of a binary segmentation: what is said of a frame is said once for its slice and once for its segment.

Of a hundred segments on three hundred slices there are thousands of frames. Made one by one, as highdicom makes them,
each of their descriptions is a dozen of objects; here one for each slice is made so, and the others are its bytes with
another number of the segment in them.
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
    """Give a segmentation that has one frame on each slice that is marked every frame, segment by segment, in place.

    ``present`` lists the labels on each slice, and ``places`` says where it lies. Within a segment its frames follow
    each other as they did.
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
    """Tell which slice a frame lies on."""
    place = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
    return int(np.linalg.norm(np.array(places) - place, axis=1).argmin())


def packed(marked: NDArray[np.unsignedinteger], every: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bits of the frames, one behind the other without a gap."""
    for first in range(0, len(every), EIGHT):
        bits = np.stack([marked[at] == label for label, at in every[first : first + EIGHT]])
        yield np.packbits(bits.ravel(), bitorder="little").tobytes()


def raw(item: Dataset) -> dict[BaseTag, bytes]:
    """Encode what is said of a frame."""
    return {element.tag: encoded_items(element) for element in item}


def encoded_items(element: DataElement) -> bytes:
    """Encode the items of a sequence."""
    to = DicomBytesIO()
    to.is_little_endian, to.is_implicit_VR = True, False
    write_sequence(to, element, ["utf8"])
    return bytes(to.getvalue())


def segment_of(number: int) -> bytes:
    """Encode to which segment a frame belongs."""
    item = Dataset()
    item.ReferencedSegmentNumber = number
    return encoded_items(DataElement(tag_for_keyword(SEGMENT), "SQ", Items([item])))


def frame(described: Mapping[BaseTag, bytes], segment: bytes, number: int) -> Dataset:
    """Describe a frame as another of its slice is described, but for the number of its segment."""
    content, own = tag_for_keyword(CONTENT), tag_for_keyword(SEGMENT)
    found = {}
    for tag, value in described.items():
        said = segment if tag == own else renumbered(value, number) if tag == content else value
        found[tag] = RawDataElement(tag, "SQ", len(said), said, 0, False, True)
    made = Dataset(found)
    settled(made)
    return made


def renumbered(content: bytes, number: int) -> bytes:
    """Put another segment first among the numbers of a frame."""
    at = content.index(INDEX) + len(INDEX) + 2
    return content[:at] + struct.pack("<I", number) + content[at + 4 :]


def settled(made: Dataset) -> None:
    """Let what is encoded already be written as it is."""
    made.set_original_encoding(False, True, made._character_set)
