"""Replace the scores of rows by their ranks, for figures that depend only on the order of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._metric import Row
from ._rows import labels_after

SCORE_COLUMNS = ("prob", "froc")
"""What the numbers are called that are scores, or begin with them."""


def rank_scores(rows: Sequence[Row]) -> list[Row]:
    """Give rows in which each score is one over its place among those of the same name in all rows; equal ones share.

    >>> rank_scores([{"prob/a": 0.9}, {"prob/a": 0.2}, {"prob/a": 0.4}])
    [{'prob/a': 1.0}, {'prob/a': 0.3333333333333333}, {'prob/a': 0.5}]
    >>> rank_scores([{"froc/a": "0.9:1 0.2:0"}, {"froc/a": "0.4:-"}])
    [{'froc/a': '1:1 0.333333333:0'}, {'froc/a': '0.5:-'}]
    """
    names = [f"{word}/{label}" for word in SCORE_COLUMNS for label in labels_after(rows, word)]
    every = {name: sorted({-s for row in rows for s, _ in parse_cell(row.get(name))}) for name in names}
    return [{n: replace_by_rank(v, every[n]) if n in every else v for n, v in row.items()} for row in rows]


def parse_cell(cell: float | str | None) -> list[tuple[float, str]]:
    """Parse a cell into scores, each with its word."""
    if cell is None:
        return []
    if not isinstance(cell, str):
        return [(float(cell), "")]
    return [(float(score), word) for score, _, word in (part.partition(":") for part in cell.split())]


def replace_by_rank(cell: float | str | None, sorted_scores: Sequence[float]) -> float | str | None:
    """Replace the scores of a cell by one over their rank among ``sorted_scores`` (negated, best first)."""
    found = [(1 / (1 + int(np.searchsorted(sorted_scores, -score))), word) for score, word in parse_cell(cell)]
    if isinstance(cell, str):
        return " ".join(f"{place:.9g}:{word}" for place, word in found)
    return found[0][0] if found else None
