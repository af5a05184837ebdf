"""Read the files in which a run keeps its facts, its steps and its judged cases.

A file that is missing reads as empty. One that cannot be read raises an OSError or a ValueError; what a damaged file
costs is up to the caller.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any


def read_record(path: Path) -> dict[str, Any]:
    """Read the object of ``run.json``, ``cohort.json`` or ``evaluation.json``; numbers that JSON lacks become None."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def read_steps(path: Path) -> list[dict[str, Any]]:
    """Read the lines of ``steps.jsonl``; what is no step, such as a line that was cut off, is left out."""
    found: list[dict[str, Any]] = []
    if not path.exists():
        return found
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text, parse_constant=lambda _: None)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int | float):
                found.append(line)
    return found


def read_cases(path: Path) -> list[dict[str, Any]]:
    """Read the rows of ``cases.csv``, as text.

    A cell that is missing is None, and a row that is too long has a list under None, as in ``csv.DictReader``.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except csv.Error as reason:
        raise ValueError(str(reason)) from reason
