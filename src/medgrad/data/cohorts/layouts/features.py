"""A CSV with a row of features (radiomics, measurements) for each case, its class, and perhaps patient and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....errors import FormatError, LayoutError
from ...formats.csv import GAPS, NAME_WORDS, SUFFIXES, Table, is_number, item_of, numbered, table_of
from ...source import Source
from ...tables import column
from ...types import Scores
from ..cohort import Cohort, Entry
from ..patients import with_patients
from ..split_files import counted, side_of, split_column, with_split_beside
from ._assemble import without_unjudged_sides
from ._files import files_in, image_suffixes, natural, some
from ._layout import Hints, NoMatch
from ._side_table import PATIENT_WORDS, tables_in
from .table import LABEL_WORDS, MOST_CLASSES, _joined, without_column

TEXTS = (*SUFFIXES, ".txt", ".md", ".json", ".toml", ".yaml", ".yml", ".pdf", ".html", ".xlsx", ".xls")
PATH_WORDS = (
    "file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_file", "image_name",
    "img", "img_path", "scan", "dicom", "mask", "mask_path", "segmentation",
)  # fmt: skip
COUNTER_WORDS = ("", "index", "row", "row_number", "unnamed:_0", "no", "nr")
LEAST_WHOLE = 0.5
"""The least share of the rows that must have a number in every column."""


@dataclass(frozen=True)
class Columns:
    """The role of each column; ``features`` are column indices, ``unused`` names the columns that are not used."""

    label: str
    features: tuple[int, ...]
    name: str | None = None
    patient: str | None = None
    split: str | None = None
    unused: tuple[str, ...] = ()


def features(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a table of features, given itself or by a folder that holds only tables."""
    if hints.task not in (None, "classification"):
        return NoMatch(0.1, f"a table of features does not serve {hints.task}.")
    if folder.is_file():
        return read_table(folder, hints) if folder.suffix.lower() in SUFFIXES else NoMatch(0.0, "it is no .csv.")
    tables = tables_in(folder)
    if not tables:
        return NoMatch(0.0, "it holds no .csv with a row a case.")
    others = [p for p in files_in(folder) if p.suffix.lower() not in TEXTS]
    if others:
        return NoMatch(
            0.2, f"beside its tables it holds other files, such as {others[0].name!r}; name the .csv itself."
        )
    found = {path: read_table(path, hints) for path in tables}
    good = {path: cohort for path, cohort in found.items() if isinstance(cohort, Cohort)}
    if len(good) > 1:
        return joined(folder, good)
    misses = [miss for miss in found.values() if isinstance(miss, NoMatch)]
    return next(iter(good.values()), None) or max(misses, key=lambda m: m.closeness)


def joined(folder: Path, good: dict[Path, Cohort]) -> Cohort:
    """Merge the tables of the splits; all must have the same columns."""
    columns = {path: names_of(cohort) for path, cohort in good.items()}
    first = next(iter(columns))
    for path, names in columns.items():
        if set(names) != set(columns[first]):
            odd = sorted(set(names) ^ set(columns[first]), key=natural)
            raise LayoutError(f"{first.name} and {path.name} in {str(folder)!r} differ in the columns {some(odd)}.")
    return replace(_joined(folder, good), layout="features")


def names_of(cohort: Cohort) -> tuple[str, ...]:
    """List the feature names of a cohort."""
    return tuple(cohort.read_image("features", cohort.entries[0].images["features"]).tags["columns"])


def read_table(path: Path, hints: Hints) -> Cohort | NoMatch:
    """Build the cohort of a feature table, or say what it lacks."""
    try:
        table = table_of(path)
    except FormatError as reason:
        return NoMatch(0.2, f"{path.name} is no table of features: {str(reason).rstrip('.')}.")
    told: list[str] = []
    columns = columns_of(table, hints, path)
    if isinstance(columns, NoMatch):
        return columns
    kept = whole_rows(table, columns, path, told)
    cells = [table.column(columns.label)[i] for i in kept]
    classes = tuple(sorted({c for c in cells if c.lower() not in GAPS}, key=natural))
    if len(classes) < 2:
        raise LayoutError(f"The column {columns.label!r} of {path.name} holds {some(classes) or 'nothing'}; at least "
                          "two classes are needed.")  # fmt: skip
    counts = ", ".join(f"{c} ({cells.count(c)})" for c in classes[:12])
    told.insert(0, f"The classes are in the column {columns.label!r}: {counts}.")
    told.insert(0, f"The {len(columns.features)} features are the columns of numbers: "
                f"{some([table.names[p] for p in columns.features], 5)}.")  # fmt: skip
    if columns.unused:
        told.append(f"Not used, because they count rows, hold words or are empty: {some(columns.unused, 12)}.")
    names = names_for(table, columns, path)
    truths = {c: Scores(np.eye(len(classes))[i], classes) for i, c in enumerate(classes)}
    entries = tuple(
        Entry(names[i], {"features": Source(path, item_of(i, columns.features))}, truths.get(c))
        for i, c in zip(kept, cells, strict=True)
    )
    bare = [e.id for e in entries if e.truth is None]
    if bare:
        told.append(f"{len(bare)} row(s) have no class and stand on no side: {some(bare)}.")
    cohort = Cohort(path, "features", "classification", entries, classes, dims=1, told=tuple(told))
    return placed(cohort, table, columns, kept, path)


