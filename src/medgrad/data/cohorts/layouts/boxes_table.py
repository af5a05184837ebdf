"""A CSV with a row for each object: its image, and its box, or its centre and diameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ....errors import LayoutError
from ...tables import find_column, read_csv_rows
from ..cohort import Cohort
from ..split_files import find_split_column, parse_split_name
from ._detection_cohort import (
    AnnotatedImage,
    LabelledBox,
    assign_file_splits,
    build_detection_cohort,
    list_images_outside_mask_folders,
    merge_split_cohorts,
    reject_other_tasks,
    split_from_folders,
)
from ._files import IGNORED_FOLDERS, is_data_file, quote_first
from ._layout import Hints, NoMatch
from ._side_table import list_tables
from .image_table import FILE_WORDS, LABEL_WORDS, FileFinder

Row = Mapping[str, str]
CornersFromColumns = Callable[[Sequence[float]], tuple[float, ...]]

IMAGE_WORDS = (*FILE_WORDS, "seriesuid", "series_uid", "seriesinstanceuid", "patientid", "patient_id", "filename_jpg")
CLASS_WORDS = (*LABEL_WORDS, "class_name", "label_name", "name", "type", "object")
DEFAULT_LABEL = "object"


@dataclass(frozen=True)
class BoxColumns:
    """One way to write a box in columns: the accepted names of each column, and how their numbers become corners."""

    column_words: tuple[tuple[str, ...], ...]
    to_corners: CornersFromColumns
    space: Literal["elements", "world"]
    dims: int
    message: str


def ball_to_box(values: Sequence[float]) -> tuple[float, ...]:
    """Give the bounding box of a ball of centre and diameter; x and y are converted from LPS to RAS."""
    centre, radius = (-values[0], -values[1], values[2]), values[3] / 2
    return (*(c - radius for c in centre), *(c + radius for c in centre))


def own_column_names(space: str, dims: int) -> tuple[tuple[str, ...], ...]:
    """Name the columns that ``write_boxes`` writes."""
    return tuple((f"{space}{axis}_{end}",) for end in ("from", "to") for axis in range(dims))


PIXELS_MESSAGE = "Boxes are taken to count pixels from the outer edge of the first one."
BOX_COLUMNS = (
    BoxColumns(own_column_names("world", 3), tuple, "world", 3, "Boxes are in mm of the body."),
    BoxColumns(own_column_names("world", 2), tuple, "world", 2, "Boxes are in mm of the image."),
    BoxColumns(
        (
            ("coordx", "coord_x"), ("coordy", "coord_y"), ("coordz", "coord_z"),
            ("diameter_mm", "diameter", "diam_mm"),
        ),
        ball_to_box, "world", 3, "Objects are balls, centre and diameter in mm of the body as in DICOM (x leftwards).",
    ),
    BoxColumns(
        (
            ("ymin", "y_min", "y1", "top", "bbox_y1", "y0"), ("xmin", "x_min", "x1", "left", "bbox_x1", "x0"),
            ("ymax", "y_max", "y2", "bottom", "bbox_y2"), ("xmax", "x_max", "x2", "right", "bbox_x2"),
        ),
        tuple, "elements", 2, PIXELS_MESSAGE,
    ),
    BoxColumns(
        (
            ("y", "bbox_y"), ("x", "bbox_x"), ("height", "h", "bbox_h", "bbox_height"),
            ("width", "w", "bbox_w", "bbox_width"),
        ),
        lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]), "elements", 2, PIXELS_MESSAGE,
    ),
)  # fmt: skip


def boxes_table(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a CSV with a row for each object, given itself or by the folder of the images.

    An image that no row names, or whose row has no numbers, has no object.
    """
    if miss := reject_other_tasks(hints):
        return miss
    if folder.is_file() and folder.suffix.lower() not in (".csv", ".tsv"):
        return NoMatch(0.0, "it is no .csv.")
    root = folder.parent if folder.is_file() else folder
    paths = [folder] if folder.is_file() else list_nearby_tables(folder)
    columns_by_path = {p: kind for p in paths if (kind := find_box_columns(p)) is not None}
    if not columns_by_path:
        return NoMatch(0.0, "it holds no .csv with a row an object.")
    finder = FileFinder(root)
    cohorts = {p: read_box_table(p, root, finder, kind, None) for p, kind in columns_by_path.items()}
    recognised = {p: c for p, c in cohorts.items() if isinstance(c, Cohort)}
    if not recognised:
        return max((m for m in cohorts.values() if isinstance(m, NoMatch)), key=lambda m: m.closeness)
    if len(recognised) == 1:
        return next(iter(recognised.values()))
    sides = assign_file_splits(recognised, folder)
    again = {p: read_box_table(p, root, finder, columns_by_path[p], sides[p]) for p in recognised}
    return merge_split_cohorts({p: c for p, c in again.items() if isinstance(c, Cohort)}, folder)


