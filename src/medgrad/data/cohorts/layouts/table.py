"""A CSV with a row for each image: its file, its class or its mask, and perhaps its patient and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....errors import LayoutError
from ...source import Source
from ...tables import column, rows_of
from ...types import Scores
from ..cohort import SPLITS, Cohort, Entry
from ..patients import with_patients
from ..split_files import bare, counted, side_of, split_column, with_split_beside
from ._assemble import dims_of, image_shape, with_labels, without_unjudged_sides
from ._files import images_in, is_data, natural, some, stem_of
from ._layout import Hints, NoMatch
from ._side_table import PATIENT_WORDS, patients_by_tag, tables_in

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
MOST_CLASSES = 200
FLAGS = ({"0", "1"}, {"0.0", "1.0"}, {"true", "false"}, {"yes", "no"})
TRUE = ("1", "1.0", "true", "yes")


@dataclass(frozen=True)
class Columns:
    """The role of each column of a table."""

    file: str
    label: str | None = None
    mask: str | None = None
    flags: tuple[str, ...] = ()
    patient: str | None = None
    split: str | None = None


def table(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise a CSV of image files with their classes or masks, given itself or by its folder."""
    if hints.task not in (None, "segmentation", "classification"):
        return NoMatch(0.1, f"a table of classes or masks does not serve {hints.task}.")
    if folder.is_file():
        if folder.suffix.lower() not in (".csv", ".tsv"):
            return NoMatch(0.0, "it is no .csv.")
        return read_table(folder, hints)
    misses = [NoMatch(0.0, "it holds no .csv that names files.")]
    good: dict[Path, Cohort] = {}
    for path in tables_in(folder):
        try:
            found = read_table(path, hints)
        except LayoutError as reason:
            misses.append(NoMatch(0.6, str(reason)))
            continue
        if isinstance(found, Cohort):
            good[path] = found
        else:
            misses.append(found)
    if len(good) > 1:
        return _joined(folder, good)
    return next(iter(good.values()), max(misses, key=lambda m: m.closeness))


def _joined(folder: Path, good: Mapping[Path, Cohort]) -> Cohort:
    """Merge the tables of the splits, or raise if their splits are not distinct."""
    sides = {path: side_of(path.stem.rsplit("_", 1)[-1]) or side_of(path.stem.split("_", 1)[0]) for path in good}
    if len(set(sides.values())) != len(good) or None in sides.values():
        names = ", ".join(p.name for p in good)
        raise LayoutError(f"{str(folder)!r} has several tables of cases: {names}. Name one of these files.")
    good = dict(sorted(good.items(), key=lambda item: SPLITS.index(str(sides[item[0]]))))
    every = list(good.values())
    if len({(c.task, c.labels, c.dims) for c in every}) > 1:
        raise LayoutError(f"The tables {some(p.name for p in good)} in {str(folder)!r} do not have the same classes.")
    entries = tuple(replace(e, split=sides[path]) for path, c in good.items() for e in c.entries)
    told = (*every[0].told, f"The split is that of the tables: {counted(e.split for e in entries)}.")
    joined = replace(every[0], root=folder, entries=entries, told=told)
    return without_unjudged_sides(joined)


def read_table(path: Path, hints: Hints) -> Cohort | NoMatch:
    """Build the cohort that a table lists."""
    rows = rows_of(path)
    if not rows:
        return NoMatch(0.2, f"{path.name} has no rows.")
    finder = Finder(path.parent)
    columns = columns_of(rows, finder, hints)
    if columns is None:
        return without_files(path, rows)
    if missing := without_column(path, list(rows[0]), hints):
        return missing
    if columns.mask is None and columns.label is None and not columns.flags:
        said = f"{path.name} names files, but has no column of classes or masks ({', '.join(rows[0])})."
        return NoMatch(0.6, f"{said} Add one that is called class or mask, or name one with --truth.")
    told: list[str] = []
    kept = _kept(rows, columns, finder, path, told)
    cohort = _segmentation(path, kept, columns, told) if columns.mask else _classes(path, kept, columns, told)
    patients = {e.id: row[columns.patient] for e, (_, row, _) in zip(cohort.entries, kept, strict=True)
                if columns.patient and row[columns.patient]}  # fmt: skip
    source = f"the column {columns.patient!r} of {path.name}"
    if not patients and (patients := patients_by_tag(cohort)):
        source = f"the DICOM tag PatientID, such as {next(iter(patients.values()))!r}"
    cohort = with_patients(cohort, patients, known_from=source)
    if columns.split:
        entries = tuple(
            replace(e, split=side_of(row[str(columns.split)]))
            for e, (_, row, _) in zip(cohort.entries, kept, strict=True)
        )
        words = f"The split is the column {columns.split!r} of {path.name}: {counted(e.split for e in entries)}."
        cohort = replace(cohort, entries=entries, told=(*cohort.told, words))
    else:
        cohort = with_split_beside(cohort, path.parent)
    return without_unjudged_sides(cohort)


