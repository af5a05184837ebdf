"""Stack frames with positions into one volume with one grid, or raise an error that says why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ..grid import Grid, as_rows
from .frames import PHASES, Frame

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE_MM = 0.01
OFF_GRID = 0.3  # the share of a voxel by which a segment may lie off the image's grid
ROUNDING_MM = 0.06  # what positions written with one decimal may be off
MOST_MISSING = 0.1  # the share of slices that may be filled in between their neighbours

FLAT = 1e-12

Same = Callable[[Frame, Frame], bool]


@dataclass(frozen=True)
class Stack:
    """The frames of one or several volumes, bottom first, and their affine; None stands for a missing slice."""

    volumes: tuple[tuple[Frame | None, ...], ...]
    affine: NDArray[np.float64]
    told: tuple[str, ...]


def stacked(frames: Sequence[Frame], name: str, same_pixels: Same) -> Stack:
    """Sort the frames along their normal, and find the affine from (column, row, slice) to world RAS."""
    told: list[str] = []
    check_alike(frames, name)
    normal = frames[0].normal
    heights = np.array([f.position @ normal for f in frames])
    volumes = parted(frames, heights, name, same_pixels, told)
    first = volumes[0]
    step, places = stepped(first, name, told)
    filled = [with_gaps(v, places) for v in volumes]
    return Stack(tuple(filled), affine_of(first[0], step), tuple(told))


def check_alike(frames: Sequence[Frame], name: str) -> None:
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
            f"{name} is no single volume: {first} and {frame} have {difference}. Put them in folders of their own."
        )


def parted(
    frames: Sequence[Frame], heights: NDArray[np.float64], name: str, same_pixels: Same, told: list[str]
) -> list[list[Frame]]:
    """Split the frames into volumes with one frame at each height."""
    places: list[list[Frame]] = []
    last = -np.inf
    for i in np.argsort(heights, kind="stable"):
        if heights[i] - last > SAME_PLACE_MM:
            places.append([])
            last = heights[i]
        places[-1].append(frames[i])
    if max(map(len, places)) == 1:
        return [[p[0] for p in places]]
    for which, phase in enumerate(PHASES):
        words = [sorted(f.phases[which] for f in place) for place in places]
        if all(w == words[0] for w in words) and len(set(words[0])) == len(words[0]) > 1:
            keys = sorted(words[0], key=as_number)
            told.append(f"It holds {len(keys)} volumes, told apart by {phase} ({', '.join(keys[:8])}): the channels.")
            return [[next(f for f in place if f.phases[which] == key) for place in places] for key in keys]
    return [without_copies(places, name, same_pixels, told)]


def as_number(key: str) -> tuple[float, str]:
    """Give a sort key: numbers by value, then other words by letters."""
    try:
        return float(key), key
    except ValueError:
        return float("inf"), key


def without_copies(places: list[list[Frame]], name: str, same_pixels: Same, told: list[str]) -> list[Frame]:
    """Drop duplicate slices with equal pixels; raise if slices at the same position differ."""
    for place in places:
        for other in place[1:]:
            if not same_pixels(place[0], other):
                raise FormatError(
                    f"{name} has {place[0]} and {other} at the same place with different pixels. Remove one of them."
                )
    n = sum(len(p) - 1 for p in places)
    told.append(f"{n} slices lay at the place of another with the same pixels and were left out.")
    return [p[0] for p in places]


def stepped(frames: Sequence[Frame], name: str, told: list[str]) -> tuple[NDArray[np.float64], list[int]]:
    """Give the vector from slice to slice, and the slice number of each frame."""
    normal = frames[0].normal
    points = np.array([f.position for f in frames])
    if len(frames) == 1:
        thickness = frames[0].thickness_mm
        if thickness is None:
            told.append("A lone slice without a thickness: 1 mm is assumed.")
        return normal * (thickness or 1.0), [0]
    steps = np.diff(points @ normal)
    smallest = float(np.median(steps[steps <= steps.min() * 1.5]))
    rungs = np.concatenate([[0], np.cumsum(np.maximum(np.round(steps / smallest), 1))]).astype(int)
    step = (points[-1] - points[0]) / rungs[-1]
    off = np.abs(points - (points[0] + rungs[:, None] * step)).max()
    length = float(np.linalg.norm(step))
    if off > min(max(0.02 * length, ROUNDING_MM), 0.25 * length):
        raise FormatError(
            f"{name} has slices at uneven distances ({steps.min():.4g} to {steps.max():.4g} mm): they lie up to "
            f"{off:.3g} mm off an even grid. Ask for all slices, or resample it first."
        )
    missing = int(rungs[-1]) + 1 - len(frames)
    if missing:
        tell_gap(frames, rungs, missing, name, told)
    tilt = np.degrees(np.arccos(np.clip(step @ normal / length, -1, 1)))
    if tilt > 0.1:
        told.append(f"The slices are sheared by {tilt:.2f} degrees (a tilted gantry); the affine says so exactly.")
    return step, [int(r) for r in rungs]


def tell_gap(frames: Sequence[Frame], rungs: NDArray[np.int_], missing: int, name: str, told: list[str]) -> None:
    """Add a message on missing slices, or raise if they are too many to fill in."""
    gaps = [frames[int(i)] for i in np.flatnonzero(np.diff(rungs) > 1)]
    where = ", ".join(str(g) for g in gaps[:5])
    if missing > MOST_MISSING * len(frames):
        raise FormatError(
            f"{name} lacks {missing} of {rungs[-1] + 1} slices, after {where}. Copy it again: too many to fill in."
        )
    told.append(f"{missing} slices are missing, after {where}; a straight line between their neighbours fills them.")


def with_gaps(frames: Sequence[Frame], rungs: Sequence[int]) -> tuple[Frame | None, ...]:
    """Insert None where a slice number has no frame."""
    at = dict(zip(rungs, frames, strict=True))
    return tuple(at.get(i) for i in range(rungs[-1] + 1))


def affine_of(first: Frame, step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the affine from (column, row, slice) to world RAS in mm."""
    rows_mm, columns_mm = first.spacing or (1.0, 1.0)
    along, down = np.reshape(first.orientation, (2, 3))
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([along * columns_mm, down * rows_mm, step])
    matrix[:3, 3] = first.position
    return TO_RAS @ matrix


