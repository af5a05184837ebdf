"""Read small CSV, JSON and text files whole, or raise an error that names the file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import LayoutError

MAX_BYTES = 64_000_000


def read_text(path: Path) -> str:
    """Read a small text file, or raise a LayoutError that names it."""
    if path.stat().st_size > MAX_BYTES:
        raise LayoutError(f"{str(path)!r} is larger than {MAX_BYTES // 1_000_000} MB, too large for a list of cases.")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LayoutError(f"{str(path)!r} is not text in UTF-8. Save it as UTF-8.") from None


def read_json(path: Path) -> Any:
    """Read a JSON file, or raise a LayoutError that names it."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as reason:
        raise LayoutError(f"{str(path)!r} is not JSON: {str(reason)[:80]}. Correct the file.") from None


def read_csv_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV with a heading as a list of dicts, cells stripped; the delimiter is a comma, semicolon or tab."""
    text = read_text(path)
    mark = find_delimiter(text)
    try:
        table = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=mark) if any(row)]
    except csv.Error as reason:
        raise LayoutError(f"{str(path)!r} is not a table: {reason}. Correct the file.") from None
    if not table:
        return []
    names = table[0]
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice and twice[0]:
        raise LayoutError(f"{str(path)!r} has two columns {twice[0]!r}. Rename one.")
    return [dict(zip(names, [*row, *[""] * len(names)], strict=False)) for row in table[1:]]


def find_delimiter(text: str) -> str:
    """Find the delimiter of a table by its heading: a comma, semicolon or tab."""
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def write_csv_rows(path: Path, rows: Iterable[Sequence[str]], *, like: Path) -> Path:
    """Write a table, its heading first, with the delimiter of another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=find_delimiter(read_text(like)), lineterminator="\n").writerows(rows)
    return path


def find_column(names: Iterable[str], accepted_names: Sequence[str]) -> str | None:
    """Find the first column whose name is one of ``accepted_names``, ignoring case, spaces and hyphens."""
    plain = {re.sub(r"[\s\-]+", "_", n.strip().lower()): n for n in names}
    return next((plain[w] for w in accepted_names if w in plain), None)