def without_column(path: Path, names: Sequence[str], hints: Hints) -> NoMatch | None:
    """Explain that a table lacks the column named by ``--truth``; None where it has it or none was named."""
    if not hints.truth or column(names, (hints.truth.lower(),)) is not None:
        return None
    return NoMatch(0.7, f"{path.name} has no column --truth {hints.truth!r}. Its columns: {some(names, 12)}.")


def without_files(path: Path, rows: Sequence[Mapping[str, str]]) -> NoMatch:
    """Explain that a table names no files that exist; the match is closer if it has a column of files."""
    file = next((c for w in FILE_WORDS if (c := column(list(rows[0]), (w,)))), None)
    if file is None:
        return NoMatch(0.3, f"{path.name} has no column of files ({', '.join(rows[0])}). Add one that is called file.")
    said = f"no file that the column {file!r} of {path.name} names is here, such as {rows[0][file]!r}."
    return NoMatch(0.5, f"{said} Correct the names, or put the table beside the images.")


def columns_of(rows: Sequence[Mapping[str, str]], finder: Finder, hints: Hints) -> Columns | None:
    """Assign a role to each column, or give None if no column names existing files."""
    names = list(rows[0])
    sample = [rows[int(i)] for i in np.unique(np.linspace(0, len(rows) - 1, min(50, len(rows))).astype(int))]
    truth_words = (hints.truth.lower(), *MASK_WORDS) if hints.truth else MASK_WORDS
    mask = column(names, truth_words)
    if mask and not any(finder.find(row[mask]) for row in sample):
        mask = None
    file = next(
        (c for w in FILE_WORDS if (c := column(names, (w,))) and c != mask and any(finder.find(r[c]) for r in sample)),
        None,
    )
    if file is None:
        return None
    patient, split = column(names, PATIENT_WORDS), split_column(rows)
    label = column(names, (hints.truth.lower(), *LABEL_WORDS) if hints.truth else LABEL_WORDS)
    if label and len({r[label] for r in rows}) > MOST_CLASSES:
        raise LayoutError(
            f"The column {label!r} has {len({r[label] for r in rows})} different values, too many to be classes. "
            "Name the column of the classes with --truth."
        )
    taken = {file, patient, split, label, mask}
    flags = () if label else tuple(n for n in names if n and n not in taken and _is_flag(r[n] for r in rows))
    if hints.task == "classification":
        mask = None
    if hints.task == "segmentation":
        label, flags = None, ()
    return Columns(file, label, mask, flags, patient, split)


def _is_flag(cells: object) -> bool:
    held = {str(c).lower() for c in cells}  # type: ignore[attr-defined]
    return any(held == f for f in FLAGS)


