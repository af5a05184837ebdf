"""Read DICOM RTSTRUCT: contours rasterised onto the grid of an image series as labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..file_errors import damage_told, smallest_unsigned
from ..grid import Grid
from ..types import LabelMap
from .file import every_item, number, open_dicom, word
from .header import the_only
from .seg import chosen

CONTOUR_DATA = 0x30060050
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
FLAT_ENOUGH = 0.2  # slices; contours that leave their slice by more were drawn on another series
SAME_PLANE = 0.01

Planes = dict[float, list[NDArray[np.float64]]]


def claims(path: Path) -> bool:
    """Tell whether a file is an RTSTRUCT, or a folder holds just one."""
    return the_only(path, "contours") is not None


def items(path: Path) -> list[str]:
    """List the region names."""
    path = the_only(path, "contours") or path
    with damage_told(path, "DICOM RTSTRUCT"):
        return [name for _, name in regions_of(path, open_dicom(path))]


def read_labels(path: Path, item: str = "", like: Grid | None = None) -> LabelMap:
    """Rasterise all regions, or the one named by ``item``, onto the grid ``like``; labels are the ROI numbers.

    A voxel belongs to a region if its centre lies within an odd number of its contours, so a contour within
    another is a hole. Where regions overlap, the later one wins.
    """
    path = the_only(path, "contours") or path
    if like is None or like.dims != 3:
        raise FormatError(
            f"{str(path)!r} holds contours, which need the volume that they were drawn on. Name its image."
        )
    told: list[str] = []
    array = np.zeros(like.shape, np.uint32)
    overlaps = 0
    with damage_told(path, "DICOM RTSTRUCT"):
        source = open_dicom(path)
        names = chosen(path, regions_of(path, source), item)
        for region in every_item(source, "ROIContourSequence"):
            n = int(number(region, "ReferencedROINumber") or 0)
            if n in names:
                drawn = drawn_region(path, region, names[n], like, told)
                overlaps += int((drawn & (array > 0)).sum())
                array[drawn] = n
    empty = [name for n, name in names.items() if not (array == n).any()]
    if empty:
        told.append(f"No voxel lies within: {', '.join(empty)}.")
    if overlaps:
        told.append(f"Regions overlap in {overlaps:,} voxels; the later region stands there.")
    return LabelMap(smallest_unsigned(array), like, names, tuple(told))


def regions_of(path: Path, source: Dataset) -> list[tuple[int, str]]:
    """List the number and the name of each region."""
    found = []
    for region in every_item(source, "StructureSetROISequence"):
        n = number(region, "ROINumber")
        if n is None or not 0 <= n < 2**32:
            raise FormatError(f"{str(path)!r} has a region numbered {n}. Ask for the file again.")
        found.append((int(n), word(region, "ROIName") or f"region {int(n)}"))
    if not found:
        raise FormatError(f"{str(path)!r} names no regions. Ask for the file again.")
    return found


def drawn_region(path: Path, region: Dataset, name: str, like: Grid, told: list[str]) -> NDArray[np.bool_]:
    """Rasterise the contours of one region, slice by slice."""
    left_out = 0
    shapes: list[NDArray[np.float64]] = []
    for contour in every_item(region, "ContourSequence"):
        points = points_of(contour)
        if word(contour, "ContourGeometricType").upper() in CLOSED and len(points) > 2:
            shapes.append(like.index(points * [-1, -1, 1]))
        else:
            left_out += 1
    if left_out:
        told.append(f"{name}: {left_out} contours are points or open lines, which enclose nothing, and were left out.")
    array = np.zeros(like.shape, bool)
    if not shapes:
        return array
    axis = plane_axis(path, shapes, name)
    planes = by_plane(shapes, axis)
    seen = np.moveaxis(array, axis, 0)
    for k, position in nearest_planes(planes, like.shape[axis]).items():
        seen[k] = filled([np.delete(s, axis, 1) for s in planes[position]], seen.shape[1:])
    tell_planes(planes, like.shape[axis], name, told)
    return array


def points_of(contour: Dataset) -> NDArray[np.float64]:
    """Parse the points of a contour in LPS, (n, 3), from the stored text."""
    if CONTOUR_DATA not in contour:
        return np.zeros((0, 3))
    value = contour.get_item(CONTOUR_DATA).value
    words = value.strip(b" \0").split(b"\\") if isinstance(value, bytes) else list(value or [])
    flat = np.array([float(w) for w in words if w not in (b"", "")])
    if len(flat) % 3 or not np.isfinite(flat).all():
        raise ValueError(f"a contour has {len(flat)} coordinates, which are no points in space")
    return flat.reshape(-1, 3)


def plane_axis(path: Path, shapes: list[NDArray[np.float64]], name: str) -> int:
    """Find the grid axis that is perpendicular to all contours; the last axis is tried first."""
    thickness = np.array([np.ptp(s, axis=0) for s in shapes]).max(axis=0)
    for axis in (2, 1, 0):
        if thickness[axis] <= FLAT_ENOUGH:
            return axis
    raise FormatError(
        f"{str(path)!r}: the contours of {name!r} run across the image's slices. "
        "Give the series that they were drawn on."
    )


def by_plane(shapes: list[NDArray[np.float64]], axis: int) -> Planes:
    """Group the contours that lie in the same plane."""
    found: Planes = {}
    for shape in sorted(shapes, key=lambda s: float(s[:, axis].mean())):
        position = float(shape[:, axis].mean())
        last = next(reversed(found), -np.inf)
        found.setdefault(last if position - last <= SAME_PLANE else position, []).append(shape)
    return found


def nearest_planes(planes: Planes, n: int) -> dict[int, float]:
    """Match each slice with the nearest contour plane within half a slice."""
    best: dict[int, float] = {}
    for position in planes:
        k = int(np.floor(position + 0.5)) if abs(position) < 1e9 else -1
        if 0 <= k < n and (k not in best or abs(position - k) < abs(best[k] - k)):
            best[k] = position
    return best


def tell_planes(planes: Planes, n: int, name: str, told: list[str]) -> None:
    """Add messages on contours outside the volume or between slices, and on slices without contours."""
    used = nearest_planes(planes, n)
    outside = sum(not -0.5 <= p < n - 0.5 for p in planes)
    if outside:
        told.append(f"{name}: contours in {outside} planes lie outside the image and were left out.")
    if len(used) < len(planes) - outside:
        told.append(f"{name}: the contours lie closer than the slices; the nearest to each slice were taken.")
    if used and (far := max(abs(p - k) for k, p in used.items())) > 0.1:
        told.append(f"{name}: contours lie up to {far:.2f} slices off the slices that they were drawn into.")
    skipped = max(used) - min(used) + 1 - len(used) if used else 0
    if skipped:
        told.append(f"{name}: {skipped} slices between the contours have none and stay empty.")


def filled(polygons: list[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill polygons of (n, 2) indices by the even-odd rule on a grid of points.

    Every edge flips the grid points beyond its crossing with each line of the first axis; a point on an edge
    belongs to the side of increasing indices.

    >>> filled([np.array([[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]])], (4, 4)).sum()
    np.int64(4)
    """
    flips = np.zeros((shape[0], shape[1] + 1), np.int32)
    for polygon in polygons:
        a, u = polygon.T
        b, v = np.roll(polygon, -1, axis=0).T
        ends = np.clip(np.ceil(np.sort([a, b], axis=0)), 0, shape[0]).astype(int)
        n = ends[1] - ends[0]  # the lines that each edge crosses
        edge = np.repeat(np.arange(len(n)), n)
        lines = ends[0][edge] + np.arange(len(edge)) - np.repeat(np.cumsum(n) - n, n)
        crossings = u[edge] + (lines - a[edge]) * (v - u)[edge] / (b - a)[edge]
        np.add.at(flips, (lines, np.clip(np.ceil(crossings), 0, shape[1]).astype(int)), 1)
    return flips.cumsum(axis=1)[:, :-1] % 2 == 1
