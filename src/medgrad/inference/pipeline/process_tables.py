"""Process a whole table of numbers, and write it with the same rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data import Case, Grid, Image
from ...data.cohorts.layouts import Hints
from ...data.cohorts.layouts.feature_table import ColumnRoles, assign_columns
from ...data.cohorts.layouts.image_table import LABEL_WORDS
from ...data.formats.csv import MISSING_VALUES, NAME_COLUMNS, Table, load_table
from ...data.tables import find_column, write_csv_rows
from ...errors import FormatError
from ...prepare import Step


def process_table(path: Path, steps: Sequence[Step], out: Path) -> tuple[Path, list[dict[str, Any]], tuple[str, ...]]:
    """Process the features of a table; give the file written, what each step chose, and messages.

    Names, classes, patients and splits stay as they are. A cell that does not change is written as it was.
    """
    for step in steps:
        if not step.takes_tables:
            raise FormatError(f"{path.name!r} is a table, but {step.name!r} takes images. Give an image.")
    table = load_table(path)
    check_no_empty_column(table, path)
    columns = feature_columns(table, path)
    values = table.values[:, columns]
    names = tuple(table.names[c] for c in columns)
    image = Image(values, Grid.from_shape(values.shape, has_spacing=False), "other", {"columns": names})
    case, chosen = Case(path.stem, {"table": image}), []
    for step in steps:
        case, memo = step.apply(case)
        chosen.append({"step": step.name, **memo.values.get("chosen", {})})
    made = case.images["table"].array
    cells = [list(row) for row in table.cells]
    for row, place in zip(*np.nonzero(~((made == values) | (np.isnan(made) & np.isnan(values)))), strict=True):
        cells[row][columns[place]] = f"{made[row, place]:.8g}"
    written = write_csv_rows(out / path.name, [table.names, *cells], like=path)
    return written, chosen, messages_on_others(table, columns)


def check_no_empty_column(table: Table, path: Path) -> None:
    """Raise if a column has no value in any row."""
    for name in table.names:
        if all(cell.lower() in MISSING_VALUES for cell in table.column_cells(name)):
            raise FormatError(f"The column {name!r} of {path.name!r} holds no value in any row. Take it out.")


def feature_columns(table: Table, path: Path) -> list[int]:
    """Find the columns of numbers that are not a name, a class, a patient or a split."""
    roles = assign_columns(table, Hints(), path)
    if isinstance(roles, ColumnRoles):
        return list(roles.feature_columns)
    others = {find_column(table.names, words) for words in (NAME_COLUMNS, LABEL_WORDS)}
    found = [p for p, name in enumerate(table.names) if name not in others and table.is_numeric_column(p)]
    if not found:
        raise FormatError(f"{path.name!r} has no column of numbers ({', '.join(table.names)}).")
    return found


def messages_on_others(table: Table, columns: Sequence[int]) -> tuple[str, ...]:
    """Tell which other columns have gaps."""
    others = [n for p, n in enumerate(table.names) if p not in columns]
    gaps = [n for n in others if any(cell.lower() in MISSING_VALUES for cell in table.column_cells(n))]
    return (f"Gaps stay in what is no feature: {', '.join(map(repr, gaps))}.",) if gaps else ()
