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
from ...tables import column, text_of
from ..cohort import Cohort
from ..split_files import side_of
from ._assemble import image_shape, spread
from ._boxes import AnnotatedImage, drawn_cohort, not_asked, paired_up, pictures_in, side_in
from ._files import files_in
from ._layout import Hints, NoMatch
from .table import LABEL_WORDS
from .yolo import NAMES, names_in

SUFFIXES = (".txt", ".csv", ".tsv", ".xy")
X_WORDS = ("x", "cx", "x_px", "x_centre", "x_center", "centre_x", "center_x", "col", "column")
Y_WORDS = ("y", "cy", "y_px", "y_centre", "y_center", "centre_y", "center_y", "row")
SIZE_WORDS = ("diameter", "size", "diameter_px", "width")
KIND_WORDS = (*(w for w in LABEL_WORDS if w != "y"), "type", "kind", "name", "object")
NO_NAME = "object"
SHARE = 0.7
"""Of the usual distance between neighbours, so much is the side of the box around a point: boxes seldom overlap."""
ALONE = 0.05
"""Of the shorter side of an image, so much is the side of a box where no point has a neighbour."""


@dataclass(frozen=True)
class Point:
    """One annotated point, with its class and its diameter (0 where the file gives none)."""

    x: float
    y: float
    kind: str
    size: float = 0.0


