"""A CSV with a row for each registration pair, and the truth about where its images correspond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ....errors import LayoutError
from ...formats import file_suffix
from ...source import PairSource, Source
from ...tables import find_column, read_csv_rows
from ..cohort import Cohort, Entry
from ..split_files import describe_split_counts, find_split_column, parse_split_name
from ._files import file_stem, is_data_file, quote_first
from ._label_scheme import infer_label_scheme, inspect_label_files
from ._layout import Hints, NoMatch
from ._segmentation_cohort import infer_dims, read_image_shape
from ._side_table import PATIENT_WORDS, list_tables

FIXED_WORDS = ("fixed", "fixed_image", "fixed_path", "fixed_file", "target", "reference")
MOVING_WORDS = ("moving", "moving_image", "moving_path", "moving_file", "source", "floating")
TRUTH_WORDS = ("labels", "label", "mask", "segmentation", "seg", "landmarks", "points", "keypoints")
TRANSFORM_WORDS = ("transform", "deformation", "displacement", "field", "known_transform", "truth")


@dataclass(frozen=True)
class ColumnRoles:
    """The role of each column; ``truth`` are the columns of the truths about the fixed and the moving image."""

    fixed: str
    moving: str
    truth: tuple[str, str] | None = None
    transform: str | None = None
    patient: str | None = None
    moving_patient: str | None = None


def pairs_table(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a table of registration pairs, given itself or by its folder."""
    if hints.rules_out("pair"):
        return NoMatch(0.1, f"a table of pairs does not serve {hints.task}.")
    tables = [folder] if folder.is_file() else list_tables(folder)
    found = [read_pair_table(path) for path in tables if path.suffix.lower() in (".csv", ".tsv")]
    good = [c for c in found if isinstance(c, Cohort)]
    if len(good) > 1:
        raise LayoutError(
            f"{str(folder)!r} has several tables of pairs: {quote_first(c.root.name for c in good)}. Name one."
        )
    misses = [m for m in found if isinstance(m, NoMatch)]
    return (
        good[0] if good else max(misses, key=lambda m: m.closeness, default=NoMatch(0.0, "it holds no .csv of pairs."))
    )


def read_pair_table(path: Path) -> Cohort | NoMatch:
    """Build the cohort of the pairs that a table lists."""
    rows = read_csv_rows(path)
    columns = assign_columns(list(rows[0])) if rows else None
    if columns is None:
        return NoMatch(0.1, f"{path.name} has no columns 'fixed' and 'moving'.")
    messages: list[str] = []
    split = find_split_column(rows)
    entries = tuple(
        replace(make_entry(path, row, columns), split=parse_split_name(row[split]) if split else None) for row in rows
    )
    if len({e.id for e in entries}) < len(entries):
        raise LayoutError(f"{str(path)!r} names a pair twice. Keep one row a pair.")
    if split:
        messages.append(f"The split is the column {split!r}: {describe_split_counts(e.split for e in entries)}.")
    shapes = [s for e in entries[:4] if (s := read_image_shape(e.images["fixed"]))]
    cohort = Cohort(
        path,
        "pairs_table",
        "registration",
        entries,
        dims=infer_dims(shapes or [(2, 2)]),
        messages=tuple(messages),
        truth="pair",
    )
    if columns.patient:
        cohort = replace(cohort, patients_source=f"the column {columns.patient!r} of {path.name}")
    return add_pair_label_scheme(cohort)


def assign_columns(names: Sequence[str]) -> ColumnRoles | None:
    """Assign a role to each column, or give None if there are no pairs."""
    fixed, moving = find_column(names, FIXED_WORDS), find_column(names, MOVING_WORDS)
    if fixed is None or moving is None:
        return None
    sides = (("fixed", "target", "reference"), ("moving", "source", "floating"))
    known = None
    for word in TRUTH_WORDS:
        first, second = (
            find_column(names, [o for s in side for o in (f"{s}_{word}", f"{word}_{s}")]) for side in sides
        )
        if first and second:
            known = (first, second)
            break
    other = find_column(names, [f"{s}_{w}" for s in sides[1] for w in PATIENT_WORDS])
    patient = find_column(names, (*PATIENT_WORDS, *(f"{s}_{w}" for s in sides[0] for w in PATIENT_WORDS)))
    return ColumnRoles(fixed, moving, known, find_column(names, TRANSFORM_WORDS), patient, other)


def make_entry(path: Path, row: Mapping[str, str], columns: ColumnRoles) -> Entry:
    """Make the entry of a row."""
    fixed, moving = (Source(resolve_path(path, row[c])) for c in (columns.fixed, columns.moving))
    truth: Source | PairSource = PairSource(
        fixed, moving
    )  # where nothing is known, it is judged by how alike the images become
    if columns.truth and all(row[c] for c in columns.truth):
        truth = PairSource(*(Source(resolve_path(path, row[c])) for c in columns.truth))
    elif columns.transform and row[columns.transform]:
        truth = Source(resolve_path(path, row[columns.transform]))
    name = f"{file_stem(fixed.path)}--{file_stem(moving.path)}"
    patient = (row[columns.patient] if columns.patient else "") or file_stem(fixed.path)
    between_patients = bool(
        columns.moving_patient and columns.patient and row[columns.moving_patient] != row[columns.patient]
    )
    return Entry(
        name, {"fixed": fixed, "moving": moving}, truth, patient, metadata={"across": True} if between_patients else {}
    )


def resolve_path(path: Path, cell: str) -> Path:
    """Resolve the path in a cell, relative to the table's folder."""
    file = path.parent / cell.replace("\\", "/").strip().lstrip("/")
    if ".." in file.relative_to(path.parent).parts or not file.exists() or not (is_data_file(file) or file.suffix):
        raise LayoutError(f"{str(path)!r} names {cell!r}, which is not there. Paths begin at the table's own folder.")
    return file


def add_pair_label_scheme(cohort: Cohort) -> Cohort:
    """Add the labels that the label maps of the pairs hold."""
    sources = {
        f"{entry.id}/{side}": source
        for entry in cohort.entries
        if isinstance(entry.truth, PairSource)
        for side, source in (("fixed", entry.truth.fixed), ("moving", entry.truth.moving))
        if source not in entry.images.values() and file_suffix(source.path) != ".csv"
    }
    if not sources:
        return cohort
    found = infer_label_scheme(inspect_label_files(sources), "foreground", n_files=len(sources))
    messages = (*cohort.messages, *found.messages)
    return replace(
        cohort, labels=found.labels, label_values=found.label_values, threshold=found.threshold, messages=messages
    )


pairs_table.order = 35  # type: ignore[attr-defined]
THIS = pairs_table
