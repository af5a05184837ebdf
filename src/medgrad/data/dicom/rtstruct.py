"""Read DICOM RTSTRUCT: contours rasterised onto the grid of an image series as labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..file_errors import as_format_error, to_smallest_unsigned
from ..grid import Grid
from ..types import LabelMap
from .header import find_only_file
from .read_dataset import get_items, get_number, get_text, open_dicom
from .seg import select_items

CONTOUR_DATA_TAG = 0x30060050
CLOSED_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
MAX_THICKNESS = 0.2  # slices; contours that leave their slice by more were drawn on another series
SAME_PLANE_TOLERANCE = 0.01

ContoursByPlane = dict[float, list[NDArray[np.float64]]]


def can_read(path: Path) -> bool:
    """Tell whether a file is an RTSTRUCT, or a folder holds just one."""
    return find_only_file(path, "contours") is not None


def list_items(path: Path) -> list[str]:
    """List the region names."""
    path = find_only_file(path, "contours") or path
    with as_format_error(path, "DICOM RTSTRUCT"):
        return [name for _, name in list_regions(path, open_dicom(path))]


def read_labels(path: Path, item: str = "", reference_grid: Grid | None = None) -> LabelMap:
    """Rasterise all regions, or the one named by ``item``, onto the grid ``reference_grid``.

    Labels are the ROI numbers.

    A voxel belongs to a region if its centre lies within an odd number of its contours, so a contour within
    another is a hole. Where regions overlap, the later one wins.
    """
    path = find_only_file(path, "contours") or path
    if reference_grid is None or reference_grid.dims != 3:
        raise FormatError(
            f"{str(path)!r} holds contours, which need the volume that they were drawn on. Name its image."
        )
    messages: list[str] = []
    array = np.zeros(reference_grid.shape, np.uint32)
    overlaps = 0
    with as_format_error(path, "DICOM RTSTRUCT"):
        dataset = open_dicom(path)
        names = select_items(path, list_regions(path, dataset), item)
        for region in get_items(dataset, "ROIContourSequence"):
            n = int(get_number(region, "ReferencedROINumber") or 0)
            if n in names:
                drawn = rasterise_region(path, region, names[n], reference_grid, messages)
                overlaps += int((drawn & (array > 0)).sum())
                array[drawn] = n
    empty = [name for n, name in names.items() if not (array == n).any()]
    if empty:
        messages.append(f"No voxel lies within: {', '.join(empty)}.")
    if overlaps:
        messages.append(f"Regions overlap in {overlaps:,} voxels; the later region stands there.")
    return LabelMap(to_smallest_unsigned(array), reference_grid, names, tuple(messages))


def list_regions(path: Path, dataset: Dataset) -> list[tuple[int, str]]:
    """List the number and the name of each region."""
    found = []
    for region in get_items(dataset, "StructureSetROISequence"):
        n = get_number(region, "ROINumber")
        if n is None or not 0 <= n < 2**32:
            raise FormatError(f"{str(path)!r} has a region numbered {n}. Ask for the file again.")
        found.append((int(n), get_text(region, "ROIName") or f"region {int(n)}"))
    if not found:
        raise FormatError(f"{str(path)!r} names no regions. Ask for the file again.")
    return found


def rasterise_region(
    path: Path, roi_contour: Dataset, region_name: str, reference_grid: Grid, messages: list[str]
) -> NDArray[np.bool_]:
    """Rasterise the contours of one region, slice by slice."""
    left_out = 0
    shapes: list[NDArray[np.float64]] = []
    for contour in get_items(roi_contour, "ContourSequence"):
        points = contour_points(contour)
        if get_text(contour, "ContourGeometricType").upper() in CLOSED_TYPES and len(points) > 2:
            shapes.append(reference_grid.to_index(points * [-1, -1, 1]))
        else:
            left_out += 1
    if left_out:
        messages.append(
            f"{region_name}: {left_out} contours are points or open lines, which enclose nothing, and were left out."
        )
    array = np.zeros(reference_grid.shape, bool)
    if not shapes:
        return array
    axis = find_plane_axis(path, shapes, region_name)
    planes = group_by_plane(shapes, axis)
    seen = np.moveaxis(array, axis, 0)
    for k, position in match_planes_to_slices(planes, reference_grid.shape[axis]).items():
        seen[k] = fill_polygons([np.delete(s, axis, 1) for s in planes[position]], seen.shape[1:])
    report_unmatched_planes(planes, reference_grid.shape[axis], region_name, messages)
    return array


def contour_points(contour: Dataset) -> NDArray[np.float64]:
    """Parse the points of a contour in LPS, (n, 3), from the stored text."""
    if CONTOUR_DATA_TAG not in contour:
        return np.zeros((0, 3))
    value = contour.get_item(CONTOUR_DATA_TAG).value
    words = value.strip(b" \0").split(b"\\") if isinstance(value, bytes) else list(value or [])
    flat = np.array([float(w) for w in words if w not in (b"", "")])
    if len(flat) % 3 or not np.isfinite(flat).all():
        raise ValueError(f"a contour has {len(flat)} coordinates, which are no points in space")
    return flat.reshape(-1, 3)


def find_plane_axis(path: Path, polygons: list[NDArray[np.float64]], region_name: str) -> int:
    """Find the grid axis that is perpendicular to all contours; the last axis is tried first."""
    thickness = np.array([np.ptp(s, axis=0) for s in polygons]).max(axis=0)
    for axis in (2, 1, 0):
        if thickness[axis] <= MAX_THICKNESS:
            return axis
    raise FormatError(
        f"{str(path)!r}: the contours of {region_name!r} run across the image's slices. "
        "Give the series that they were drawn on."
    )


def group_by_plane(polygons: list[NDArray[np.float64]], axis: int) -> ContoursByPlane:
    """Group the contours that lie in the same plane."""
    found: ContoursByPlane = {}
    for shape in sorted(polygons, key=lambda s: float(s[:, axis].mean())):
        position = float(shape[:, axis].mean())
        last = next(reversed(found), -np.inf)
        found.setdefault(last if position - last <= SAME_PLANE_TOLERANCE else position, []).append(shape)
    return found


def match_planes_to_slices(planes: ContoursByPlane, n_slices: int) -> dict[int, float]:
    """Match each slice with the nearest contour plane within half a slice."""
    best: dict[int, float] = {}
    for position in planes:
        k = int(np.floor(position + 0.5)) if abs(position) < 1e9 else -1
        if 0 <= k < n_slices and (k not in best or abs(position - k) < abs(best[k] - k)):
            best[k] = position
    return best


def report_unmatched_planes(planes: ContoursByPlane, n_slices: int, region_name: str, messages: list[str]) -> None:
    """Add messages on contours outside the volume or between slices, and on slices without contours."""
    used = match_planes_to_slices(planes, n_slices)
    outside = sum(not -0.5 <= p < n_slices - 0.5 for p in planes)
    if outside:
        messages.append(f"{region_name}: contours in {outside} planes lie outside the image and were left out.")
    if len(used) < len(planes) - outside:
        messages.append(
            f"{region_name}: the contours lie closer than the slices; the nearest to each slice were taken."
        )
    if used and (far := max(abs(p - k) for k, p in used.items())) > 0.1:
        messages.append(f"{region_name}: contours lie up to {far:.2f} slices off the slices that they were drawn into.")
    skipped = max(used) - min(used) + 1 - len(used) if used else 0
    if skipped:
        messages.append(f"{region_name}: {skipped} slices between the contours have none and stay empty.")


def fill_polygons(polygons: list[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill polygons of (n, 2) indices by the even-odd rule on a grid of points.

    Every edge flips the grid points beyond its crossing with each line of the first axis; a point on an edge
    belongs to the side of increasing indices.

    >>> fill_polygons([np.array([[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]])], (4, 4)).sum()
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
