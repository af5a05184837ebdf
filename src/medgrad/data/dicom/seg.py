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

from ...errors import FormatError, nearest
from ..file_errors import damage_told, smallest_unsigned
from ..grid import Grid, as_rows
from ..types import LabelMap
from .file import every_item, first_item, number, open_dicom, word
from .frames import READ, Frame, frame_of, frames_of, place_of
from .header import the_only
from .native_pixels import Shape
from .per_frame import SEGMENT, FrameGroups, as_they_stand, position_in, said_of_each
from .pixels import pixels_of, promised_by, syntax_of
from .plane import Plane
from .volume import affine_of, placing

Piece = tuple[NDArray[Any], tuple[int, int]]


def claims(path: Path) -> bool:
    """Tell whether a file is a DICOM SEG, or a folder holds just one."""
    return the_only(path, "labels") is not None


def items(path: Path) -> list[str]:
    """List the segment names."""
    path = the_only(path, "labels") or path
    with damage_told(path, "DICOM SEG"):
        return [name for _, name in segments_of(path, open_dicom(path, pixels=False))]


def read_labels(path: Path, item: str = "", like: Grid | None = None) -> LabelMap:
    """Read all segments, or the one named by ``item``, on the grid ``like`` or else on their own.

    Labels are the segment numbers. Where segments overlap, the later one wins.
    """
    path = the_only(path, "labels") or path
    told: list[str] = []
    with damage_told(path, "DICOM SEG"):
        source = open_dicom(path)
        names = chosen(path, segments_of(path, source), item)
        shape = promised_by(path, source)
        said = said_of_each(source)
        frames = placed(path, source, said, shape.frames)
        if not all(f.position for f in frames):
            raise FormatError(f"{str(path)!r} does not say where its segments lie. Ask for the file again.")
        grid, planes = (
            own_grid(path, frames) if like is None else (like, [Plane(f, placing(path, f, like)) for f in frames])
        )
        array = np.zeros(grid.shape, np.min_scalar_type(max(names)))
        overlaps = outside = 0
        for at, (piece, corner) in zip(
            said.place or range(shape.frames), drawn(path, source, shape, said, names), strict=True
        ):
            overlap, out = planes[at].put(array, piece, corner)
            overlaps, outside = overlaps + overlap, outside + out
    if overlaps:
        told.append(f"Segments overlap in {overlaps:,} voxels; the later segment stands there.")
    if outside:
        told.append(f"{outside:,} voxels of the segments lie outside the image and were left out.")
    return LabelMap(smallest_unsigned(array), grid, names, tuple(told))


def segments_of(path: Path, source: Dataset) -> list[tuple[int, str]]:
    """List the number and the name of each segment."""
    found = []
    for i, segment in enumerate(every_item(source, "SegmentSequence"), 1):
        n = number(segment, "SegmentNumber")
        value = int(i if n is None else n)
        found.append((value, word(segment, "SegmentLabel") or f"segment {value}"))
    if not found or min(v for v, _ in found) < 0 or len({v for v, _ in found}) < len(found):
        raise FormatError(f"{str(path)!r} does not number its segments each for itself. Ask for the file again.")
    return found


def chosen(path: Path, every: Sequence[tuple[int, str]], item: str) -> dict[int, str]:
    """Select the segments by name or number; all of them where nothing is requested."""
    found = {n: name for n, name in every if n > 0 and item in ("", name, str(n))}
    if not found:
        names = [name for _, name in every]
        raise FormatError(f"{str(path)!r} has no {item!r}.{nearest(item, names)} It has: {', '.join(names[:20])}.")
    return found


def placed(path: Path, source: Dataset, said: FrameGroups, n: int) -> list[Frame]:
    """Give the geometry of each distinct frame position; one for each frame where the file has no per-frame groups."""
    if not said.places:
        return frames_of(path, source, n)
    if len(said.place) != n:
        raise ValueError(f"it describes {len(said.place)} frames but holds {n}")
    shared = first_item(source, "SharedFunctionalGroupsSequence")
    first = {i: at for at, i in reversed([*enumerate(said.place)])}
    found: list[Frame] = []
    alike: dict[Any, Frame] = {}
    for i, one in enumerate(said.places):
        rest = as_they_stand(one, READ)
        position = position_in(one) or place_of(source, (one, shared), n)
        known = alike.get(rest) if position and rest is not None else None
        if known is not None:
            found.append(replace(known, number=first[i], position=position))
            continue
        found.append(frame_of(path, first[i], source, (one, shared), position))
        if rest is not None and found[-1].position:
            alike[rest] = found[-1]
    return found


