"""Fill the gaps (NaN) of a table of numbers, column by column or from the rows that are most alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
TableFiller = Callable[[Table, int], Table]

BLOCK_ROWS = 256


def fill_with_mean(values: Table, neighbours: int) -> Table:
    """Fill each gap with the mean of its column."""
    del neighbours
    return np.where(np.isnan(values), np.nanmean(values, axis=0), values)


def fill_with_median(values: Table, neighbours: int) -> Table:
    """Fill each gap with the median of its column."""
    del neighbours
    return np.where(np.isnan(values), np.nanmedian(values, axis=0), values)


def fill_from_rows(values: Table, neighbours: int) -> Table:
    """Fill each gap with the mean of its column in the ``neighbours`` nearest rows that know it.

    The distance of two rows is the mean squared difference of the standardised columns that both know. A row that
    shares none with others gets the median.
    """
    known = ~np.isnan(values)
    filled = fill_with_median(values, neighbours)
    deviations = np.nanstd(values, axis=0)
    scaled = np.where(known, (values - np.nanmean(values, axis=0)) / np.where(deviations > 0, deviations, 1.0), 0.0)
    weights = known.astype(np.float64)
    short = np.flatnonzero(~known.all(axis=1))
    for start in range(0, len(short), BLOCK_ROWS):
        rows = short[start : start + BLOCK_ROWS]
        shared = weights[rows] @ weights.T
        squares = scaled[rows] ** 2 @ weights.T + weights[rows] @ (scaled**2).T - 2 * scaled[rows] @ scaled.T
        distance = np.where(shared > 0, np.maximum(squares, 0) / np.maximum(shared, 1), np.inf)
        distance[np.arange(len(rows)), rows] = np.inf
        for row, far in zip(rows, distance, strict=True):
            order = np.argsort(far, kind="stable")
            order = order[np.isfinite(far[order])]
            for column in np.flatnonzero(~known[row]):
                nearest = order[known[order, column]][:neighbours]
                if len(nearest):
                    filled[row, column] = values[nearest, column].mean()
    return filled


TABLE_FILLERS: Mapping[str, TableFiller] = {
    "nearest": fill_from_rows,
    "median": fill_with_median,
    "mean": fill_with_mean,
}


def fill_table(values: Table, method: str, neighbours: int) -> Table:
    """Fill the gaps of a table (rows, columns); a column of whole numbers keeps whole numbers."""
    filled = TABLE_FILLERS[method](values, neighbours)
    is_whole = (np.isnan(values) | (values == np.rint(values))).all(axis=0)
    return np.where(np.isnan(values), np.where(is_whole, np.rint(filled), filled), values)
