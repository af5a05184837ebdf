"""A CSV with a row of features (radiomics, measurements) for each case, its class, and perhaps patient and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....errors import FormatError, LayoutError
from ...formats.csv import (
    MISSING_VALUES,
    NAME_COLUMNS,
    SUFFIXES,
    Table,
    format_row_and_columns,
    is_number,
    load_table,
    number_rows,
)
from ...source import Source
from ...tables import find_column
from ...types import Scores
from ..cohort import Cohort, Entry
from ..patients import assign_patients
from ..split_files import apply_found_split, describe_split_counts, find_split_column, parse_split_name
from ._files import list_files, natural_sort_key, quote_first, readable_suffixes
from ._layout import Hints, NoMatch
from ._segmentation_cohort import drop_split_without_truth
from ._side_table import PATIENT_WORDS, list_tables
from .image_table import LABEL_WORDS, MAX_CLASSES, _merge_split_tables, explain_missing_column

TEXT_SUFFIXES = (*SUFFIXES, ".txt", ".md", ".json", ".toml", ".yaml", ".yml", ".pdf", ".html", ".xlsx", ".xls")
PATH_WORDS = (
    "file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_file", "image_name",
    "img", "img_path", "scan", "dicom", "mask", "mask_path", "segmentation",
)  # fmt: skip
COUNTER_WORDS = ("", "index", "row", "row_number", "unnamed:_0", "no", "nr")
MIN_COMPLETE_SHARE = 0.5
"""The least share of the rows that must have a number in every column."""


@dataclass(frozen=True)
class ColumnRoles:
    """The role of each column; ``feature_table`` are column indices, ``unused`` names the columns that are not used."""

    label: str
    feature_columns: tuple[int, ...]
    case_name: str | None = None
    patient: str | None = None
    split: str | None = None
    unused: tuple[str, ...] = ()


def feature_table(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a table of features, given itself or by a folder that holds only tables."""
    if hints.rules_out("scores"):
        return NoMatch(0.1, f"a table of features does not serve {hints.task}.")
    if folder.is_file():
        return (
            read_feature_table(folder, hints) if folder.suffix.lower() in SUFFIXES else NoMatch(0.0, "it is no .csv.")
        )
    tables = list_tables(folder)
    if not tables:
        return NoMatch(0.0, "it holds no .csv with a row a case.")
    others = [p for p in list_files(folder) if p.suffix.lower() not in TEXT_SUFFIXES]
    if others:
        return NoMatch(
            0.2, f"beside its tables it holds other files, such as {others[0].name!r}; name the .csv itself."
        )
    found = {path: read_feature_table(path, hints) for path in tables}
    good = {path: cohort for path, cohort in found.items() if isinstance(cohort, Cohort)}
    if len(good) > 1:
        return merge_split_tables(folder, good)
    misses = [miss for miss in found.values() if isinstance(miss, NoMatch)]
    return next(iter(good.values()), None) or max(misses, key=lambda m: m.closeness)


def merge_split_tables(folder: Path, cohorts: dict[Path, Cohort]) -> Cohort:
    """Merge the tables of the splits; all must have the same columns."""
    columns = {path: feature_names(cohort) for path, cohort in cohorts.items()}
    first = next(iter(columns))
    for path, names in columns.items():
        if set(names) != set(columns[first]):
            odd = sorted(set(names) ^ set(columns[first]), key=natural_sort_key)
            raise LayoutError(
                f"{first.name} and {path.name} in {str(folder)!r} differ in the columns {quote_first(odd)}."
            )
    return replace(_merge_split_tables(folder, cohorts), layout="feature_table")


def feature_names(cohort: Cohort) -> tuple[str, ...]:
    """List the feature names of a cohort."""
    return tuple(cohort.read_image("features", cohort.entries[0].images["features"]).tags["columns"])