def drawn(path: Path, source: Dataset, shape: Shape, said: FrameGroups, names: Mapping[int, str]) -> Iterator[Piece]:
    """Yield the marked patch of each frame in segment numbers; 0 for segments that were not requested."""
    kind = word(source, "SegmentationType").upper()
    if kind == "LABELMAP":
        pixels = pixels_of(path, source).reshape(shape.frames, shape.rows, shape.columns)
        yield from (marked(np.where(np.isin(p, list(names)), p, 0)) for p in pixels)
        return
    if kind not in ("BINARY", "FRACTIONAL"):
        raise FormatError(f"{str(path)!r} is a segmentation of the kind {kind!r}, which is not known.")
    shared = first_item(source, "SharedFunctionalGroupsSequence")
    numbers = [segment_named(path, one, shared) for one in said.segments or [None]]
    each = [numbers[i] for i in said.segment] or numbers * shape.frames
    for n, (piece, corner) in zip(each, masks(path, source, shape, kind), strict=True):
        kept = n if n in names else 0
        yield piece * np.min_scalar_type(kept).type(kept), corner


def segment_named(path: Path, group: Dataset | None, shared: Dataset | None) -> int:
    """Give the segment number of a frame."""
    own, of_all = (first_item(one, SEGMENT) for one in (group, shared))
    about = own or of_all
    n = number(about, "ReferencedSegmentNumber") if about is not None else None
    if n is None:
        raise FormatError(f"{str(path)!r} has frames that name no segment. Ask for the file again.")
    return int(n)


def masks(path: Path, source: Dataset, shape: Shape, kind: str) -> Iterator[Piece]:
    """Yield the mask patch of each frame; of uncompressed bits only the marked part is unpacked."""
    syntax = syntax_of(path, source)
    is_plain = syntax.is_little_endian and not syntax.is_encapsulated and "PixelData" in source
    if is_plain and kind == "BINARY" and shape.bits == shape.samples == 1:
        data = np.frombuffer(source.PixelData, np.uint8)
        yield from (unpacked(data, i, shape.rows, shape.columns) for i in range(shape.frames))
        return
    half = (number(source, "MaximumFractionalValue") or 255) / 2 if kind == "FRACTIONAL" else 0
    pixels = pixels_of(path, source).reshape(shape.frames, shape.rows, shape.columns)
    yield from (marked(frame > half) for frame in pixels)


def unpacked(data: NDArray[np.uint8], i: int, rows: int, columns: int) -> Piece:
    """Unpack the marked patch of frame ``i`` from contiguous bits.

    >>> unpacked(np.array([0b0010_0000, 0], np.uint8), 0, 3, 4)
    (array([[1]], dtype=uint8), (1, 1))
    """
    start = i * rows * columns
    first, lead = divmod(start, 8)
    filled = np.flatnonzero(data[first : -(-(start + rows * columns) // 8)])
    if not len(filled):
        return np.zeros((0, 0), np.uint8), (0, 0)
    top = max((int(filled[0]) * 8 - lead) // columns, 0)
    below = min((int(filled[-1]) * 8 + 7 - lead) // columns + 1, rows)
    begin, skipped = divmod(start + top * columns, 8)
    bits = np.unpackbits(data[begin : -(-(start + below * columns) // 8)], bitorder="little")
    piece, (row, column) = marked(bits[skipped:][: (below - top) * columns].reshape(below - top, columns))
    return piece, (row + top, column)


def marked(frame: NDArray[Any]) -> Piece:
    """Crop a frame to its nonzero bounding box, and give the row and column of its first pixel."""
    rows = np.flatnonzero(frame.any(axis=1))
    if not len(rows):
        return frame[:0, :0], (0, 0)
    frame = frame[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(frame.any(axis=0))
    return frame[:, columns[0] : columns[-1] + 1], (int(rows[0]), int(columns[0]))


def own_grid(path: Path, frames: Sequence[Frame]) -> tuple[Grid, list[Plane]]:
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
    grid = Grid(shape, as_rows(affine_of(first, step * first.normal)), bool(first.spacing))
    return grid, [Plane(f, partial(on_rung, int(r))) for f, r in zip(frames, rungs, strict=True)]


def on_rung(slice_: int, row_column: NDArray[Any]) -> NDArray[Any]:
    """Convert (row, column) of a frame to voxels (column, row, slice) of its own grid."""
    return np.insert(row_column[:, ::-1], 2, slice_, axis=1)
