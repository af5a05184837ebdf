"""A CSV with a row for each image: its file, its class or its mask, and perhaps its patient and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....errors import LayoutError
from ...source import Source
from ...tables import find_column, read_csv_rows
from ...types import Scores
from ..cohort import SPLITS, Cohort, Entry
from ..patients import assign_patients
from ..split_files import (
    apply_found_split,
    describe_split_counts,
    find_split_column,
    parse_split_name,
    strip_image_suffix,
)
from ._files import file_stem, is_data_file, list_images, natural_sort_key, quote_first
from ._layout import Hints, NoMatch
from ._segmentation_cohort import add_label_scheme, drop_split_without_truth, infer_dims, read_image_shape
from ._side_table import PATIENT_WORDS, list_tables, patients_from_dicom_tags

FILE_WORDS = (
    "file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_file",
    "image_name", "img", "img_path", "image_id", "imageid", "image_index", "scan", "dicom", "id", "name", "case",
    "case_id",
)  # fmt: skip
LABEL_WORDS = (
    "label", "class", "diagnosis", "dx", "target", "category", "pathology", "finding", "finding_labels", "labels",
    "disease", "level", "grade", "y", "outcome", "benign_malignant",
)  # fmt: skip
MASK_WORDS = (
    "mask", "mask_path", "mask_file", "truth", "segmentation", "segmentation_path", "seg", "label_path", "gt",
    "ground_truth", "annotation", "mask_name",
)  # fmt: skip
MAX_CLASSES = 200
FLAG_VALUES = ({"0", "1"}, {"0.0", "1.0"}, {"true", "false"}, {"yes", "no"})
TRUE_VALUES = ("1", "1.0", "true", "yes")


@dataclass(frozen=True)
class ColumnRoles:
    """The role of each column of a table."""

    file: str
    label: str | None = None
    mask: str | None = None
    flag_columns: tuple[str, ...] = ()
    patient: str | None = None
    split: str | None = None


def image_table(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a CSV of image files with their classes or masks, given itself or by its folder."""
    if hints.rules_out("label_map", "scores"):
        return NoMatch(0.1, f"a table of classes or masks does not serve {hints.task}.")
    if folder.is_file():
        if folder.suffix.lower() not in (".csv", ".tsv"):
            return NoMatch(0.0, "it is no .csv.")
        return read_image_table(folder, hints)
    misses = [NoMatch(0.0, "it holds no .csv that names files.")]
    good: dict[Path, Cohort] = {}
    for path in list_tables(folder):
        try:
            found = read_image_table(path, hints)
        except LayoutError as reason:
            misses.append(NoMatch(0.6, str(reason)))
            continue
        if isinstance(found, Cohort):
            good[path] = found
        else:
            misses.append(found)
    if len(good) > 1:
        return _merge_split_tables(folder, good)
    return next(iter(good.values()), max(misses, key=lambda m: m.closeness))


def _merge_split_tables(folder: Path, cohorts: Mapping[Path, Cohort]) -> Cohort:
    """Merge the tables of the splits, or raise if their splits are not distinct."""
    sides = {
        path: parse_split_name(path.stem.rsplit("_", 1)[-1]) or parse_split_name(path.stem.split("_", 1)[0])
        for path in cohorts
    }
    if len(set(sides.values())) != len(cohorts) or None in sides.values():
        names = ", ".join(p.name for p in cohorts)
        raise LayoutError(f"{str(folder)!r} has several tables of cases: {names}. Name one of these files.")
    cohorts = dict(sorted(cohorts.items(), key=lambda item: SPLITS.index(str(sides[item[0]]))))
    every = list(cohorts.values())
    if len({(c.task, c.labels, c.dims) for c in every}) > 1:
        raise LayoutError(
            f"The tables {quote_first(p.name for p in cohorts)} in {str(folder)!r} do not have the same classes."
        )
    entries = tuple(replace(e, split=sides[path]) for path, c in cohorts.items() for e in c.entries)
    messages = (
        *every[0].messages,
        f"The split is that of the tables: {describe_split_counts(e.split for e in entries)}.",
    )
    joined = replace(every[0], root=folder, entries=entries, messages=messages)
    return drop_split_without_truth(joined)