def read_feature_table(path: Path, hints: Hints) -> Cohort | NoMatch:
    """Build the cohort of a feature table, or say what it lacks."""
    try:
        table = load_table(path)
    except FormatError as reason:
        return NoMatch(0.2, f"{path.name} is no table of features: {str(reason).rstrip('.')}.")
    messages: list[str] = []
    columns = assign_columns(table, hints, path)
    if isinstance(columns, NoMatch):
        return columns
    kept = list_complete_rows(table, columns, path, messages)
    cells = [table.column_cells(columns.label)[i] for i in kept]
    classes = tuple(sorted({c for c in cells if c.lower() not in MISSING_VALUES}, key=natural_sort_key))
    if len(classes) < 2:
        raise LayoutError(
            f"The column {columns.label!r} of {path.name} holds {quote_first(classes) or 'nothing'}; at least "
            "two classes are needed."
        )
    counts = ", ".join(f"{c} ({cells.count(c)})" for c in classes[:12])
    messages.insert(0, f"The classes are in the column {columns.label!r}: {counts}.")
    messages.insert(0, f"The {len(columns.feature_columns)} features are the columns of numbers: "
                f"{quote_first([table.names[p] for p in columns.feature_columns], 5)}.")  # fmt: skip
    if columns.unused:
        messages.append(
            f"Not used, because they count rows, hold words or are empty: {quote_first(columns.unused, 12)}."
        )
    names = make_row_names(table, columns, path)
    truths = {c: Scores(np.eye(len(classes))[i], classes) for i, c in enumerate(classes)}
    entries = tuple(
        Entry(names[i], {"features": Source(path, format_row_and_columns(i, columns.feature_columns))}, truths.get(c))
        for i, c in zip(kept, cells, strict=True)
    )
    bare = [e.id for e in entries if e.truth is None]
    if bare:
        messages.append(f"{len(bare)} row(s) have no class and stand on no side: {quote_first(bare)}.")
    cohort = Cohort(
        path, "feature_table", "classification", entries, classes, dims=1, messages=tuple(messages), truth="scores"
    )
    return assign_patients_and_splits(cohort, table, columns, kept, path)


