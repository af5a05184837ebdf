"""Point annotations in text files: one file for each image, one line ``x y class`` for each object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....errors import LayoutError
from ...source import Source
from ...tables import find_column, read_text
from ..cohort import Cohort
from ..split_files import parse_split_name
from ._detection_cohort import (
    AnnotatedImage,
    build_detection_cohort,
    list_images_outside_mask_folders,
    pair_images_with_files,
    reject_other_tasks,
    split_from_folders,
)
from ._files import list_files
from ._layout import Hints, NoMatch
from ._segmentation_cohort import evenly_spaced_indices, read_image_shape
from .image_table import LABEL_WORDS
from .yolo import CLASS_NAME_FILES, find_class_names

SUFFIXES = (".txt", ".csv", ".tsv", ".xy")
X_WORDS = ("x", "cx", "x_px", "x_centre", "x_center", "centre_x", "center_x", "col", "column")
Y_WORDS = ("y", "cy", "y_px", "y_centre", "y_center", "centre_y", "center_y", "row")
SIZE_WORDS = ("diameter", "size", "diameter_px", "width")
CLASS_WORDS = (*(w for w in LABEL_WORDS if w != "y"), "type", "kind", "name", "object")
DEFAULT_LABEL = "object"
BOX_PER_DISTANCE = 0.7
"""Of the usual distance between neighbours, so much is the side of the box around a point: boxes seldom overlap."""
BOX_PER_IMAGE_SIDE = 0.05
"""Of the shorter side of an image, so much is the side of a box where no point has a neighbour."""


@dataclass(frozen=True)
class Point:
    """One annotated point, with its class and its diameter (0 where the file gives none)."""

    x: float
    y: float
    label: str
    size: float = 0.0


def points(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise images with a text file of points for each, beside the images or in a folder of their own.

    Each point becomes a box, because a detector learns boxes. Its side is the column ``diameter``, else a share of
    the median distance between neighbours.
    """
    if miss := reject_other_tasks(hints):
        return miss
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    every = list_files(folder)
    files = [
        p
        for p in every
        if p.suffix.lower() in SUFFIXES and p.name not in CLASS_NAME_FILES and not parse_split_name(p.stem)
    ]
    images = list_images_outside_mask_folders(folder)
    found = pair_images_with_files(images, files, folder) if files and images else {}
    if not found:
        return NoMatch(0.0, "it has no text files of points that go with images by their names.")
    pairs = list(found.values())
    if not any(read_points(pairs[i]) for i in evenly_spaced_indices(len(pairs), 50)):
        said = "hold no points. Write a line an object: 'x y class', in pixels."
        return NoMatch(0.4, f"its text files, such as {pairs[0].name!r}, {said}")
    drawn: dict[Path, list[Point]] = {}
    for image, file in found.items():
        held = read_points(file)
        if held is None:
            raise LayoutError(f"{str(file)!r} has a line that is not 'x y' or 'x y class'. Correct the file.")
        drawn[image] = held
    names, messages = find_class_names(every)
    return build_point_cohort(folder, images, drawn, names, messages if names else [])


def read_points(path: Path) -> list[Point] | None:
    """Read the points of a file, with or without a heading line; None if a line is something else."""
    try:
        rows = [split_cells(line) for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    except LayoutError:
        return None
    if not rows:
        return []
    order = parse_header(rows[0]) if not any(map(is_number, rows[0])) else PointColumns()
    if order is None:
        return None
    try:
        return [parse_point(row, order) for row in (rows if order.has_no_header else rows[1:])]
    except (ValueError, IndexError):
        return None


@dataclass(frozen=True)
class PointColumns:
    """The index of each column in a line; -1 where it is absent."""

    x: int = 0
    y: int = 1
    label: int = 2
    size: int = -1
    has_no_header: bool = True


def split_cells(line: str) -> list[str]:
    """Split a line at commas, semicolons or tabs, else at blanks."""
    return [c.strip() for c in (re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line) else line.split())]


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def parse_header(header_cells: Sequence[str]) -> PointColumns | None:
    """Find the columns in a heading line; None if it names no x and y, or a z."""
    x, y, kind, size = (find_column(header_cells, words) for words in (X_WORDS, Y_WORDS, CLASS_WORDS, SIZE_WORDS))
    if x is None or y is None or find_column(header_cells, ("z", "cz", "height", "h")) is not None:
        return None
    places = [header_cells.index(c) if c is not None else -1 for c in (x, y, kind, size)]
    return PointColumns(places[0], places[1], places[2], places[3], has_no_header=False)


def parse_point(row: Sequence[str], columns: PointColumns) -> Point:
    """Parse the point of a line, or raise a ValueError or an IndexError."""
    if columns.has_no_header and len(row) not in (2, 3):
        raise ValueError("a line has x, y and perhaps a class")
    x, y = float(row[columns.x]), float(row[columns.y])
    if not np.isfinite([x, y]).all():
        raise ValueError("a place is no number")
    kind = row[columns.label] if 0 <= columns.label < len(row) else ""
    size = float(row[columns.size]) if columns.size >= 0 and row[columns.size] else 0.0
    return Point(x, y, kind or DEFAULT_LABEL, size)