class Finder:
    """Finds the file of a cell below the table's folder: by path, by name, or by name without suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_name: dict[str, list[Path]] = {}
        for path in images_in(folder):
            for key in {path.name, stem_of(path)}:
                self.by_name.setdefault(key, []).append(path)

    def find(self, cell: str) -> Path | None:
        """Give the file or folder, or None if there is none or several files share a bare name."""
        cell = cell.replace("\\", "/").strip()
        if not cell or ".." in cell.split("/"):
            return None
        straight = self.folder / cell.lstrip("/")
        if straight.is_file() and is_data(straight):
            return straight
        name = cell.rsplit("/", 1)[-1]
        every = self.by_name.get(name, [])
        fits = [p for p in every if p.as_posix().endswith("/" + cell.lstrip("/"))] or [
            p for p in every if bare(p.as_posix()).endswith("/" + bare(cell).lstrip("/"))
        ]
        fits = fits or every
        if len(fits) == 1:
            return fits[0]
        return straight if not fits and straight.is_dir() else None


Kept = list[tuple[Path, dict[str, str], Path | None]]


def _kept(rows: Sequence[dict[str, str]], columns: Columns, finder: Finder, path: Path, told: list[str]) -> Kept:
    """Give the rows whose file exists, each file once."""
    found: dict[Path, tuple[Path, dict[str, str], Path | None]] = {}
    absent, again = [], 0
    truth = (columns.label, columns.mask, *columns.flags)
    for row in rows:
        file = finder.find(row[columns.file])
        if file is None:
            absent.append(row[columns.file])
            continue
        if file in found:
            before = found[file][1]
            if any(before[c] != row[c] for c in truth if c):
                raise LayoutError(f"{str(path)!r} says two things of {row[columns.file]!r}. Keep one row an image.")
            again += 1
            continue
        found[file] = (file, row, finder.find(row[columns.mask]) if columns.mask else None)
    if absent:
        told.append(f"{len(absent)} row(s) of {path.name} name no single file that is here: {some(absent)}.")
    if again:
        told.append(f"{again} row(s) of {path.name} repeat a file.")
    return list(found.values())


def _id(file: Path, stems: Mapping[str, int], root: Path) -> str:
    return stem_of(file) if stems[stem_of(file)] == 1 else bare(file.relative_to(root).as_posix())


def _ids(kept: Kept, path: Path) -> list[str]:
    stems: dict[str, int] = {}
    for file, _, _ in kept:
        stems[stem_of(file)] = stems.get(stem_of(file), 0) + 1
    return [_id(file, stems, path.parent) for file, _, _ in kept]


def _segmentation(path: Path, kept: Kept, columns: Columns, told: list[str]) -> Cohort:
    entries = tuple(
        Entry(one, {"image": Source(file)}, Source(mask) if mask else None)
        for one, (file, _, mask) in zip(_ids(kept, path), kept, strict=True)
    )
    bare_ones = [e.id for e in entries if e.truth is None]
    if bare_ones:
        told.append(f"{len(bare_ones)} case(s) have no mask and stand on no side: {some(bare_ones)}.")
    if columns.label:
        told.append(f"The column {columns.label!r} also names classes; ask for the task classification to learn them.")
    return with_labels(Cohort(path, "table", "segmentation", entries, told=tuple(told)), str(columns.mask))


def _classes(path: Path, kept: Kept, columns: Columns, told: list[str]) -> Cohort:
    truths, classes, exclusive = _by_label(kept, columns, told) if columns.label else _by_flags(kept, columns, told)
    empty = [one for one, truth in zip(_ids(kept, path), truths, strict=True) if truth is None]
    if empty:
        told.append(f"{len(empty)} case(s) have no class and stand on no side: {some(empty)}.")
    entries = tuple(
        Entry(one, {"image": Source(file)}, truth)
        for one, (file, _, _), truth in zip(_ids(kept, path), kept, truths, strict=True)
    )
    sample = {int(i) for i in np.linspace(0, len(kept) - 1, min(4, len(kept)))}
    shapes = [s for i in sorted(sample) if (s := image_shape(Source(kept[i][0])))]
    return Cohort(
        path, "table", "classification", entries, classes, dims=dims_of(shapes or [(2, 2)]), exclusive=exclusive,
        told=tuple(told),
    )  # fmt: skip


Truths = list[Scores | None]


def _by_label(kept: Kept, columns: Columns, told: list[str]) -> tuple[Truths, tuple[str, ...], bool]:
    cells = [row[str(columns.label)] for _, row, _ in kept]
    if any("|" in c for c in cells):
        return _by_lists(cells, told)
    classes = tuple(sorted({c for c in cells if c}, key=natural))
    if len(classes) < 2:
        raise LayoutError(
            f"The column {columns.label!r} holds {some(classes) or 'nothing'}; at least two classes are needed."
        )
    truths = {c: Scores(np.eye(len(classes))[i], classes) for i, c in enumerate(classes)}
    told.append(f"The classes are in the column {columns.label!r}: " + _counts(cells, classes))
    return [truths.get(c) for c in cells], classes, True


def _by_lists(cells: Sequence[str], told: list[str]) -> tuple[Truths, tuple[str, ...], bool]:
    nothing = {"", "no finding", "none", "normal", "healthy"}
    lists = [[w.strip() for w in c.split("|") if w.strip().lower() not in nothing] for c in cells]
    classes = tuple(sorted({w for words in lists for w in words}, key=natural))
    told.append(f"Several classes may hold in one case: {', '.join(classes)}.")
    truths: Truths = [
        Scores(np.array([float(c in words) for c in classes]), classes, exclusive=False) if cell else None
        for words, cell in zip(lists, cells, strict=True)
    ]
    return truths, classes, False


def _by_flags(kept: Kept, columns: Columns, told: list[str]) -> tuple[Truths, tuple[str, ...], bool]:
    flags = columns.flags
    held = np.array([[row[f].lower() in TRUE for f in flags] for _, row, _ in kept], float)  # (cases, flags)
    if len(flags) == 1:
        classes = (f"not {flags[0]}", flags[0])
        told.append(f"The class is the column {flags[0]!r}: {int(held.sum())} of {len(held)} cases have it.")
        return [Scores(np.array([1 - v, v]), classes) for v in held[:, 0]], classes, True
    exclusive = bool((held.sum(axis=1) == 1).all())
    several = "just one holds in each case" if exclusive else "several may hold in one case"
    told.append(f"The classes are the columns {', '.join(flags)}; {several}.")
    return [Scores(row, flags, exclusive=exclusive) for row in held], flags, exclusive


def _counts(cells: Sequence[str], classes: Sequence[str]) -> str:
    return ", ".join(f"{c} ({cells.count(c)})" for c in classes[:12]) + "."


table.order = 45  # type: ignore[attr-defined]
table.hints = ("truth",)  # type: ignore[attr-defined]
THIS = table