def assign_columns(table: Table, hints: Hints, path: Path) -> ColumnRoles | NoMatch:
    """Assign a role to each column, or say which is missing."""
    names = table.names
    rows = [dict(zip(names, row, strict=True)) for row in table.cells]
    files = [n for n in names if holds_file_names(n, table.column_cells(n))]
    if files:
        said = "names files that are not here; take it out to learn from the numbers alone."
        return NoMatch(0.3, f"the column {files[0]!r} of {path.name} {said}")
    words = (hints.truth.lower(), *LABEL_WORDS) if hints.truth else LABEL_WORDS
    label = hints.truth if hints.truth in names else find_column(names, words)
    if hints.truth not in names and (missing := explain_missing_column(path, names, hints)):
        return missing
    patient, split, name = find_column(names, PATIENT_WORDS), find_split_column(rows), find_column(names, NAME_COLUMNS)
    counters = {
        n for n in names if find_column([n], COUNTER_WORDS) is not None and is_row_counter(table.column_cells(n))
    }
    taken = {patient, split, name} | counters
    if label is None:
        held = [n for p, n in enumerate(names) if n not in taken and not table.is_numeric_column(p)]
        few = [n for n in held if 2 <= len({c for c in table.column_cells(n) if c}) <= max(2, len(rows) // 4)]
        label = few[0] if len(few) == 1 else None
    if label is None:
        return NoMatch(0.4, f"{path.name} has no column that is told as the class. Name it with --truth.")
    kinds = {c for c in table.column_cells(label) if c.lower() not in MISSING_VALUES}
    if len(kinds) > min(MAX_CLASSES, max(2, len(rows) // 2)):
        many = f"{len(kinds)} different values, too many to be classes."
        return NoMatch(0.6, f"the column {label!r} of {path.name} has {many}")
    free = [p for p, n in enumerate(names) if n not in taken | {label}]
    numbers = tuple(p for p in free if table.is_numeric_column(p))
    if not numbers:
        return NoMatch(
            0.3, f"{path.name} has no column of numbers beside {label!r}. Add what is measured of each case."
        )
    unused = tuple(names[p] for p in free if p not in numbers) + tuple(sorted(counters - {name}))
    return ColumnRoles(label, numbers, name, patient, split, tuple(u or "(no name)" for u in unused))


def holds_file_names(name: str, cells: Sequence[str]) -> bool:
    """Tell whether a column holds file names: by an image suffix, or by its heading where its cells are no numbers.

    >>> holds_file_names("scan", ["a.nii.gz"]), holds_file_names("image", ["s1"]), holds_file_names("image", ["0.5"])
    (True, True, False)
    """
    if any(c.lower().endswith(tuple(readable_suffixes())) for c in cells):
        return True
    is_path_column = find_column([name], PATH_WORDS) is not None
    return is_path_column and any(not is_number(c) and c.lower() not in MISSING_VALUES for c in cells)


def is_row_counter(cells: Sequence[str]) -> bool:
    """Tell whether a column is a row counter, from 0 or 1."""
    return any(list(cells) == [str(i + first) for i in range(len(cells))] for first in (0, 1))


def list_complete_rows(table: Table, columns: ColumnRoles, path: Path, messages: list[str]) -> list[int]:
    """List the rows that have a number in every feature column; add a message on the others."""
    gaps = np.isnan(table.values[:, columns.feature_columns])  # (rows, features)
    incomplete = np.flatnonzero(gaps.any(axis=1))
    if not len(incomplete):
        return list(range(len(table.cells)))
    worst = np.argsort(-gaps.sum(axis=0), kind="stable")
    named = [table.names[columns.feature_columns[p]] for p in worst if gaps[:, p].any()]
    if len(incomplete) > (1 - MIN_COMPLETE_SHARE) * len(gaps):
        raise LayoutError(
            f"{len(incomplete)} of {len(gaps)} rows of {path.name} have no number in some column, most often in "
            f"{quote_first(named)}. Take these columns out, or fill them in."
        )
    names = make_row_names(table, columns, path)
    messages.append(
        f"{len(incomplete)} row(s) of {path.name} lack a number in {quote_first(named)} and are left out: "
        f"{quote_first([names[i] for i in incomplete])}."
    )
    return [int(i) for i in np.flatnonzero(~gaps.any(axis=1))]


def make_row_names(table: Table, columns: ColumnRoles, path: Path) -> list[str]:
    """Name every row: by the name column or the patient column if it is unique, else by row number."""
    for source in (columns.case_name, columns.patient):
        cells = table.column_cells(source) if source is not None else []
        if cells and all(cells) and len(set(cells)) == len(cells):
            return cells
    return number_rows(path, len(table.cells))


def assign_patients_and_splits(
    cohort: Cohort, table: Table, columns: ColumnRoles, row_numbers: Sequence[int], path: Path
) -> Cohort:
    """Set the patient and the split of each row."""
    patient_column = columns.patient
    if (
        patient_column is None
        and columns.case_name is not None
        and len(set(table.column_cells(columns.case_name))) < len(table.cells)
    ):
        patient_column = columns.case_name  # a name that comes again is that of a patient, not of a row
    patients = (
        {e.id: table.column_cells(patient_column)[i] for e, i in zip(cohort.entries, row_numbers, strict=True)}
        if patient_column
        else {}
    )
    cohort = assign_patients(
        cohort, {k: v for k, v in patients.items() if v}, known_source=f"the column {patient_column!r} of {path.name}"
    )
    if columns.split:
        sides = [parse_split_name(table.column_cells(columns.split)[i]) for i in row_numbers]
        entries = tuple(replace(e, split=side) for e, side in zip(cohort.entries, sides, strict=True))
        message = f"The split is the column {columns.split!r} of {path.name}: {describe_split_counts(sides)}."
        cohort = replace(cohort, entries=entries, messages=(*cohort.messages, message))
    elif parse_split_name(path.stem) is None:
        cohort = apply_found_split(cohort, path.parent)
    return drop_split_without_truth(cohort)


feature_table.order = 90  # type: ignore[attr-defined]
feature_table.hints = ("truth",)  # type: ignore[attr-defined]
THIS = feature_table
