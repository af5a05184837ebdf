"""Shared by the metrics of anomaly maps: which elements count, and the figures of the z-score beside those of a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.types import Image, LabelMap
from ._labels import check_grids
from ._metric import Figure, Row
from ._rows import Numbers, rows_to_table
from ._scores import divide_or_nan


def counted_elements(
    truth: Image, answer: Image, region: LabelMap | None
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Tell which of the elements that count are abnormal, (n,), and give how unlike the answer calls them, (n,).

    What is not finite in the answer counts as normal.
    """
    check_grids(truth, answer, region)
    inside = np.ones(truth.grid.shape, bool) if region is None else region.array != 0
    said = np.nan_to_num(answer.array[inside].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return truth.array[inside] > 0.5, said


def means_beside(figure: str, rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Average a figure, and where the rows have it, that of the z-score, and what the figure is above it."""
    table = rows_to_table(rows, (figure, f"{figure}_zscore"))
    known = ~np.isnan(table)
    both = known[:, 0] & known[:, 1]

    def mean(values: Numbers, is_known: NDArray[np.bool_]) -> Numbers:
        return divide_or_nan(weights @ np.where(is_known, values, 0.0), weights @ is_known.astype(float))

    found = {figure: mean(table[:, 0], known[:, 0])}
    if not known[:, 1].any():
        return found
    gain = mean(table[:, 0] - table[:, 1], both)
    return found | {f"{figure}_zscore": mean(table[:, 1], known[:, 1]), f"{figure}_gain": gain}


def figures_beside(figure: str, what: str, *, worst: float | None = 0.0) -> dict[str, Figure]:
    """Describe a figure of a map, that of the z-score, and what the figure is above it."""
    return {
        figure: Figure("higher", f"{what}.", worst=worst),
        f"{figure}_zscore": Figure(
            "higher", f"The same of the plain z-score of the same images, smoothed alike: {what}.", worst=None
        ),
        f"{figure}_gain": Figure(
            "higher",
            "The figure of the network less that of the plain z-score of the same images.",
            worst=None,
            bounds=(-1.0, 1.0),
        ),
    }
