"""A CSV with a row for each registration pair, and the truth about where its images correspond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ....errors import LayoutError
from ...formats import suffix_of
from ...source import PairSource, Source
from ...tables import column, rows_of
from ..cohort import Cohort, Entry
from ..split_files import counted, side_of, split_column
from ._assemble import dims_of, image_shape
from ._files import is_data, some, stem_of
from ._labels import meaning, seen_in
from ._layout import Hints, NoMatch
from ._side_table import PATIENT_WORDS, tables_in

FIXED_WORDS = ("fixed", "fixed_image", "fixed_path", "fixed_file", "target", "reference")
MOVING_WORDS = ("moving", "moving_image", "moving_path", "moving_file", "source", "floating")
KNOWN_WORDS = ("labels", "label", "mask", "segmentation", "seg", "landmarks", "points", "keypoints")
TRANSFORM_WORDS = ("transform", "deformation", "displacement", "field", "known_transform", "truth")


@dataclass(frozen=True)
class Columns:
    """The role of each column; ``known`` are the columns of the truths about the fixed and the moving image."""

    fixed: str
    moving: str
    known: tuple[str, str] | None = None
    transform: str | None = None
    patient: str | None = None
    other: str | None = None


def pairs_table(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a table of registration pairs, given itself or by its folder."""
    if hints.task not in (None, "registration"):
        return NoMatch(0.1, f"a table of pairs does not serve {hints.task}.")
    tables = [folder] if folder.is_file() else tables_in(folder)
    found = [read_pairs(path) for path in tables if path.suffix.lower() in (".csv", ".tsv")]
    good = [c for c in found if isinstance(c, Cohort)]
    if len(good) > 1:
        raise LayoutError(f"{str(folder)!r} has several tables of pairs: {some(c.root.name for c in good)}. Name one.")
    misses = [m for m in found if isinstance(m, NoMatch)]
    return (
        good[0] if good else max(misses, key=lambda m: m.closeness, default=NoMatch(0.0, "it holds no .csv of pairs."))
    )


def read_pairs(path: Path) -> Cohort | NoMatch:
    """Build the cohort of the pairs that a table lists."""
    rows = rows_of(path)
    columns = columns_of(list(rows[0])) if rows else None
    if columns is None:
        return NoMatch(0.1, f"{path.name} has no columns 'fixed' and 'moving'.")
    told: list[str] = []
    split = split_column(rows)
    entries = tuple(replace(entry_of(path, row, columns), split=side_of(row[split]) if split else None) for row in rows)
    if len({e.id for e in entries}) < len(entries):
        raise LayoutError(f"{str(path)!r} names a pair twice. Keep one row a pair.")
    if split:
        told.append(f"The split is the column {split!r}: {counted(e.split for e in entries)}.")
    shapes = [s for e in entries[:4] if (s := image_shape(e.images["fixed"]))]
    cohort = Cohort(path, "pairs_table", "registration", entries, dims=dims_of(shapes or [(2, 2)]), told=tuple(told))
    if columns.patient:
        cohort = replace(cohort, patients_from=f"the column {columns.patient!r} of {path.name}")
    return with_values(cohort)


def columns_of(names: Sequence[str]) -> Columns | None:
    """Assign a role to each column, or give None if there are no pairs."""
    fixed, moving = column(names, FIXED_WORDS), column(names, MOVING_WORDS)
    if fixed is None or moving is None:
        return None
    sides = (("fixed", "target", "reference"), ("moving", "source", "floating"))
    known = None
    for word in KNOWN_WORDS:
        first, second = (column(names, [o for s in side for o in (f"{s}_{word}", f"{word}_{s}")]) for side in sides)
        if first and second:
            known = (first, second)
            break
    other = column(names, [f"{s}_{w}" for s in sides[1] for w in PATIENT_WORDS])
    patient = column(names, (*PATIENT_WORDS, *(f"{s}_{w}" for s in sides[0] for w in PATIENT_WORDS)))
    return Columns(fixed, moving, known, column(names, TRANSFORM_WORDS), patient, other)


def entry_of(path: Path, row: Mapping[str, str], columns: Columns) -> Entry:
    """Make the entry of a row."""
    fixed, moving = (Source(file_of(path, row[c])) for c in (columns.fixed, columns.moving))
    truth: Source | PairSource = PairSource(
        fixed, moving
    )  # where nothing is known, it is judged by how alike the images become
    if columns.known and all(row[c] for c in columns.known):
        truth = PairSource(*(Source(file_of(path, row[c])) for c in columns.known))
    elif columns.transform and row[columns.transform]:
        truth = Source(file_of(path, row[columns.transform]))
    name = f"{stem_of(fixed.path)}--{stem_of(moving.path)}"
    patient = (row[columns.patient] if columns.patient else "") or stem_of(fixed.path)
    across = bool(columns.other and columns.patient and row[columns.other] != row[columns.patient])
    return Entry(name, {"fixed": fixed, "moving": moving}, truth, patient, notes={"across": True} if across else {})


def file_of(path: Path, cell: str) -> Path:
    """Resolve the path in a cell, relative to the table's folder."""
    file = path.parent / cell.replace("\\", "/").strip().lstrip("/")
    if ".." in file.relative_to(path.parent).parts or not file.exists() or not (is_data(file) or file.suffix):
        raise LayoutError(f"{str(path)!r} names {cell!r}, which is not there. Paths begin at the table's own folder.")
    return file


def with_values(cohort: Cohort) -> Cohort:
    """Add the labels that the label maps of the pairs hold."""
    sources = {
        f"{entry.id}/{side}": source
        for entry in cohort.entries
        if isinstance(entry.truth, PairSource)
        for side, source in (("fixed", entry.truth.fixed), ("moving", entry.truth.moving))
        if source not in entry.images.values() and suffix_of(source.path) != ".csv"
    }
    if not sources:
        return cohort
    found = meaning(seen_in(sources), "foreground", n_files=len(sources))
    told = (*cohort.told, *found.told)
    return replace(cohort, labels=found.labels, values=found.values, above=found.above, told=told)


pairs_table.order = 35  # type: ignore[attr-defined]
THIS = pairs_table