def build_point_cohort(
    folder: Path,
    images: Sequence[Path],
    points_by_image: Mapping[Path, list[Point]],
    class_names: Sequence[str],
    messages: list[str],
) -> Cohort | NoMatch:
    """Build the detection cohort in which each point is a box."""
    every = [p for held in points_by_image.values() for p in held]
    if not every:
        return NoMatch(0.4, "no text file in it holds a point.")
    in_shares = all(0 <= v <= 1 for p in every for v in (p.x, p.y))
    shapes = {i: read_image_shape(Source(i)) for i in (images if in_shares else images[:1])}
    pixel_points = {
        i: [scale_to_pixels(p, shapes[i]) for p in held] if in_shares else held for i, held in points_by_image.items()
    }
    side, how = infer_box_side(list(pixel_points.values()), next(iter(shapes.values())))
    unit = "shares of the image" if in_shares else "pixels from the outer edge of the first one"
    messages.append(f"The objects are the points in the text files, {unit}, x along the columns.")
    if any(not p.size for p in every):
        messages.append(
            f"A point has no size, so each is taken for a box of {side:.3g} pixels a side, {how}. A column 'diameter' "
            "in the files gives other sizes."
        )
    labels = {p.label: class_name(p.label, class_names) for p in every}
    known = [s for i in evenly_spaced_indices(len(images), 4) if len(s := read_image_shape(Source(images[i]))) == 2]
    smallest_shape = np.array(known or [(0, 0)]).min(axis=0)
    sheets = []
    for image in images:
        corners = [(labels[p.label], box_around_point(p, p.size or side)) for p in pixel_points.get(image, ())]
        shape = shapes.get(image, ())
        if not shape and any(min(c) < 0 or (np.array(c[2:]) > smallest_shape).any() for _, c in corners):
            shape = read_image_shape(Source(image))
        clipped = tuple((label, clip_box(c, shape)) for label, c in corners)
        sheets.append(
            AnnotatedImage(image, clipped if image in pixel_points else None, split_from_folders(image, folder))
        )
    return build_detection_cohort(folder, sheets, layout="points", labels=labels.values(), messages=messages)


def clip_box(box: tuple[float, ...], shape: Sequence[int]) -> tuple[float, ...]:
    """Clip a box to the image if its centre lies inside.

    A box whose centre lies outside stays, so that a person sees it.
    """
    if len(shape) != 2:
        return box
    middle = [(box[a] + box[a + 2]) / 2 for a in (0, 1)]
    if not all(0 <= m <= s for m, s in zip(middle, shape, strict=True)):
        return box
    return (*(max(0.0, c) for c in box[:2]), *(min(float(s), c) for c, s in zip(box[2:], shape, strict=True)))


def scale_to_pixels(point: Point, shape: Sequence[int]) -> Point:
    """Convert a point from shares of the image (rows, columns) to pixels."""
    rows, columns = shape
    return Point(point.x * columns, point.y * rows, point.label, point.size)


def box_around_point(point: Point, box_side: float) -> tuple[float, ...]:
    """Give the square box around a point: (y0, x0, y1, x1)."""
    return (point.y - box_side / 2, point.x - box_side / 2, point.y + box_side / 2, point.x + box_side / 2)


def infer_box_side(points_by_image: Sequence[Sequence[Point]], shape: Sequence[int]) -> tuple[float, str]:
    """Give the box side for points without a size, and a sentence on how it was found.

    >>> infer_box_side([[Point(0, 0, "a"), Point(10, 0, "a")]], (99, 99))[0]
    7.0
    """
    distances = [
        nearest_neighbour_distances(np.array([(p.x, p.y) for p in each])) for each in points_by_image if len(each) > 1
    ]
    median_distance = float(np.median(np.concatenate(distances))) if distances else 0.0
    if median_distance > 0:
        return (
            BOX_PER_DISTANCE * median_distance,
            f"{BOX_PER_DISTANCE:g} of the median distance to the nearest other point ({median_distance:.3g})",
        )
    return BOX_PER_IMAGE_SIDE * min(
        shape or (64,)
    ), f"{BOX_PER_IMAGE_SIDE:g} of the shorter side of an image, as no point has a neighbour"


def nearest_neighbour_distances(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the distance of each point to its nearest neighbour."""
    from scipy.spatial import KDTree  # a fifth of a second of the processor, for tables of points alone

    return np.asarray(KDTree(positions).query(positions, k=2)[0][:, 1], float)


def class_name(label: str, class_names: Sequence[str]) -> str:
    """Replace a class number by its name, where names are known."""
    return class_names[int(label)] if label.isdecimal() and int(label) < len(class_names) else label


points.order = 34  # type: ignore[attr-defined]
THIS = points
