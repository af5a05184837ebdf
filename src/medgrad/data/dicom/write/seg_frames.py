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

from ..per_frame_groups import CONTENT, SEGMENT

FRAMES_PER_BLOCK = 8
"""So many frames always fill whole bytes, however many bits one has."""
DIMENSION_INDEX_START = struct.pack("<HH", 0x0020, 0x9157) + b"UL"
"""How the element begins that numbers a frame along each dimension: its segment first."""


def list_labels_per_slice(marked: NDArray[np.unsignedinteger]) -> list[list[int]]:
    """List the labels on each slice, lowest first.

    >>> list_labels_per_slice(np.array([[[0, 2], [1, 1]], [[0, 0], [0, 0]]], np.uint8))
    [[1, 2], []]
    """
    most = int(marked.max(initial=0)) + 1
    return [(np.flatnonzero(np.bincount(one.ravel(), minlength=most)[1:]) + 1).tolist() for one in marked]


def expand_to_all_frames(
    dataset: Dataset,
    marked: NDArray[np.unsignedinteger],
    labels_per_slice: Sequence[Sequence[int]],
    slice_positions: Sequence[Sequence[float]],
) -> Dataset:
    """Expand a SEG with one frame for each marked slice to all frames, segment by segment, in place.

    ``labels_per_slice`` lists the labels on each slice, and ``slice_positions`` its position. Within a segment the
    frames keep their order.
    """
    items = {find_slice(item, slice_positions): item for item in dataset.PerFrameFunctionalGroupsSequence}
    if len(dataset.SegmentSequence) > 1:  # a lone segment is named once for all its frames, which may fill a volume
        dataset.pop(tag_for_keyword("DimensionOrganizationType"), None)
        named = dataset.SharedFunctionalGroupsSequence[0].pop(tag_for_keyword(SEGMENT), None)
        for item in items.values() if named is not None else ():
            item.add(named)
    rank = {at: list(item.FrameContentSequence[0].DimensionIndexValues)[1:] for at, item in items.items()}
    found = [(label, rank[at], at) for at, labels in enumerate(labels_per_slice) for label in labels]
    every = [(label, at) for label, _, at in sorted(found)]
    described = {at: encode_frame_item(item) for at, item in items.items()}
    segments = {label: encode_segment_reference(label) for label in {label for label, _ in every}}
    pixels = b"".join(pack_frame_bits(marked, every))
    dataset.NumberOfFrames = len(every)
    dataset["PixelData"].value = pixels + b"\0" * (len(pixels) % 2)
    dataset.PerFrameFunctionalGroupsSequence = []
    correct_ambiguous_vr(dataset, True)
    dataset.PerFrameFunctionalGroupsSequence = Items(make_frame_item(described[at], segments[n], n) for n, at in every)
    mark_as_encoded(dataset)
    return dataset


def find_slice(item: Dataset, slice_positions: Sequence[Sequence[float]]) -> int:
    """Find the slice of a frame item by its position."""
    place = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
    return int(np.linalg.norm(np.array(slice_positions) - place, axis=1).argmin())


def pack_frame_bits(marked: NDArray[np.unsignedinteger], frames: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the packed bits of the frames, contiguous."""
    for first in range(0, len(frames), FRAMES_PER_BLOCK):
        bits = np.stack([marked[at] == label for label, at in frames[first : first + FRAMES_PER_BLOCK]])
        yield np.packbits(bits.ravel(), bitorder="little").tobytes()


def encode_frame_item(item: Dataset) -> dict[BaseTag, bytes]:
    """Encode the elements of a frame item."""
    return {element.tag: encode_sequence(element) for element in item}


def encode_sequence(element: DataElement) -> bytes:
    """Encode the items of a sequence element."""
    to = DicomBytesIO()
    to.is_little_endian, to.is_implicit_VR = True, False
    write_sequence(to, element, ["utf8"])
    return bytes(to.getvalue())


def encode_segment_reference(number: int) -> bytes:
    """Encode the segment identification of a frame."""
    item = Dataset()
    item.ReferencedSegmentNumber = number
    return encode_sequence(DataElement(tag_for_keyword(SEGMENT), "SQ", Items([item])))


def make_frame_item(encoded_elements: Mapping[BaseTag, bytes], encoded_segment: bytes, number: int) -> Dataset:
    """Make a frame item from the encoded elements of its slice, with another segment and dimension index."""
    content, own = tag_for_keyword(CONTENT), tag_for_keyword(SEGMENT)
    found = {}
    for tag, value in encoded_elements.items():
        said = encoded_segment if tag == own else replace_segment_index(value, number) if tag == content else value
        found[tag] = RawDataElement(tag, "SQ", len(said), said, 0, False, True)
    made = Dataset(found)
    mark_as_encoded(made)
    return made


def replace_segment_index(content: bytes, number: int) -> bytes:
    """Replace the segment index among the dimension indices of a frame."""
    at = content.index(DIMENSION_INDEX_START) + len(DIMENSION_INDEX_START) + 2
    return content[:at] + struct.pack("<I", number) + content[at + 4 :]


def mark_as_encoded(dataset: Dataset) -> None:
    """Mark a dataset as encoded already, so that it is written as it is."""
    dataset.set_original_encoding(False, True, dataset._character_set)