def read_image_table(path: Path, hints: Hints) -> Cohort | NoMatch:
    """Build the cohort that a table lists."""
    rows = read_csv_rows(path)
    if not rows:
        return NoMatch(0.2, f"{path.name} has no rows.")
    finder = FileFinder(path.parent)
    columns = assign_columns(rows, finder, hints)
    if columns is None:
        return explain_missing_files(path, rows)
    if missing := explain_missing_column(path, list(rows[0]), hints):
        return missing
    if columns.mask is None and columns.label is None and not columns.flag_columns:
        said = f"{path.name} names files, but has no column of classes or masks ({', '.join(rows[0])})."
        return NoMatch(0.6, f"{said} Add one that is called class or mask, or name one with --truth.")
    messages: list[str] = []
    kept = _find_files(rows, columns, finder, path, messages)
    cohort = (
        _build_segmentation_cohort(path, kept, columns, messages)
        if columns.mask
        else _build_classification_cohort(path, kept, columns, messages)
    )
    patients = {e.id: row[columns.patient] for e, (_, row, _) in zip(cohort.entries, kept, strict=True)
                if columns.patient and row[columns.patient]}  # fmt: skip
    source = f"the column {columns.patient!r} of {path.name}"
    if not patients and (patients := patients_from_dicom_tags(cohort)):
        source = f"the DICOM tag PatientID, such as {next(iter(patients.values()))!r}"
    cohort = assign_patients(cohort, patients, known_source=source)
    if columns.split:
        entries = tuple(
            replace(e, split=parse_split_name(row[str(columns.split)]))
            for e, (_, row, _) in zip(cohort.entries, kept, strict=True)
        )
        words = (
            f"The split is the column {columns.split!r} of {path.name}: "
            f"{describe_split_counts(e.split for e in entries)}."
        )
        cohort = replace(cohort, entries=entries, messages=(*cohort.messages, words))
    else:
        cohort = apply_found_split(cohort, path.parent)
    return drop_split_without_truth(cohort)


def explain_missing_column(path: Path, names: Sequence[str], hints: Hints) -> NoMatch | None:
    """Explain that a table lacks the column named by ``--truth``; None where it has it or none was named."""
    if not hints.truth or find_column(names, (hints.truth.lower(),)) is not None:
        return None
    return NoMatch(0.7, f"{path.name} has no column --truth {hints.truth!r}. Its columns: {quote_first(names, 12)}.")


def explain_missing_files(path: Path, rows: Sequence[Mapping[str, str]]) -> NoMatch:
    """Explain that a table names no files that exist; the match is closer if it has a column of files."""
    file = next((c for w in FILE_WORDS if (c := find_column(list(rows[0]), (w,)))), None)
    if file is None:
        return NoMatch(0.3, f"{path.name} has no column of files ({', '.join(rows[0])}). Add one that is called file.")
    said = f"no file that the column {file!r} of {path.name} names is here, such as {rows[0][file]!r}."
    return NoMatch(0.5, f"{said} Correct the names, or put the table beside the images.")


def assign_columns(rows: Sequence[Mapping[str, str]], finder: FileFinder, hints: Hints) -> ColumnRoles | None:
    """Assign a role to each column, or give None if no column names existing files."""
    names = list(rows[0])
    sample = [rows[int(i)] for i in np.unique(np.linspace(0, len(rows) - 1, min(50, len(rows))).astype(int))]
    truth_words = (hints.truth.lower(), *MASK_WORDS) if hints.truth else MASK_WORDS
    mask = find_column(names, truth_words)
    if mask and not any(finder.find(row[mask]) for row in sample):
        mask = None
    file = next(
        (
            c
            for w in FILE_WORDS
            if (c := find_column(names, (w,))) and c != mask and any(finder.find(r[c]) for r in sample)
        ),
        None,
    )
    if file is None:
        return None
    patient, split = find_column(names, PATIENT_WORDS), find_split_column(rows)
    label = find_column(names, (hints.truth.lower(), *LABEL_WORDS) if hints.truth else LABEL_WORDS)
    if label and len({r[label] for r in rows}) > MAX_CLASSES:
        raise LayoutError(
            f"The column {label!r} has {len({r[label] for r in rows})} different values, too many to be classes. "
            "Name the column of the classes with --truth."
        )
    taken = {file, patient, split, label, mask}
    flags = () if label else tuple(n for n in names if n and n not in taken and _is_flag_column(r[n] for r in rows))
    if hints.wanted_kind == "scores":
        mask = None
    if hints.wanted_kind == "label_map":
        label, flags = None, ()
    return ColumnRoles(file, label, mask, flags, patient, split)


