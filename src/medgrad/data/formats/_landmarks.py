"""Landmarks as a CSV: a row for each point, with columns x, y and, in a volume, z."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from ...errors import FormatError
from ..file_errors import as_format_error
from ..grid import Grid
from ..types import Landmarks

NAME_COLUMNS = ("name", "label", "landmark", "id", "")


def check_landmarks(path: Path) -> None:
    """Raise unless the heading of a landmark table names coordinates."""
    with as_format_error(path, "a table of landmarks"), path.open(newline="", encoding="utf-8-sig") as file:
        head = [cell.strip().lower() for cell in next(csv.reader(file), [])]
    if missing := [axis for axis in ("x", "y") if axis not in head]:
        raise FormatError(
            f"{str(path)!r} has no column {missing[0]!r}. A table of landmarks has a first line such as name,x,y,z."
        )


def read_landmarks(path: Path, grid: Grid) -> Landmarks:
    """Read a landmark CSV: world mm in a volume, pixels in a 2D image (x along the columns)."""
    if not path.is_file():
        raise FormatError(f"{str(path)!r} does not exist. Check the path.")
    with as_format_error(path, "a table of landmarks"), path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
        head = [cell.strip().lower() for cell in rows[0]] if rows else []
        wanted = ("x", "y", "z")[: grid.dims]
        if missing := [w for w in wanted if w not in head]:
            raise FormatError(
                f"{str(path)!r} has no column {missing[0]!r}. A table of landmarks has the columns {', '.join(wanted)}."
            )
        places = [head.index(w) for w in wanted]
        name_column = next((head.index(n) for n in NAME_COLUMNS if n in head), None)
        body = [row for row in rows[1:] if any(cell.strip() for cell in row)]
        points = np.array([[parse_coordinate(path, row, p) for p in places] for row in body]).reshape(-1, grid.dims)
    if not len(points):
        raise FormatError(f"{str(path)!r} holds no landmarks.")
    names = tuple(row[name_column] for row in body) if name_column is not None else ()
    return Landmarks(grid.to_world(points[:, ::-1]) if grid.dims == 2 else points, names)


def parse_coordinate(path: Path, row: list[str], column: int) -> float:
    """Parse a cell as a finite coordinate."""
    try:
        value = float(row[column])
    except (ValueError, IndexError):
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{str(path)!r} has the row {','.join(row)[:60]!r}, in which a coordinate is no number.")
    return value


def write_landmarks(path: Path, landmarks: Landmarks, grid: Grid) -> Path:
    """Write a landmark CSV that ``read_landmarks`` reads back."""
    points = grid.to_index(landmarks.points)[:, ::-1] if grid.dims == 2 else landmarks.points
    names = landmarks.names or tuple(str(i) for i in range(1, len(points) + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["name", *("x", "y", "z")[: grid.dims]])
        out.writerows([name, *(f"{v:.4f}" for v in point)] for name, point in zip(names, points, strict=True))
    return path
