"""A CSV with a row for each object: its image, and its box, or its centre and diameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ....errors import LayoutError
from ...tables import column, rows_of
from ..cohort import Cohort
from ..split_files import side_of, split_column
from ._boxes import AnnotatedImage, Object, drawn_cohort, joined_lists, not_asked, one_of, pictures_in, side_in
from ._files import NOT_FOLDERS, is_data, some
from ._layout import Hints, NoMatch
from ._side_table import tables_in
from .table import FILE_WORDS, LABEL_WORDS, Finder

Row = Mapping[str, str]
Corners = Callable[[Sequence[float]], tuple[float, ...]]

IMAGE_WORDS = (*FILE_WORDS, "seriesuid", "series_uid", "seriesinstanceuid", "patientid", "patient_id", "filename_jpg")
KIND_WORDS = (*LABEL_WORDS, "class_name", "label_name", "name", "type", "object")
NO_NAME = "object"


@dataclass(frozen=True)
class Kind:
    """One way to write a box in columns: the accepted names of each column, and how their numbers become corners."""

    words: tuple[tuple[str, ...], ...]
    corners: Corners
    space: Literal["elements", "world"]
    dims: int
    told: str


def ball(v: Sequence[float]) -> tuple[float, ...]:
    """Give the bounding box of a ball of centre and diameter; x and y are converted from LPS to RAS."""
    centre, radius = (-v[0], -v[1], v[2]), v[3] / 2
    return (*(c - radius for c in centre), *(c + radius for c in centre))


def own(space: str, dims: int) -> tuple[tuple[str, ...], ...]:
    """Name the columns that ``write_boxes`` writes."""
    return tuple((f"{space}{axis}_{end}",) for end in ("from", "to") for axis in range(dims))


PIXELS = "Boxes are taken to count pixels from the outer edge of the first one."
KINDS = (
    Kind(own("world", 3), tuple, "world", 3, "Boxes are in mm of the body."),
    Kind(own("world", 2), tuple, "world", 2, "Boxes are in mm of the image."),
    Kind(
        (
            ("coordx", "coord_x"), ("coordy", "coord_y"), ("coordz", "coord_z"),
            ("diameter_mm", "diameter", "diam_mm"),
        ),
        ball, "world", 3, "Objects are balls, with centre and diameter in mm of the body as in DICOM (x to the left).",
    ),
    Kind(
        (
            ("ymin", "y_min", "y1", "top", "bbox_y1", "y0"), ("xmin", "x_min", "x1", "left", "bbox_x1", "x0"),
            ("ymax", "y_max", "y2", "bottom", "bbox_y2"), ("xmax", "x_max", "x2", "right", "bbox_x2"),
        ),
        tuple, "elements", 2, PIXELS,
    ),
    Kind(
        (
            ("y", "bbox_y"), ("x", "bbox_x"), ("height", "h", "bbox_h", "bbox_height"),
            ("width", "w", "bbox_w", "bbox_width"),
        ),
        lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]), "elements", 2, PIXELS,
    ),
)  # fmt: skip


def boxes_table(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a CSV with a row for each object, given itself or by the folder of the images.

    An image that no row names, or whose row has no numbers, has no object.
    """
    if miss := not_asked(hints):
        return miss
    if folder.is_file() and folder.suffix.lower() not in (".csv", ".tsv"):
        return NoMatch(0.0, "it is no .csv.")
    root = folder.parent if folder.is_file() else folder
    paths = [folder] if folder.is_file() else tables_of(folder)
    drawing = {p: kind for p in paths if (kind := kind_of(p)) is not None}
    if not drawing:
        return NoMatch(0.0, "it holds no .csv with a row an object.")
    finder = Finder(root)
    found = {p: read_table(p, root, finder, kind, None) for p, kind in drawing.items()}
    good = {p: c for p, c in found.items() if isinstance(c, Cohort)}
    if not good:
        return max((m for m in found.values() if isinstance(m, NoMatch)), key=lambda m: m.closeness)
    if len(good) == 1:
        return next(iter(good.values()))
    sides = one_of(good, folder)
    again = {p: read_table(p, root, finder, drawing[p], sides[p]) for p in good}
    return joined_lists({p: c for p, c in again.items() if isinstance(c, Cohort)}, folder)


def tables_of(folder: Path) -> list[Path]:
    """List the tables in a folder and in its direct subfolders."""
    below = [p for p in sorted(folder.iterdir()) if p.is_dir() and is_data(p) and p.name.lower() not in NOT_FOLDERS]
    return [t for place in (folder, *below) for t in tables_in(place)]


def kind_of(path: Path) -> Kind | None:
    """Find which box columns a table has, or None."""
    try:
        rows = rows_of(path)
    except LayoutError:
        return None
    return next((k for k in KINDS if rows and all(column(rows[0], w) for w in k.words)), None)


def read_table(path: Path, root: Path, finder: Finder, kind: Kind, side: str | None) -> Cohort | NoMatch:
    """Build the cohort of one box table; with a ``side``, only of the images that it names."""
    rows = rows_of(path)
    ends = [str(column(rows[0], words)) for words in kind.words]
    images = [c for w in IMAGE_WORDS if (c := column(rows[0], (w,))) and c not in ends]
    image = next((c for c in images if any(finder.find(r[c]) for r in rows[:50])), None)
    if image is None:
        return NoMatch(
            0.5, f"{path.name} draws boxes, but no column of it names images that are here. Add one called file."
        )
    label = next((c for w in KIND_WORDS if (c := column(rows[0], (w,))) and c not in (*ends, image)), None)
    split, told = split_column(rows), [f"The boxes are the rows of {path.name}. {kind.told}"]
    drawn: dict[Path, list[Object]] = {}
    sides: dict[Path, str | None] = {}
    absent = set()
    for number, row in enumerate(rows, 2):
        place = finder.find(row[image])
        if place is None:
            absent.add(row[image])
            continue
        sides[place] = side_of(row[split]) if split else side or side_in(place, root)
        objects = drawn.setdefault(place, [])
        if any(row[end] for end in ends):
            objects.append(object_of(row, ends, label, kind, where=f"{str(path)!r}, line {number}"))
    if absent:
        told.append(f"{len(absent)} name(s) in {path.name} are of no image that is here: {some(sorted(absent))}.")
    every = [] if side else [p for p in pictures_in(root) if p not in drawn]
    if every:
        told.append(
            f"{len(every)} image(s) are in no row, and are taken to show no object: {some(p.name for p in every)}."
        )
    sheets = [AnnotatedImage(p, tuple(objects), sides[p]) for p, objects in drawn.items()]
    sheets += [AnnotatedImage(p, (), side_in(p, root)) for p in every]
    sheets.sort(key=lambda s: str(s.image))
    labels = {name for objects in drawn.values() for name, _ in objects}
    return drawn_cohort(root, sheets, layout="boxes_table", labels=labels, told=told, space=kind.space, dims=kind.dims)


def object_of(row: Row, ends: Sequence[str], label: str | None, kind: Kind, *, where: str) -> Object:
    """Parse the label and the box of one row."""
    try:
        corners = kind.corners([float(row[end]) for end in ends])
    except ValueError:
        raise LayoutError(f"{where}: {', '.join(ends)} must be numbers. Correct the row, or leave all empty.") from None
    return (row[label] if label else "") or NO_NAME, corners


boxes_table.order = 33  # type: ignore[attr-defined]
THIS = boxes_table
