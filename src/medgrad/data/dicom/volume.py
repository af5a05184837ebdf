"""Stack frames with positions into one volume with one grid, or raise an error that says why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ..grid import Grid, matrix_to_tuples
from .frames import PHASE_KEYWORDS, Frame

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_POSITION_MM = 0.01
MAX_OFF_GRID = 0.3  # the share of a voxel by which a segment may lie off the image's grid
ROUNDING_MM = 0.06  # what positions written with one decimal may be off
MAX_MISSING_SHARE = 0.1  # the share of slices that may be filled in between their neighbours

MIN_DETERMINANT = 1e-12

SamePixels = Callable[[Frame, Frame], bool]


@dataclass(frozen=True)
class Stack:
    """The frames of one or several volumes, bottom first, and their affine; None stands for a missing slice."""

    volumes: tuple[tuple[Frame | None, ...], ...]
    affine: NDArray[np.float64]
    messages: tuple[str, ...]


def stack_frames(frames: Sequence[Frame], series_name: str, same_pixels: SamePixels) -> Stack:
    """Sort the frames along their normal, and find the affine from (column, row, slice) to world RAS."""
    messages: list[str] = []
    check_same_geometry(frames, series_name)
    normal = frames[0].normal
    heights = np.array([f.position @ normal for f in frames])
    volumes = split_volumes(frames, heights, series_name, same_pixels, messages)
    first = volumes[0]
    step, places = find_slice_step(first, series_name, messages)
    filled = [insert_missing_slices(v, places) for v in volumes]
    return Stack(tuple(filled), frame_affine(first[0], step), tuple(messages))


def check_same_geometry(frames: Sequence[Frame], series_name: str) -> None:
    """Raise unless all frames have the same shape, orientation and spacing."""
    first = frames[0]
    for frame in frames:
        if frame.shape != first.shape:
            difference = f"{first.shape} and {frame.shape} pixels"
        elif frame.orientation == first.orientation and frame.spacing == first.spacing:
            continue
        elif not np.allclose(frame.orientation, first.orientation, atol=2e-3):
            difference = "different orientations"
        elif not np.allclose(frame.spacing, first.spacing, rtol=2e-3):
            difference = f"spacings of {first.spacing} and {frame.spacing}"
        else:
            continue
        raise FormatError(
            f"{series_name} is no single volume: {first} and {frame} have {difference}. Put them in "
            "folders of their own."
        )


def split_volumes(
    frames: Sequence[Frame],
    heights: NDArray[np.float64],
    series_name: str,
    same_pixels: SamePixels,
    messages: list[str],
) -> list[list[Frame]]:
    """Split the frames into volumes with one frame at each height."""
    places: list[list[Frame]] = []
    last = -np.inf
    for i in np.argsort(heights, kind="stable"):
        if heights[i] - last > SAME_POSITION_MM:
            places.append([])
            last = heights[i]
        places[-1].append(frames[i])
    if max(map(len, places)) == 1:
        return [[p[0] for p in places]]
    for which, phase in enumerate(PHASE_KEYWORDS):
        words = [sorted(f.phase_values[which] for f in place) for place in places]
        if all(w == words[0] for w in words) and len(set(words[0])) == len(words[0]) > 1:
            keys = sorted(words[0], key=numeric_sort_key)
            messages.append(
                f"It holds {len(keys)} volumes, told apart by {phase} ({', '.join(keys[:8])}): the channels."
            )
            return [[next(f for f in place if f.phase_values[which] == key) for place in places] for key in keys]
    return [drop_duplicate_slices(places, series_name, same_pixels, messages)]


def numeric_sort_key(key: str) -> tuple[float, str]:
    """Give a sort key: numbers by value, then other words by letters."""
    try:
        return float(key), key
    except ValueError:
        return float("inf"), key


def drop_duplicate_slices(
    frames_by_height: list[list[Frame]], series_name: str, same_pixels: SamePixels, messages: list[str]
) -> list[Frame]:
    """Drop duplicate slices with equal pixels; raise if slices at the same position differ."""
    for place in frames_by_height:
        for other in place[1:]:
            if not same_pixels(place[0], other):
                raise FormatError(
                    f"{series_name} has {place[0]} and {other} at the same place with different pixels. "
                    "Remove one of them."
                )
    n = sum(len(p) - 1 for p in frames_by_height)
    messages.append(f"{n} slices lay at the place of another with the same pixels and were left out.")
    return [p[0] for p in frames_by_height]


def find_slice_step(
    frames: Sequence[Frame], series_name: str, messages: list[str]
) -> tuple[NDArray[np.float64], list[int]]:
    """Give the vector from slice to slice, and the slice number of each frame."""
    normal = frames[0].normal
    points = np.array([f.position for f in frames])
    if len(frames) == 1:
        thickness = frames[0].thickness_mm
        if thickness is None:
            messages.append("A lone slice without a thickness: 1 mm is assumed.")
        return normal * (thickness or 1.0), [0]
    steps = np.diff(points @ normal)
    smallest = float(np.median(steps[steps <= steps.min() * 1.5]))
    slice_numbers = np.concatenate([[0], np.cumsum(np.maximum(np.round(steps / smallest), 1))]).astype(int)
    step = (points[-1] - points[0]) / slice_numbers[-1]
    deviation_mm = np.abs(points - (points[0] + slice_numbers[:, None] * step)).max()
    length = float(np.linalg.norm(step))
    if deviation_mm > min(max(0.02 * length, ROUNDING_MM), 0.25 * length):
        raise FormatError(
            f"{series_name} has slices at uneven distances ({steps.min():.4g} to {steps.max():.4g} mm): they lie up to "
            f"{deviation_mm:.3g} mm off an even grid. Ask for all slices, or resample it first."
        )
    missing = int(slice_numbers[-1]) + 1 - len(frames)
    if missing:
        report_missing_slices(frames, slice_numbers, missing, series_name, messages)
    tilt = np.degrees(np.arccos(np.clip(step @ normal / length, -1, 1)))
    if tilt > 0.1:
        messages.append(f"The slices are sheared by {tilt:.2f} degrees (a tilted gantry); the affine says so exactly.")
    return step, [int(r) for r in slice_numbers]


def report_missing_slices(
    frames: Sequence[Frame], slice_numbers: NDArray[np.int_], missing: int, series_name: str, messages: list[str]
) -> None:
    """Add a message on missing slices, or raise if they are too many to fill in."""
    gaps = [frames[int(i)] for i in np.flatnonzero(np.diff(slice_numbers) > 1)]
    where = ", ".join(str(g) for g in gaps[:5])
    if missing > MAX_MISSING_SHARE * len(frames):
        raise FormatError(
            f"{series_name} lacks {missing} of {slice_numbers[-1] + 1} slices, after {where}. Copy it "
            "again: too many to fill in."
        )
    messages.append(
        f"{missing} slices are missing, after {where}; a straight line between their neighbours fills them."
    )


def insert_missing_slices(frames: Sequence[Frame], slice_numbers: Sequence[int]) -> tuple[Frame | None, ...]:
    """Insert None where a slice number has no frame."""
    at = dict(zip(slice_numbers, frames, strict=True))
    return tuple(at.get(i) for i in range(slice_numbers[-1] + 1))


def frame_affine(first_frame: Frame, slice_step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the affine from (column, row, slice) to world RAS in mm."""
    rows_mm, columns_mm = first_frame.spacing or (1.0, 1.0)
    along, down = np.reshape(first_frame.orientation, (2, 3))
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([along * columns_mm, down * rows_mm, slice_step])
    matrix[:3, 3] = first_frame.position
    return TO_RAS @ matrix