def _is_flag_column(cells: object) -> bool:
    values = {str(c).lower() for c in cells}  # type: ignore[attr-defined]
    return any(values == f for f in FLAG_VALUES)


class FileFinder:
    """Finds the file of a cell below the table's folder: by path, by name, or by name without suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_name: dict[str, list[Path]] = {}
        for path in list_images(folder):
            for key in {path.name, file_stem(path)}:
                self.by_name.setdefault(key, []).append(path)

    def find(self, cell: str) -> Path | None:
        """Give the file or folder, or None if there is none or several files share a bare name."""
        cell = cell.replace("\\", "/").strip()
        if not cell or ".." in cell.split("/"):
            return None
        straight = self.folder / cell.lstrip("/")
        if straight.is_file() and is_data_file(straight):
            return straight
        name = cell.rsplit("/", 1)[-1]
        every = self.by_name.get(name, [])
        fits = [p for p in every if p.as_posix().endswith("/" + cell.lstrip("/"))] or [
            p for p in every if strip_image_suffix(p.as_posix()).endswith("/" + strip_image_suffix(cell).lstrip("/"))
        ]
        fits = fits or every
        if len(fits) == 1:
            return fits[0]
        return straight if not fits and straight.is_dir() else None


FoundRows = list[tuple[Path, dict[str, str], Path | None]]


def _find_files(
    rows: Sequence[dict[str, str]], columns: ColumnRoles, finder: FileFinder, path: Path, messages: list[str]
) -> FoundRows:
    """Give the rows whose file exists, each file once."""
    found: dict[Path, tuple[Path, dict[str, str], Path | None]] = {}
    absent, n_repeated = [], 0
    truth = (columns.label, columns.mask, *columns.flag_columns)
    for row in rows:
        file = finder.find(row[columns.file])
        if file is None:
            absent.append(row[columns.file])
            continue
        if file in found:
            before = found[file][1]
            if any(before[c] != row[c] for c in truth if c):
                raise LayoutError(f"{str(path)!r} says two things of {row[columns.file]!r}. Keep one row an image.")
            n_repeated += 1
            continue
        found[file] = (file, row, finder.find(row[columns.mask]) if columns.mask else None)
    if absent:
        messages.append(f"{len(absent)} row(s) of {path.name} name no single file that is here: {quote_first(absent)}.")
    if n_repeated:
        messages.append(f"{n_repeated} row(s) of {path.name} repeat a file.")
    return list(found.values())


def _case_id(file: Path, stem_counts: Mapping[str, int], root: Path) -> str:
    return (
        file_stem(file) if stem_counts[file_stem(file)] == 1 else strip_image_suffix(file.relative_to(root).as_posix())
    )


def _case_ids(found_rows: FoundRows, path: Path) -> list[str]:
    stems: dict[str, int] = {}
    for file, _, _ in found_rows:
        stems[file_stem(file)] = stems.get(file_stem(file), 0) + 1
    return [_case_id(file, stems, path.parent) for file, _, _ in found_rows]


def _build_segmentation_cohort(path: Path, found_rows: FoundRows, columns: ColumnRoles, messages: list[str]) -> Cohort:
    entries = tuple(
        Entry(one, {"image": Source(file)}, Source(mask) if mask else None)
        for one, (file, _, mask) in zip(_case_ids(found_rows, path), found_rows, strict=True)
    )
    bare_ones = [e.id for e in entries if e.truth is None]
    if bare_ones:
        messages.append(f"{len(bare_ones)} case(s) have no mask and stand on no side: {quote_first(bare_ones)}.")
    if columns.label:
        messages.append(
            f"The column {columns.label!r} also names classes; ask for the task classification to learn them."
        )
    return add_label_scheme(
        Cohort(path, "image_table", "segmentation", entries, messages=tuple(messages)), str(columns.mask)
    )


def _build_classification_cohort(
    path: Path, found_rows: FoundRows, columns: ColumnRoles, messages: list[str]
) -> Cohort:
    truths, classes, exclusive = (
        _scores_from_labels(found_rows, columns, messages)
        if columns.label
        else _scores_from_flags(found_rows, columns, messages)
    )
    empty = [one for one, truth in zip(_case_ids(found_rows, path), truths, strict=True) if truth is None]
    if empty:
        messages.append(f"{len(empty)} case(s) have no class and stand on no side: {quote_first(empty)}.")
    entries = tuple(
        Entry(one, {"image": Source(file)}, truth)
        for one, (file, _, _), truth in zip(_case_ids(found_rows, path), found_rows, truths, strict=True)
    )
    sample = {int(i) for i in np.linspace(0, len(found_rows) - 1, min(4, len(found_rows)))}
    shapes = [s for i in sorted(sample) if (s := read_image_shape(Source(found_rows[i][0])))]
    return Cohort(
        path,
        "image_table",
        "classification",
        entries,
        classes,
        dims=infer_dims(shapes or [(2, 2)]),
        exclusive=exclusive,
        messages=tuple(messages),
        truth="scores",
    )


Truths = list[Scores | None]


def _scores_from_labels(
    found_rows: FoundRows, columns: ColumnRoles, messages: list[str]
) -> tuple[Truths, tuple[str, ...], bool]:
    cells = [row[str(columns.label)] for _, row, _ in found_rows]
    if any("|" in c for c in cells):
        return _scores_from_label_lists(cells, messages)
    classes = tuple(sorted({c for c in cells if c}, key=natural_sort_key))
    if len(classes) < 2:
        raise LayoutError(
            f"The column {columns.label!r} holds {quote_first(classes) or 'nothing'}; at least two classes are needed."
        )
    truths = {c: Scores(np.eye(len(classes))[i], classes) for i, c in enumerate(classes)}
    messages.append(f"The classes are in the column {columns.label!r}: " + _describe_counts(cells, classes))
    return [truths.get(c) for c in cells], classes, True


def _scores_from_label_lists(cells: Sequence[str], messages: list[str]) -> tuple[Truths, tuple[str, ...], bool]:
    nothing = {"", "no finding", "none", "normal", "healthy"}
    lists = [[w.strip() for w in c.split("|") if w.strip().lower() not in nothing] for c in cells]
    classes = tuple(sorted({w for words in lists for w in words}, key=natural_sort_key))
    messages.append(f"Several classes may hold in one case: {', '.join(classes)}.")
    truths: Truths = [
        Scores(np.array([float(c in words) for c in classes]), classes, exclusive=False) if cell else None
        for words, cell in zip(lists, cells, strict=True)
    ]
    return truths, classes, False


def _scores_from_flags(
    found_rows: FoundRows, columns: ColumnRoles, messages: list[str]
) -> tuple[Truths, tuple[str, ...], bool]:
    flags = columns.flag_columns
    held = np.array(
        [[row[f].lower() in TRUE_VALUES for f in flags] for _, row, _ in found_rows], float
    )  # (cases, flags)
    if len(flags) == 1:
        classes = (f"not {flags[0]}", flags[0])
        messages.append(f"The class is the column {flags[0]!r}: {int(held.sum())} of {len(held)} cases have it.")
        return [Scores(np.array([1 - v, v]), classes) for v in held[:, 0]], classes, True
    exclusive = bool((held.sum(axis=1) == 1).all())
    several = "just one holds in each case" if exclusive else "several may hold in one case"
    messages.append(f"The classes are the columns {', '.join(flags)}; {several}.")
    return [Scores(row, flags, exclusive=exclusive) for row in held], flags, exclusive


def _describe_counts(cells: Sequence[str], classes: Sequence[str]) -> str:
    return ", ".join(f"{c} ({cells.count(c)})" for c in classes[:12]) + "."


image_table.order = 45  # type: ignore[attr-defined]
image_table.hints = ("truth",)  # type: ignore[attr-defined]
THIS = image_table
