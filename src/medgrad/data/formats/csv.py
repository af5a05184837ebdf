"""A CSV or TSV of numbers: each row is a case, each numeric column a feature."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, LayoutError
from ..file_errors import as_format_error, read_first_bytes
from ..grid import Grid
from ..tables import find_column, read_csv_rows
from ..types import Image
from ._format import Format

SUFFIXES = (".csv", ".tsv")
MISSING_VALUES = {"", "na", "n/a", "nan", "null", "none", "-", "?", "."}
NAME_COLUMNS = ("id", "case", "case_id", "caseid", "name", "sample", "sample_id", "")


@dataclass(frozen=True)
class Table:
    """The cells of a table as text, and as numbers (rows, columns) with NaN where a cell is no number."""

    names: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    values: NDArray[np.float64]

    def column_cells(self, name: str) -> list[str]:
        """The cells of a column."""
        place = self.names.index(name)
        return [row[place] for row in self.cells]

    def is_numeric_column(self, column_index: int) -> bool:
        """Tell whether a column holds numbers and missing values, and nothing else."""
        told = [row[column_index].lower() for row in self.cells]
        return any(t not in MISSING_VALUES for t in told) and all(is_number(t) or t in MISSING_VALUES for t in told)


def is_number(cell: str) -> bool:
    """Tell whether a cell is a finite number.

    >>> is_number("1e-3"), is_number("inf"), is_number("1,5"), is_number("1_000")
    (True, False, False, False)
    """
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False


def load_table(path: Path) -> Table:
    """Load a table; the last few are cached, because cases are read a row at a time."""
    with as_format_error(path, "a table"):
        about = path.stat()
        return parse_table(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def parse_table(path: Path, mtime_ns: int, size: int) -> Table:
    """Parse a table; modification time and size are part of the cache key."""
    del mtime_ns, size
    try:
        rows = read_csv_rows(path)
    except LayoutError as reason:
        raise FormatError(str(reason)) from None
    if not rows:
        raise FormatError(f"{str(path)!r} has no rows below its heading.")
    names = tuple(rows[0])
    cells = tuple(tuple(row[n] for n in names) for row in rows)
    values = np.array([[float(c) if is_number(c) else np.nan for c in row] for row in cells])
    values.flags.writeable = False
    return Table(names, cells, values)


def can_read(path: Path) -> bool:
    """Tell whether a file is a table with a number in its first row."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    lines = read_first_bytes(path, 1 << 16).decode("utf-8-sig", errors="replace").split("\n")
    marks = [m for m in ",;\t" if m in lines[0]]
    return bool(marks and len(lines) > 1 and any(is_number(c) for c in re.split(r"[,;\t]", lines[1].strip())))


def list_items(path: Path) -> list[str]:
    """List the rows of a table, by number from 0."""
    return [str(i) for i in range(len(load_table(path).cells))]


def list_named_rows(path: Path) -> list[tuple[str, str]]:
    """Give the name and the item of every row; the name is that of the name column if it is unique."""
    table = load_table(path)
    found = find_column(table.names, NAME_COLUMNS)
    names = [re.sub(r"[^\w.\- ]+", "_", n) for n in table.column_cells(found)] if found is not None else []
    if len(set(names)) < len(table.cells) or not all(names):
        names = number_rows(path, len(table.cells))
    return list(zip(names, list_items(path), strict=True))


def number_rows(path: Path, n_rows: int) -> list[str]:
    """Name rows by their table and their number, from 1."""
    return [f"{path.stem}_{i + 1:0{len(str(n_rows))}d}" for i in range(n_rows)]


def format_row_and_columns(row: int, column_indices: Sequence[int]) -> str:
    """Make the item that names some columns of a row, counted from 0.

    >>> format_row_and_columns(7, [1, 2, 3, 5])
    '7:1-3,5'
    """
    runs: list[list[int]] = []
    for place in column_indices:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return f"{row}:" + ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def parse_column_indices(text: str) -> list[int]:
    """Parse the column indices in an item.

    >>> parse_column_indices("1-3,5")
    [1, 2, 3, 5]
    """
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def read(path: Path, item: str = "") -> Image:
    """Read a row of a table as a 1D image without spacing, NaN where a number is missing.

    The item is ``row``, for all numeric columns, or ``row:columns``, such as ``7:1-3,5``; both count from 0. The
    tag ``columns`` names the columns.
    """
    table = load_table(path)
    row, _, places = item.partition(":")
    if not row and len(table.cells) > 1:
        raise FormatError(f"{str(path)!r} holds {len(table.cells)} rows. Name one of them.")
    if not re.fullmatch(r"\d*", row) or int(row or 0) >= len(table.cells):
        raise FormatError(f"{str(path)!r} has no row {row!r}: it has {len(table.cells)}, numbered from 0.")
    with as_format_error(path, "a table"):
        every = range(len(table.names))
        chosen = parse_column_indices(places) if places else [p for p in every if table.is_numeric_column(p)]
        values = np.array(table.values[int(row or 0), chosen])
        names = tuple(table.names[p] for p in chosen)
    if not chosen:
        raise FormatError(f"{str(path)!r} has no column of numbers ({', '.join(table.names)}).")
    return Image(values, Grid.from_shape(values.shape, has_spacing=False), "other", {"columns": names})


THIS = Format((), can_read, read, None, None, list_items)