def columns_of(table: Table, hints: Hints, path: Path) -> Columns | NoMatch:
    """Assign a role to each column, or say which is missing."""
    names = table.names
    rows = [dict(zip(names, row, strict=True)) for row in table.cells]
    files = [n for n in names if names_files(n, table.column(n))]
    if files:
        said = "names files that are not here; take it out to learn from the numbers alone."
        return NoMatch(0.3, f"the column {files[0]!r} of {path.name} {said}")
    words = (hints.truth.lower(), *LABEL_WORDS) if hints.truth else LABEL_WORDS
    label = hints.truth if hints.truth in names else column(names, words)
    if hints.truth not in names and (missing := without_column(path, names, hints)):
        return missing
    patient, split, name = column(names, PATIENT_WORDS), split_column(rows), column(names, NAME_WORDS)
    counters = {n for n in names if column([n], COUNTER_WORDS) is not None and counts_up(table.column(n))}
    taken = {patient, split, name} | counters
    if label is None:
        held = [n for p, n in enumerate(names) if n not in taken and not table.holds_numbers(p)]
        few = [n for n in held if 2 <= len({c for c in table.column(n) if c}) <= max(2, len(rows) // 4)]
        label = few[0] if len(few) == 1 else None
    if label is None:
        return NoMatch(0.4, f"{path.name} has no column that is told as the class. Name it with --truth.")
    kinds = {c for c in table.column(label) if c.lower() not in GAPS}
    if len(kinds) > min(MOST_CLASSES, max(2, len(rows) // 2)):
        many = f"{len(kinds)} different values, too many to be classes."
        return NoMatch(0.6, f"the column {label!r} of {path.name} has {many}")
    free = [p for p, n in enumerate(names) if n not in taken | {label}]
    numbers = tuple(p for p in free if table.holds_numbers(p))
    if not numbers:
        return NoMatch(
            0.3, f"{path.name} has no column of numbers beside {label!r}. Add what is measured of each case."
        )
    unused = tuple(names[p] for p in free if p not in numbers) + tuple(sorted(counters - {name}))
    return Columns(label, numbers, name, patient, split, tuple(u or "(no name)" for u in unused))


def names_files(name: str, cells: Sequence[str]) -> bool:
    """Tell whether a column holds file names: by an image suffix, or by its heading where its cells are no numbers.

    >>> names_files("scan", ["a.nii.gz"]), names_files("image", ["s1"]), names_files("image", ["0.5"])
    (True, True, False)
    """
    if any(c.lower().endswith(tuple(image_suffixes())) for c in cells):
        return True
    is_told = column([name], PATH_WORDS) is not None
    return is_told and any(not is_number(c) and c.lower() not in GAPS for c in cells)


def counts_up(cells: Sequence[str]) -> bool:
    """Tell whether a column is a row counter, from 0 or 1."""
    return any(list(cells) == [str(i + first) for i in range(len(cells))] for first in (0, 1))


def whole_rows(table: Table, columns: Columns, path: Path, told: list[str]) -> list[int]:
    """List the rows that have a number in every feature column; add a message on the others."""
    gaps = np.isnan(table.values[:, columns.features])  # (rows, features)
    lacking = np.flatnonzero(gaps.any(axis=1))
    if not len(lacking):
        return list(range(len(table.cells)))
    worst = np.argsort(-gaps.sum(axis=0), kind="stable")
    named = [table.names[columns.features[p]] for p in worst if gaps[:, p].any()]
    if len(lacking) > (1 - LEAST_WHOLE) * len(gaps):
        raise LayoutError(
            f"{len(lacking)} of {len(gaps)} rows of {path.name} have no number in some column, most often in "
            f"{some(named)}. Take these columns out, or fill them in."
        )
    names = names_for(table, columns, path)
    told.append(
        f"{len(lacking)} row(s) of {path.name} lack a number in {some(named)} and are left out: "
        f"{some([names[i] for i in lacking])}."
    )
    return [int(i) for i in np.flatnonzero(~gaps.any(axis=1))]


def names_for(table: Table, columns: Columns, path: Path) -> list[str]:
    """Name every row: by the name column or the patient column if it is unique, else by row number."""
    for source in (columns.name, columns.patient):
        cells = table.column(source) if source is not None else []
        if cells and all(cells) and len(set(cells)) == len(cells):
            return cells
    return numbered(path, len(table.cells))


def placed(cohort: Cohort, table: Table, columns: Columns, kept: Sequence[int], path: Path) -> Cohort:
    """Set the patient and the split of each row."""
    whose = columns.patient
    if whose is None and columns.name is not None and len(set(table.column(columns.name))) < len(table.cells):
        whose = columns.name  # a name that comes again is that of a patient, not of a row
    patients = {e.id: table.column(whose)[i] for e, i in zip(cohort.entries, kept, strict=True)} if whose else {}
    cohort = with_patients(
        cohort, {k: v for k, v in patients.items() if v}, known_from=f"the column {whose!r} of {path.name}"
    )
    if columns.split:
        sides = [side_of(table.column(columns.split)[i]) for i in kept]
        entries = tuple(replace(e, split=side) for e, side in zip(cohort.entries, sides, strict=True))
        told = f"The split is the column {columns.split!r} of {path.name}: {counted(sides)}."
        cohort = replace(cohort, entries=entries, told=(*cohort.told, told))
    elif side_of(path.stem) is None:
        cohort = with_split_beside(cohort, path.parent)
    return without_unjudged_sides(cohort)


features.order = 90  # type: ignore[attr-defined]
features.hints = ("truth",)  # type: ignore[attr-defined]
THIS = features