def points(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise images with a text file of points for each, beside the images or in a folder of their own.

    Each point becomes a box, because a detector learns boxes. Its side is the column ``diameter``, else a share of
    the median distance between neighbours.
    """
    if miss := not_asked(hints):
        return miss
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    every = files_in(folder)
    files = [p for p in every if p.suffix.lower() in SUFFIXES and p.name not in NAMES and not side_of(p.stem)]
    images = pictures_in(folder)
    found = paired_up(images, files, folder) if files and images else {}
    if not found:
        return NoMatch(0.0, "it has no text files of points that go with images by their names.")
    pairs = list(found.values())
    if not any(points_in(pairs[i]) for i in spread(len(pairs), 50)):
        said = "hold no points. Write a line an object: 'x y class', in pixels."
        return NoMatch(0.4, f"its text files, such as {pairs[0].name!r}, {said}")
    drawn: dict[Path, list[Point]] = {}
    for image, file in found.items():
        held = points_in(file)
        if held is None:
            raise LayoutError(f"{str(file)!r} has a line that is not 'x y' or 'x y class'. Correct the file.")
        drawn[image] = held
    names, told = names_in(every)
    return boxed(folder, images, drawn, names, told if names else [])


def points_in(path: Path) -> list[Point] | None:
    """Read the points of a file, with or without a heading line; None if a line is something else."""
    try:
        rows = [cells_of(line) for line in text_of(path).splitlines() if line.strip() and not line.startswith("#")]
    except LayoutError:
        return None
    if not rows:
        return []
    order = columns_of(rows[0]) if not any(map(is_number, rows[0])) else Order()
    if order is None:
        return None
    try:
        return [point_of(row, order) for row in (rows if order.is_told_by_place else rows[1:])]
    except (ValueError, IndexError):
        return None


@dataclass(frozen=True)
class Order:
    """The index of each column in a line; -1 where it is absent."""

    x: int = 0
    y: int = 1
    kind: int = 2
    size: int = -1
    is_told_by_place: bool = True


def cells_of(line: str) -> list[str]:
    """Split a line at commas, semicolons or tabs, else at blanks."""
    return [c.strip() for c in (re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line) else line.split())]


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def columns_of(head: Sequence[str]) -> Order | None:
    """Find the columns in a heading line; None if it names no x and y, or a z."""
    x, y, kind, size = (column(head, words) for words in (X_WORDS, Y_WORDS, KIND_WORDS, SIZE_WORDS))
    if x is None or y is None or column(head, ("z", "cz", "height", "h")) is not None:
        return None
    places = [head.index(c) if c is not None else -1 for c in (x, y, kind, size)]
    return Order(places[0], places[1], places[2], places[3], is_told_by_place=False)


def point_of(row: Sequence[str], order: Order) -> Point:
    """Parse the point of a line, or raise a ValueError or an IndexError."""
    if order.is_told_by_place and len(row) not in (2, 3):
        raise ValueError("a line has x, y and perhaps a class")
    x, y = float(row[order.x]), float(row[order.y])
    if not np.isfinite([x, y]).all():
        raise ValueError("a place is no number")
    kind = row[order.kind] if 0 <= order.kind < len(row) else ""
    size = float(row[order.size]) if order.size >= 0 and row[order.size] else 0.0
    return Point(x, y, kind or NO_NAME, size)


def boxed(
    folder: Path, images: Sequence[Path], drawn: Mapping[Path, list[Point]], names: Sequence[str], told: list[str]
) -> Cohort | NoMatch:
    """Build the detection cohort in which each point is a box."""
    every = [p for held in drawn.values() for p in held]
    if not every:
        return NoMatch(0.4, "no text file in it holds a point.")
    in_shares = all(0 <= v <= 1 for p in every for v in (p.x, p.y))
    shapes = {i: image_shape(Source(i)) for i in (images if in_shares else images[:1])}
    placed = {i: [scaled(p, shapes[i]) for p in held] if in_shares else held for i, held in drawn.items()}
    side, how = usual_size(list(placed.values()), next(iter(shapes.values())))
    unit = "shares of the image" if in_shares else "pixels from the outer edge of the first one"
    told.append(f"The objects are the points in the text files, {unit}, x along the columns.")
    if any(not p.size for p in every):
        told.append(
            f"A point has no size, so each is taken for a box of {side:.3g} pixels a side, {how}. A column 'diameter' "
            "in the files gives other sizes."
        )
    labels = {p.kind: named(p.kind, names) for p in every}
    known = [s for i in spread(len(images), 4) if len(s := image_shape(Source(images[i]))) == 2]
    least = np.array(known or [(0, 0)]).min(axis=0)
    sheets = []
    for image in images:
        corners = [(labels[p.kind], corners_of(p, p.size or side)) for p in placed.get(image, ())]
        shape = shapes.get(image, ())
        if not shape and any(min(c) < 0 or (np.array(c[2:]) > least).any() for _, c in corners):
            shape = image_shape(Source(image))
        cut = tuple((label, within(c, shape)) for label, c in corners)
        sheets.append(AnnotatedImage(image, cut if image in placed else None, side_in(image, folder)))
    return drawn_cohort(folder, sheets, layout="points", labels=labels.values(), told=told)


def within(corners: tuple[float, ...], shape: Sequence[int]) -> tuple[float, ...]:
    """Clip a box to the image if its centre lies inside.

    A box whose centre lies outside stays, so that a person sees it.
    """
    if len(shape) != 2:
        return corners
    middle = [(corners[a] + corners[a + 2]) / 2 for a in (0, 1)]
    if not all(0 <= m <= s for m, s in zip(middle, shape, strict=True)):
        return corners
    return (*(max(0.0, c) for c in corners[:2]), *(min(float(s), c) for c, s in zip(corners[2:], shape, strict=True)))


def scaled(point: Point, shape: Sequence[int]) -> Point:
    """Convert a point from shares of the image (rows, columns) to pixels."""
    rows, columns = shape
    return Point(point.x * columns, point.y * rows, point.kind, point.size)


def corners_of(point: Point, side: float) -> tuple[float, ...]:
    """Give the square box around a point: (y0, x0, y1, x1)."""
    return (point.y - side / 2, point.x - side / 2, point.y + side / 2, point.x + side / 2)


def usual_size(held: Sequence[Sequence[Point]], shape: Sequence[int]) -> tuple[float, str]:
    """Give the box side for points without a size, and a sentence on how it was found.

    >>> usual_size([[Point(0, 0, "a"), Point(10, 0, "a")]], (99, 99))[0]
    7.0
    """
    apart = [nearest_of(np.array([(p.x, p.y) for p in each])) for each in held if len(each) > 1]
    usual = float(np.median(np.concatenate(apart))) if apart else 0.0
    if usual > 0:
        return SHARE * usual, f"{SHARE:g} of the median distance to the nearest other point ({usual:.3g})"
    return ALONE * min(shape or (64,)), f"{ALONE:g} of the shorter side of an image, as no point has a neighbour"


def nearest_of(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the distance of each point to its nearest neighbour."""
    from scipy.spatial import KDTree  # a fifth of a second of the processor, for tables of points alone

    return np.asarray(KDTree(places).query(places, k=2)[0][:, 1], float)


def named(kind: str, names: Sequence[str]) -> str:
    """Replace a class number by its name, where names are known."""
    return names[int(kind)] if kind.isdecimal() and int(kind) < len(names) else kind


points.order = 34  # type: ignore[attr-defined]
THIS = points
