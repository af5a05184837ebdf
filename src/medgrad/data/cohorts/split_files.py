"""Split files: JSON, CSV or plain lists that assign cases to splits by ids, parts of ids, or patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ...errors import LayoutError
from ..tables import find_column, read_csv_rows, read_json, read_text
from .cohort import SPLITS, Cohort, Entry, with_split

SplitIds = dict[str, tuple[str, ...]]

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "tr", "trn", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development", "tune", "tuning"), "val"),
    **dict.fromkeys(("test", "testing", "ts", "tst", "held", "heldout", "holdout"), "test"),
}
ID_WORDS = ("id", "case", "case_id", "image_id", "image", "file", "filename", "file_name", "path", "name", "subject")
SPLIT_COLUMN_WORDS = ("split", "set", "fold", "subset", "partition", "phase", "usage", "dataset")


def parse_split_name(word: str) -> str | None:
    """Parse a word as the name of a split, or give None.

    >>> parse_split_name("Validation"), parse_split_name("images")
    ('val', None)
    """
    return SPLIT_NAMES.get(word.strip().lower())


def find_split_column(rows: Sequence[Mapping[str, str]]) -> str | None:
    """Find the column whose every cell names a split; a column called split, set or the like is preferred."""
    if not rows:
        return None
    good = [c for c in rows[0] if c and _is_split_column(r.get(c, "") for r in rows)]
    telling = [c for c in good if any(w in c.lower() for w in SPLIT_COLUMN_WORDS)]
    return next(iter(telling or good), None)


def _is_split_column(cells: Iterable[str]) -> bool:
    filled = {c.lower() for c in cells}
    return bool(filled - {""}) and all(parse_split_name(c) for c in filled - {""})


def read_split(path: Path | str) -> SplitIds:
    """Read the cases of each split, as ids, parts of ids, or patterns with ``*``.

    JSON is ``{"train": [...], "val": [...]}``, a list of such folds (the first is used), or ``{id: split}``. A
    table has a column of ids and one of splits. A plain list has lines ``id split``, or its file is named after
    the split.
    """
    path = Path(path)
    if not path.is_file():
        raise LayoutError(f"{str(path)!r} is not a file. Name a .json, .csv or .txt that lists the sides of a split.")
    kind = path.suffix.lower()
    sides = (
        _read_json_split(path)
        if kind == ".json"
        else _read_table_split(path)
        if kind in (".csv", ".tsv")
        else _read_list_split(path)
    )
    if not any(sides.values()):
        raise LayoutError(f"{str(path)!r} names no case. It must list ids for train, val or test.")
    seen: dict[str, str] = {}
    for side, ids in sides.items():
        for one in ids:
            if seen.setdefault(one, side) != side:
                raise LayoutError(f"{str(path)!r} puts {one!r} into both {seen[one]} and {side}. Correct the file.")
    return sides


def _read_json_split(path: Path) -> SplitIds:
    content = read_json(path)
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = content[0]
    if not isinstance(content, dict):
        raise LayoutError(f"{str(path)!r} holds no split. Write {{'train': [ids], 'val': [ids]}}.")
    sides: SplitIds = {}
    for key, value in content.items():
        side = parse_split_name(str(key))
        if side and isinstance(value, list):
            sides[side] = (*sides.get(side, ()), *[_parse_id(v) for v in value])
        elif isinstance(value, str) and parse_split_name(value):
            found = str(parse_split_name(value))
            sides[found] = (*sides.get(found, ()), str(key))
    return sides


def _parse_id(value: object) -> str:
    if isinstance(value, dict):  # {"image": ..., "label": ...}, as MSD and MONAI write
        value = value.get("image", value.get("id", ""))
    return strip_image_suffix(str(value))


def _read_table_split(path: Path) -> SplitIds:
    rows = read_csv_rows(path)
    names = list(rows[0]) if rows else []
    ids = find_column(names, ID_WORDS)
    sides = find_split_column(rows)
    named = parse_split_name(path.stem)
    if ids is None and len(names) == 1:
        ids = names[0]
    if ids is None or (sides is None and named is None):
        raise LayoutError(
            f"{str(path)!r} has the columns {', '.join(names) or '(none)'}. A split needs an 'id' and a 'split' column."
        )
    found: SplitIds = {}
    for row in rows:
        side = parse_split_name(row[sides]) if sides else named
        if side and row[ids]:
            found[side] = (*found.get(side, ()), strip_image_suffix(row[ids]))
    return found


def _read_list_split(path: Path) -> SplitIds:
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    named = parse_split_name(path.stem)
    found: dict[str, list[str]] = {}
    for line in lines:
        words = re.split(r"[\s,;]+", line)
        side = parse_split_name(words[-1]) if len(words) > 1 else None
        if side is None and named is None:
            raise LayoutError(f"{str(path)!r}: the line {line[:60]!r} names no side. Write 'id train' or 'id val'.")
        found.setdefault(side or str(named), []).append(
            strip_image_suffix(words[0] if side or len(words) == 2 else line)
        )
    return {side: tuple(ids) for side, ids in found.items()}


def strip_image_suffix(name: str) -> str:
    """Strip a leading ``./`` and the suffixes of image files from a name.

    >>> strip_image_suffix("./imagesTr/liver_3.nii.gz")
    'imagesTr/liver_3'
    """
    name = name.strip().replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return re.sub(
        r"\.(nii\.gz|nii|png|jpe?g|tiff?|bmp|gif|webp|npy|npz|dcm|mha|mhd|nrrd|xml|json|txt)$", "", name, flags=re.I
    )


@dataclass(frozen=True)
class SplitMatch:
    """The split of each matched case, and the names that match no case."""

    split_by_case: Mapping[str, str]
    unmatched: tuple[str, ...]


def match_cases(entries: Sequence[Entry], split_ids: Mapping[str, Sequence[str]], *, source_name: str) -> SplitMatch:
    """Match the names in a split file with cases.

    A name may be a whole id, a patient, or whole words at the end of or within an id.

    Raises if a name matches cases of different patients, or if a case falls into two splits.
    """
    index = _CaseIndex(entries)
    chosen: dict[str, str] = {}
    absent: list[str] = []
    for side, names in split_ids.items():
        for name in names:
            ids = index.find(name, source_name)
            if not ids:
                absent.append(name)
            for one in ids:
                if chosen.setdefault(one, side) != side:
                    raise LayoutError(
                        f"{source_name} puts {one!r} into both {chosen[one]} and {side}. Correct the file."
                    )
    return SplitMatch(chosen, tuple(absent))


class _CaseIndex:
    """Finds cases by whole id, by patient, and by sequences of whole words."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.ids = {e.id for e in entries}
        self.patient = {e.id: e.patient or e.id for e in entries}
        self.by_patient: dict[str, list[str]] = {}
        self.by_end: dict[tuple[str, ...], list[str]] = {}
        self.by_words: dict[tuple[str, ...], list[str]] = {}
        for e in entries:
            self.by_patient.setdefault(e.patient, []).append(e.id)
            words = _split_words(e.id)
            runs = {tuple(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(len(words), i + 8) + 1)}
            for run in runs:
                self.by_words.setdefault(run, []).append(e.id)
            for i in range(len(words)):
                self.by_end.setdefault(tuple(words[i:]), []).append(e.id)

    def find(self, name: str, source_name: str) -> list[str]:
        if any(c in name for c in "*?["):
            return [i for i in sorted(self.ids) if fnmatchcase(i, name)]
        if name in self.ids:
            return [name]
        if name in self.by_patient:
            return self.by_patient[name]
        words = tuple(_split_words(name))
        while words:
            for table in (self.by_end, self.by_words):
                ids = table.get(words, [])
                if len(ids) > 1 and len({self.patient[i] for i in ids}) > 1:
                    raise LayoutError(
                        f"{source_name}: {name!r} fits {len(ids)} cases, such as {ids[0]!r} and "
                        f"{ids[1]!r}. Write whole ids."
                    )
                if ids:
                    return ids
            if "/" not in name:
                return []
            name = name.split("/", 1)[1]  # images/x may stand for x
            if name in self.ids:
                return [name]
            words = tuple(_split_words(name))
        return []