def placing(path: Path, frame: Frame, grid: Grid) -> Any:
    """Give the function from (row, column) of a frame to voxels of a grid; raise if the frame is off the grid."""
    matrix = affine_of(frame, frame.normal)
    if not abs(np.linalg.det(matrix[:3, :3])) >= FLAT:
        Grid((1, 1, 1), as_rows(matrix))  # which says why it is no place
    rows, columns = frame.shape
    corners = np.array([[0, 0], [rows - 1, 0], [0, columns - 1], [rows - 1, columns - 1]])

    def at(row_column: NDArray[Any]) -> NDArray[np.int64]:
        return np.round(voxels(row_column)).astype(np.int64)

    def voxels(row_column: NDArray[Any]) -> NDArray[np.float64]:
        inside = np.zeros((len(row_column), 3))
        inside[:, :2] = row_column[:, ::-1]
        return grid.index(inside @ matrix[:3, :3].T + matrix[:3, 3])

    place = voxels(corners)
    off = float(np.abs(place - np.round(place)).max())
    wanted = np.array([rows - 1, columns - 1])
    alike = (np.abs(np.abs(place[1:3] - place[0]).max(axis=1) - wanted) <= OFF_GRID + 1e-5 * wanted).all()
    if off > OFF_GRID or not alike:
        raise FormatError(
            f"{str(path)!r} was drawn on another grid than that of its image (off by {off:.2f} voxels). "
            "Give the series that it was drawn on."
        )
    return at