def pixel_to_voxel_function(path: Path, frame: Frame, grid: Grid) -> Any:
    """Give the function from (row, column) of a frame to voxels of a grid; raise if the frame is off the grid."""
    matrix = frame_affine(frame, frame.normal)
    if not abs(np.linalg.det(matrix[:3, :3])) >= MIN_DETERMINANT:
        Grid((1, 1, 1), matrix_to_tuples(matrix))  # which says why it is no place
    rows, columns = frame.shape
    corners = np.array([[0, 0], [rows - 1, 0], [0, columns - 1], [rows - 1, columns - 1]])

    def to_voxel_indices(row_column: NDArray[Any]) -> NDArray[np.int64]:
        return np.round(to_voxel_coordinates(row_column)).astype(np.int64)

    def to_voxel_coordinates(row_column: NDArray[Any]) -> NDArray[np.float64]:
        inside = np.zeros((len(row_column), 3))
        inside[:, :2] = row_column[:, ::-1]
        return grid.to_index(inside @ matrix[:3, :3].T + matrix[:3, 3])

    place = to_voxel_coordinates(corners)
    off = float(np.abs(place - np.round(place)).max())
    wanted = np.array([rows - 1, columns - 1])
    alike = (np.abs(np.abs(place[1:3] - place[0]).max(axis=1) - wanted) <= MAX_OFF_GRID + 1e-5 * wanted).all()
    if off > MAX_OFF_GRID or not alike:
        raise FormatError(
            f"{str(path)!r} was drawn on another grid than that of its image (off by {off:.2f} voxels). "
            "Give the series that it was drawn on."
        )
    return to_voxel_indices