def _split_words(name: str) -> list[str]:
    return [w for w in re.split(r"[^A-Za-z0-9]+", name) if w]


def apply_split(cohort: Cohort, split_ids: Mapping[str, Sequence[str]], *, source_name: str = "the split") -> Cohort:
    """Assign the named cases to their splits and remove all others from theirs; every name must match."""
    found = match_cases(cohort.entries, split_ids, source_name=source_name)
    if found.unmatched:
        raise LayoutError(
            f"{source_name} names {_quote_first(found.unmatched)}, which "
            f"{'is' if len(found.unmatched) == 1 else 'are'} not in "
            f"{str(cohort.root)!r}. Its ids are like {cohort.entries[0].id!r}."
        )
    cleared = replace(cohort, entries=tuple(replace(e, split=None) for e in cohort.entries))
    return with_split(cleared, found.split_by_case)


def _quote_first(names: Sequence[str]) -> str:
    return ", ".join(repr(n) for n in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def find_split_file(root: Path) -> tuple[SplitIds, str] | None:
    """Find the split files of a set: ``split.json``, ``splits_final.json``, or a list or table for each split."""
    for name in ("split.json", "splits.json", "splits_final.json", "split.csv", "splits.csv", "split.txt"):
        if (root / name).is_file():
            return read_split(root / name), name
    for pattern in ("*.txt", "*.csv"):
        lists = sorted(p for p in root.glob(pattern) if parse_split_name(p.stem))
        if len(lists) > 1:
            found: SplitIds = {}
            for path in lists:
                for side, ids in read_split(path).items():
                    found[side] = (*found.get(side, ()), *ids)
            return found, ", ".join(p.name for p in lists)
    return None


def apply_found_split(cohort: Cohort, root: Path) -> Cohort:
    """Apply the split file that comes with a set, if there is one, with messages on what did not match."""
    beside = find_split_file(root)
    if beside is None or any(e.split for e in cohort.entries):
        return cohort
    sides, name = beside
    found = match_cases(cohort.entries, sides, source_name=repr(str(root / name.split(", ")[0])))
    if not found.split_by_case:
        return replace(cohort, messages=(*cohort.messages, f"{name} names none of the cases, so it is not used."))
    messages = [f"The split is the one in {name}: {describe_split_counts(found.split_by_case.values())}."]
    if found.unmatched:
        messages.append(
            f"{name} names {_quote_first(found.unmatched)}, which "
            f"{'is' if len(found.unmatched) == 1 else 'are'} not here."
        )
    missing = [e.id for e in cohort.entries if e.id not in found.split_by_case]
    if missing:
        messages.append(f"{name} does not name {_quote_first(missing)}: on no side.")
    return replace(with_split(cohort, found.split_by_case), messages=(*cohort.messages, *messages))


def describe_split_counts(split_names: Iterable[str | None]) -> str:
    """Describe how many cases each split has.

    >>> describe_split_counts(["val", "train", "train"])
    '2 train, 1 val'
    """
    every = list(split_names)
    return ", ".join(f"{n} {side}" for side in SPLITS if (n := every.count(side))) or "none"