def list_nearby_tables(folder: Path) -> list[Path]:
    """List the tables in a folder and in its direct subfolders."""
    below = [
        p for p in sorted(folder.iterdir()) if p.is_dir() and is_data_file(p) and p.name.lower() not in IGNORED_FOLDERS
    ]
    return [t for place in (folder, *below) for t in list_tables(place)]


def find_box_columns(path: Path) -> BoxColumns | None:
    """Find which box columns a table has, or None."""
    try:
        rows = read_csv_rows(path)
    except LayoutError:
        return None
    return next((k for k in BOX_COLUMNS if rows and all(find_column(rows[0], w) for w in k.column_words)), None)


def read_box_table(
    path: Path, root: Path, finder: FileFinder, box_columns: BoxColumns, split_name: str | None
) -> Cohort | NoMatch:
    """Build the cohort of one box table; with a ``split_name``, only of the images that it names."""
    rows = read_csv_rows(path)
    ends = [str(find_column(rows[0], words)) for words in box_columns.column_words]
    images = [c for w in IMAGE_WORDS if (c := find_column(rows[0], (w,))) and c not in ends]
    image = next((c for c in images if any(finder.find(r[c]) for r in rows[:50])), None)
    if image is None:
        return NoMatch(
            0.5, f"{path.name} draws boxes, but no column of it names images that are here. Add one called file."
        )
    label = next((c for w in CLASS_WORDS if (c := find_column(rows[0], (w,))) and c not in (*ends, image)), None)
    split, messages = find_split_column(rows), [f"The boxes are the rows of {path.name}. {box_columns.message}"]
    objects_by_image: dict[Path, list[LabelledBox]] = {}
    sides: dict[Path, str | None] = {}
    absent = set()
    for number, row in enumerate(rows, 2):
        place = finder.find(row[image])
        if place is None:
            absent.add(row[image])
            continue
        sides[place] = parse_split_name(row[split]) if split else split_name or split_from_folders(place, root)
        objects = objects_by_image.setdefault(place, [])
        if any(row[end] for end in ends):
            objects.append(parse_object(row, ends, label, box_columns, location=f"{str(path)!r}, line {number}"))
    if absent:
        messages.append(
            f"{len(absent)} name(s) in {path.name} are of no image that is here: {quote_first(sorted(absent))}."
        )
    every = [] if split_name else [p for p in list_images_outside_mask_folders(root) if p not in objects_by_image]
    if every:
        messages.append(
            f"{len(every)} image(s) are in no row, and are taken to show no object: "
            f"{quote_first(p.name for p in every)}."
        )
    sheets = [AnnotatedImage(p, tuple(objects), sides[p]) for p, objects in objects_by_image.items()]
    sheets += [AnnotatedImage(p, (), split_from_folders(p, root)) for p in every]
    sheets.sort(key=lambda s: str(s.image))
    labels = {name for objects in objects_by_image.values() for name, _ in objects}
    return build_detection_cohort(
        root,
        sheets,
        layout="boxes_table",
        labels=labels,
        messages=messages,
        space=box_columns.space,
        dims=box_columns.dims,
    )


def parse_object(
    row: Row, corner_columns: Sequence[str], label_column: str | None, box_columns: BoxColumns, *, location: str
) -> LabelledBox:
    """Parse the label and the box of one row."""
    try:
        corners = box_columns.to_corners([float(row[end]) for end in corner_columns])
    except ValueError:
        raise LayoutError(
            f"{location}: {', '.join(corner_columns)} must be numbers. Correct the row, or leave all empty."
        ) from None
    return (row[label_column] if label_column else "") or DEFAULT_LABEL, corners


boxes_table.order = 33  # type: ignore[attr-defined]
THIS = boxes_table
