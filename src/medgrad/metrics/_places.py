"""Replace the scores of rows by their ranks, for figures that depend only on the order of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._metric import Row
from ._rows import labels_with

SCORED = ("said", "met")
"""What the numbers are called that are scores, or begin with them."""


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Give rows in which each score is one over its place among those of the same name in all rows; equal ones share.

    >>> ranked([{"said/a": 0.9}, {"said/a": 0.2}, {"said/a": 0.4}])
    [{'said/a': 1.0}, {'said/a': 0.3333333333333333}, {'said/a': 0.5}]
    >>> ranked([{"met/a": "0.9:1 0.2:0"}, {"met/a": "0.4:-"}])
    [{'met/a': '1:1 0.333333333:0'}, {'met/a': '0.5:-'}]
    """
    names = [f"{word}/{label}" for word in SCORED for label in labels_with(rows, word)]
    every = {name: sorted({-s for row in rows for s, _ in parts(row.get(name))}) for name in names}
    return [{n: by_place(v, every[n]) if n in every else v for n, v in row.items()} for row in rows]


def parts(cell: float | str | None) -> list[tuple[float, str]]:
    """Parse a cell into scores, each with its word."""
    if cell is None:
        return []
    if not isinstance(cell, str):
        return [(float(cell), "")]
    return [(float(score), word) for score, _, word in (part.partition(":") for part in cell.split())]


def by_place(cell: float | str | None, scores: Sequence[float]) -> float | str | None:
    """Replace the scores of a cell by one over their rank among ``scores`` (negated, best first)."""
    found = [(1 / (1 + int(np.searchsorted(scores, -score))), word) for score, word in parts(cell)]
    if isinstance(cell, str):
        return " ".join(f"{place:.9g}:{word}" for place, word in found)
    return found[0][0] if found else None
