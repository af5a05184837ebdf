"""Read DICOM SEG: segments as labels on the grid of an image series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError, suggest_name
from ..file_errors import as_format_error, to_smallest_unsigned
from ..grid import Grid, matrix_to_tuples
from ..types import LabelMap
from .frame_plane import Plane
from .frames import GROUP_SEQUENCES, Frame, describe_frame, describe_frames, frame_position
from .header import find_only_file
from .native_pixels import PixelFormat
from .per_frame_groups import SEGMENT, FrameGroups, read_frame_groups, read_position, stored_elements
from .pixels import decode_pixels, read_checked_pixel_format, transfer_syntax
from .read_dataset import get_first_item, get_items, get_number, get_text, open_dicom
from .volume import frame_affine, pixel_to_voxel_function

MarkedPatch = tuple[NDArray[Any], tuple[int, int]]


def can_read(path: Path) -> bool:
    """Tell whether a file is a DICOM SEG, or a folder holds just one."""
    return find_only_file(path, "labels") is not None


def list_items(path: Path) -> list[str]:
    """List the segment names."""
    path = find_only_file(path, "labels") or path
    with as_format_error(path, "DICOM SEG"):
        return [name for _, name in list_segments(path, open_dicom(path, with_pixels=False))]


def read_labels(path: Path, item: str = "", reference_grid: Grid | None = None) -> LabelMap:
    """Read all segments, or the one named by ``item``, on the grid ``reference_grid`` or else on their own.

    Labels are the segment numbers. Where segments overlap, the later one wins.
    """
    path = find_only_file(path, "labels") or path
    messages: list[str] = []
    with as_format_error(path, "DICOM SEG"):
        dataset = open_dicom(path)
        names = select_items(path, list_segments(path, dataset), item)
        shape = read_checked_pixel_format(path, dataset)
        said = read_frame_groups(dataset)
        frames = read_frame_geometry(path, dataset, said, shape.frames)
        if not all(f.position for f in frames):
            raise FormatError(f"{str(path)!r} does not say where its segments lie. Ask for the file again.")
        grid, planes = (
            infer_grid(path, frames)
            if reference_grid is None
            else (reference_grid, [Plane(f, pixel_to_voxel_function(path, f, reference_grid)) for f in frames])
        )
        array = np.zeros(grid.shape, np.min_scalar_type(max(names)))
        overlaps = outside = 0
        for at, (piece, corner) in zip(
            said.position_index or range(shape.frames),
            iter_segment_patches(path, dataset, shape, said, names),
            strict=True,
        ):
            overlap, out = planes[at].paste(array, piece, corner)
            overlaps, outside = overlaps + overlap, outside + out
    if overlaps:
        messages.append(f"Segments overlap in {overlaps:,} voxels; the later segment stands there.")
    if outside:
        messages.append(f"{outside:,} voxels of the segments lie outside the image and were left out.")
    return LabelMap(to_smallest_unsigned(array), grid, names, tuple(messages))


def list_segments(path: Path, dataset: Dataset) -> list[tuple[int, str]]:
    """List the number and the name of each segment."""
    found = []
    for i, segment in enumerate(get_items(dataset, "SegmentSequence"), 1):
        n = get_number(segment, "SegmentNumber")
        value = int(i if n is None else n)
        found.append((value, get_text(segment, "SegmentLabel") or f"segment {value}"))
    if not found or min(v for v, _ in found) < 0 or len({v for v, _ in found}) < len(found):
        raise FormatError(f"{str(path)!r} does not number its segments each for itself. Ask for the file again.")
    return found


def select_items(path: Path, every: Sequence[tuple[int, str]], item: str) -> dict[int, str]:
    """Select the segments by name or number; all of them where nothing is requested."""
    found = {n: name for n, name in every if n > 0 and item in ("", name, str(n))}
    if not found:
        names = [name for _, name in every]
        raise FormatError(f"{str(path)!r} has no {item!r}.{suggest_name(item, names)} It has: {', '.join(names[:20])}.")
    return found


def read_frame_geometry(path: Path, dataset: Dataset, frame_groups: FrameGroups, n_frames: int) -> list[Frame]:
    """Give the geometry of each distinct frame position; one for each frame where the file has no per-frame groups."""
    if not frame_groups.positions:
        return describe_frames(path, dataset, n_frames)
    if len(frame_groups.position_index) != n_frames:
        raise ValueError(f"it describes {len(frame_groups.position_index)} frames but holds {n_frames}")
    shared = get_first_item(dataset, "SharedFunctionalGroupsSequence")
    first = {i: at for at, i in reversed([*enumerate(frame_groups.position_index)])}
    found: list[Frame] = []
    alike: dict[Any, Frame] = {}
    for i, one in enumerate(frame_groups.positions):
        rest = stored_elements(one, GROUP_SEQUENCES)
        position = read_position(one) or frame_position(dataset, (one, shared), n_frames)
        known = alike.get(rest) if position and rest is not None else None
        if known is not None:
            found.append(replace(known, number=first[i], position=position))
            continue
        found.append(describe_frame(path, first[i], dataset, (one, shared), position))
        if rest is not None and found[-1].position:
            alike[rest] = found[-1]
    return found


def iter_segment_patches(
    path: Path, dataset: Dataset, pixel_format: PixelFormat, frame_groups: FrameGroups, segment_names: Mapping[int, str]
) -> Iterator[MarkedPatch]:
    """Yield the marked patch of each frame in segment numbers; 0 for segments that were not requested."""
    kind = get_text(dataset, "SegmentationType").upper()
    if kind == "LABELMAP":
        pixels = decode_pixels(path, dataset).reshape(pixel_format.frames, pixel_format.rows, pixel_format.columns)
        yield from (crop_to_nonzero(np.where(np.isin(p, list(segment_names)), p, 0)) for p in pixels)
        return
    if kind not in ("BINARY", "FRACTIONAL"):
        raise FormatError(f"{str(path)!r} is a segmentation of the kind {kind!r}, which is not known.")
    shared = get_first_item(dataset, "SharedFunctionalGroupsSequence")
    numbers = [segment_number(path, one, shared) for one in frame_groups.segments or [None]]
    each = [numbers[i] for i in frame_groups.segment_index] or numbers * pixel_format.frames
    for n, (piece, corner) in zip(each, iter_mask_patches(path, dataset, pixel_format, kind), strict=True):
        kept = n if n in segment_names else 0
        yield piece * np.min_scalar_type(kept).type(kept), corner


def segment_number(path: Path, group: Dataset | None, shared: Dataset | None) -> int:
    """Give the segment number of a frame."""
    own, of_all = (get_first_item(one, SEGMENT) for one in (group, shared))
    about = own or of_all
    n = get_number(about, "ReferencedSegmentNumber") if about is not None else None
    if n is None:
        raise FormatError(f"{str(path)!r} has frames that name no segment. Ask for the file again.")
    return int(n)


def iter_mask_patches(
    path: Path, dataset: Dataset, pixel_format: PixelFormat, segmentation_type: str
) -> Iterator[MarkedPatch]:
    """Yield the mask patch of each frame; of uncompressed bits only the marked part is unpacked."""
    syntax = transfer_syntax(path, dataset)
    is_plain = syntax.is_little_endian and not syntax.is_encapsulated and "PixelData" in dataset
    if is_plain and segmentation_type == "BINARY" and pixel_format.bits == pixel_format.samples == 1:
        data = np.frombuffer(dataset.PixelData, np.uint8)
        yield from (
            unpack_frame_bits(data, i, pixel_format.rows, pixel_format.columns) for i in range(pixel_format.frames)
        )
        return
    half = (get_number(dataset, "MaximumFractionalValue") or 255) / 2 if segmentation_type == "FRACTIONAL" else 0
    pixels = decode_pixels(path, dataset).reshape(pixel_format.frames, pixel_format.rows, pixel_format.columns)
    yield from (crop_to_nonzero(frame > half) for frame in pixels)


def unpack_frame_bits(data: NDArray[np.uint8], frame_index: int, rows: int, columns: int) -> MarkedPatch:
    """Unpack the marked patch of frame ``frame_index`` from contiguous bits.

    >>> unpack_frame_bits(np.array([0b0010_0000, 0], np.uint8), 0, 3, 4)
    (array([[1]], dtype=uint8), (1, 1))
    """
    start = frame_index * rows * columns
    first, lead = divmod(start, 8)
    filled = np.flatnonzero(data[first : -(-(start + rows * columns) // 8)])
    if not len(filled):
        return np.zeros((0, 0), np.uint8), (0, 0)
    top = max((int(filled[0]) * 8 - lead) // columns, 0)
    below = min((int(filled[-1]) * 8 + 7 - lead) // columns + 1, rows)
    begin, skipped = divmod(start + top * columns, 8)
    bits = np.unpackbits(data[begin : -(-(start + below * columns) // 8)], bitorder="little")
    piece, (row, column) = crop_to_nonzero(bits[skipped:][: (below - top) * columns].reshape(below - top, columns))
    return piece, (row + top, column)


def crop_to_nonzero(frame: NDArray[Any]) -> MarkedPatch:
    """Crop a frame to its nonzero bounding box, and give the row and column of its first pixel."""
    rows = np.flatnonzero(frame.any(axis=1))
    if not len(rows):
        return frame[:0, :0], (0, 0)
    frame = frame[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(frame.any(axis=0))
    return frame[:, columns[0] : columns[-1] + 1], (int(rows[0]), int(columns[0]))


def infer_grid(path: Path, frames: Sequence[Frame]) -> tuple[Grid, list[Plane]]:
    """Infer the grid that the frames span, and the plane of each frame on it.

    Slices without a segment may be absent.
    """
    first = min(frames, key=lambda f: float(f.position @ frames[0].normal))
    points = np.array([f.position for f in frames]) - first.position
    heights = points @ first.normal
    steps = np.diff(np.unique(np.round(heights, 3)))
    steps = steps[steps > 0.01]
    said = first.thickness_mm
    step = said if said and np.allclose(steps / said, np.round(steps / said), atol=0.05) else None
    step = step or (float(steps.min()) if len(steps) else 1.0)
    rungs = np.round(heights / step)
    off = np.abs(points - rungs[:, None] * step * first.normal).max()
    if off > 0.1 * step or rungs.max() > 20_000:
        raise FormatError(f"{str(path)!r} has slices that lie {off:.3g} mm off an even grid. Give the image's grid.")
    shape = (first.shape[1], first.shape[0], int(rungs.max()) + 1)
    grid = Grid(shape, matrix_to_tuples(frame_affine(first, step * first.normal)), bool(first.spacing))
    return grid, [Plane(f, partial(pixel_to_voxel, int(r))) for f, r in zip(frames, rungs, strict=True)]


def pixel_to_voxel(slice_: int, row_column: NDArray[Any]) -> NDArray[Any]:
    """Convert (row, column) of a frame to voxels (column, row, slice) of its own grid."""
    return np.insert(row_column[:, ::-1], 2, slice_, axis=1)
