"""DICOM SEG: labels that say which region each of them is, drawn on an image series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError, nearest
from ..grid import Grid, as_rows
from ..source import Source
from ..types import LabelMap
from ._damage import damage_told, smallest_unsigned
from ._dicom_file import every_item, first_item, number, open_dicom, the_only, word
from ._dicom_frames import Frame, frames_of
from ._dicom_pixels import pixels_of, promised_by
from ._dicom_volume import affine_of, placing
from ._format import Format


def claims(path: Path) -> bool:
    """Tell whether a file is a DICOM segmentation, or a folder holds just one."""
    return the_only(path, "labels") is not None


def items(path: Path) -> list[str]:
    """List the names of the segments."""
    path = the_only(path, "labels") or path
    with damage_told(path, "DICOM SEG"):
        return [name for _, name in segments_of(path, open_dicom(path, pixels=False))]


def read_labels(path: Path, item: str = "", like: Grid | None = None) -> LabelMap:
    """Read all segments, or the one that ``item`` names, on the grid ``like`` or else on their own.

    Labels are the segments' own numbers. Where segments overlap, the later one stands.
    """
    path = the_only(path, "labels") or path
    told: list[str] = []
    with damage_told(path, "DICOM SEG"):
        source = open_dicom(path)
        names = chosen(path, segments_of(path, source), item)
        shape = promised_by(path, source)
        frames = frames_of(path, source, shape.frames)
        if not all(f.position for f in frames):
            raise FormatError(f"{str(path)!r} does not say where its segments lie. Ask for the file again.")
        pixels = pixels_of(path, source).reshape(shape.frames, shape.rows, shape.columns)
        pieces = numbered(path, source, pixels, names)
        grid, rungs = own_grid(path, frames) if like is None else (like, [])
        array = np.zeros(grid.shape, np.uint32)
        overlaps = outside = 0
        for i, (frame, piece) in enumerate(zip(frames, pieces, strict=True)):
            at = (
                (lambda rc, s=rungs[i]: np.insert(rc[:, ::-1], 2, s, axis=1))
                if like is None
                else placing(path, frame, grid)
            )
            overlap, out = paint(array, piece, at)
            overlaps, outside = overlaps + overlap, outside + out
    if overlaps:
        told.append(f"Segments overlap in {overlaps:,} voxels; the later segment stands there.")
    if outside:
        told.append(f"{outside:,} voxels of the segments lie outside the image and were left out.")
    return LabelMap(smallest_unsigned(array), grid, names, tuple(told))


def segments_of(path: Path, source: Dataset) -> list[tuple[int, str]]:
    """Give the number and the name of each segment."""
    found = []
    for i, segment in enumerate(every_item(source, "SegmentSequence"), 1):
        n = number(segment, "SegmentNumber")
        value = int(i if n is None else n)
        found.append((value, word(segment, "SegmentLabel") or f"segment {value}"))
    if not found or min(v for v, _ in found) < 0 or len({v for v, _ in found}) < len(found):
        raise FormatError(f"{str(path)!r} does not number its segments each for itself. Ask for the file again.")
    return found


def chosen(path: Path, every: Sequence[tuple[int, str]], item: str) -> dict[int, str]:
    """Give the segments that are asked for by name or number; all of them where nothing is asked."""
    found = {n: name for n, name in every if n > 0 and item in ("", name, str(n))}
    if not found:
        names = [name for _, name in every]
        raise FormatError(f"{str(path)!r} has no {item!r}.{nearest(item, names)} It has: {', '.join(names[:20])}.")
    return found


def numbered(path: Path, source: Dataset, pixels: NDArray[Any], names: dict[int, str]) -> list[NDArray[np.uint32]]:
    """Turn each frame into segment numbers, 0 for the segments that were not asked for."""
    kind = word(source, "SegmentationType").upper()
    if kind == "LABELMAP":
        return [np.where(np.isin(p, list(names)), p, 0).astype(np.uint32) for p in pixels]
    if kind not in ("BINARY", "FRACTIONAL"):
        raise FormatError(f"{str(path)!r} is a segmentation of the kind {kind!r}, which is not known.")
    half = (number(source, "MaximumFractionalValue") or 255) / 2 if kind == "FRACTIONAL" else 0
    shared = first_item(source, "SharedFunctionalGroupsSequence")
    each: list[Dataset | None] = list(every_item(source, "PerFrameFunctionalGroupsSequence")) or [None] * len(pixels)
    found = []
    for group, frame in zip(each, pixels, strict=True):
        about = first_item(group, "SegmentIdentificationSequence") or first_item(
            shared, "SegmentIdentificationSequence"
        )
        n = number(about, "ReferencedSegmentNumber") if about is not None else None
        if n is None:
            raise FormatError(f"{str(path)!r} has frames that name no segment. Ask for the file again.")
        found.append(np.where(frame > half, int(n) if int(n) in names else 0, 0).astype(np.uint32))
    return found


def own_grid(path: Path, frames: Sequence[Frame]) -> tuple[Grid, list[int]]:
    """Give the grid that the frames span, and the slice of each; slices without a segment are often left out."""
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
    return grid, [int(r) for r in rungs]


def paint(array: NDArray[np.uint32], piece: NDArray[np.uint32], at: Any) -> tuple[int, int]:
    """Put the numbers of one frame where they belong; count those that hide another and those outside."""
    marked = np.argwhere(piece)
    if not len(marked):
        return 0, 0
    values = piece[tuple(marked.T)]
    place = at(marked)
    inside = ((place >= 0) & (place < array.shape)).all(axis=1)
    where = tuple(place[inside].T)
    before = array[where]
    array[where] = values[inside]
    return int(((before > 0) & (before != values[inside])).sum()), int((~inside).sum())


def write_segmentation(path: Path, labels: LabelMap, source: Source) -> Path:
    """Write labels as a DICOM SEG that refers to the series they were drawn on, and give its path.

    ``labels`` lie on the grid on which ``source`` is read; each slice of the series gets its own part of them,
    whichever way it lies. Segments have the labels' numbers and names, and SNOMED CT codes where their names tell.
    """
    from ._dicom_write_seg import encoded, save

    return save(encoded(labels, source), Path(path))


THIS = Format((".dcm", ".seg"), claims, None, read_labels, None, items)
