"""Rows of numbers as columns, summed up with weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ._metric import Row

Numbers = NDArray[np.float64]


def rows_to_table(rows: Sequence[Row], names: Iterable[str]) -> Numbers:
    """Give the (rows, names) table of numbers in the rows, nan where one is not defined."""
    names = list(names)
    table = [[np.nan if (v := row.get(name)) is None else float(v) for name in names] for row in rows]
    return np.array(table, float).reshape(len(rows), len(names))


def weighted_means(rows: Sequence[Row], weights: Numbers, names: Sequence[str]) -> dict[str, Numbers]:
    """Average each column over the rows in which it is defined, once for each row of ``weights`` (b, rows)."""
    table = rows_to_table(rows, names)
    known = ~np.isnan(table)
    total, count = weights @ np.where(known, table, 0.0), weights @ known
    found = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return {name: found[:, i] for i, name in enumerate(names)}


def weighted_sums(rows: Sequence[Row], weights: Numbers, words: Sequence[str], label: str) -> list[Numbers]:
    """Add up the columns ``word/label`` of each word, (b,) each."""
    table = np.nan_to_num(rows_to_table(rows, [f"{word}/{label}" for word in words]))
    return list((weights @ table).T)


def labels_after(rows: Sequence[Row], word: str) -> list[str]:
    """List what stands after ``word/`` in the names of the rows, in order of appearance."""
    return list(dict.fromkeys(n.split("/", 1)[1] for row in rows for n in row if n.startswith(f"{word}/")))
