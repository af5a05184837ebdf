"""Metrics: compare an answer with the truth, one metric a file.

The name of a figure is a path of small words: what it is, then of what: ``dice/liver``, ``dice/mean``,
``auroc``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..data.grid import Grid
from ..data.types import Boxes, Image, LabelMap
from ._boxes import format_scores
from ._metric import Figure, Metric, Row, grid_diagonal
from ._ranks import rank_scores
from ._rows import weighted_means
from ._scores import none_for_nan

__all__ = [
    "Figure",
    "Metric",
    "Row",
    "better_direction",
    "figure_of",
    "format_scores",
    "judge",
    "judge_failed",
    "judge_set",
    "judge_set_many",
    "none_for_nan",
    "pool",
    "pool_many",
    "rank_only",
    "rank_scores",
    "unit_of",
    "value_range",
    "worst_value",
]


@cache
def figures_by_name() -> dict[str, Figure]:
    """Map the first word of every number that a metric can give to what it means."""
    return {word: f for name in registry.names("metrics") for word, f in registry.find("metrics", name).figures.items()}


def figure_of(name: str) -> Figure | None:
    """Give the description of a figure, or None for a name that no metric gives.

    >>> figure_of("dice/liver").better
    'higher'
    """
    return figures_by_name().get(name.split("/")[0])


def better_direction(name: str) -> Literal["higher", "lower", "zero"]:
    """Tell in which direction a number is better; one that no metric gives is taken to be better when higher.

    >>> better_direction("hd95/liver")
    'lower'
    """
    found = figure_of(name)
    return found.better if found else "higher"


def unit_of(name: str, *, has_spacing: bool = True) -> str:
    """Give the unit of a number, empty for a share; lengths are in pixels where the image has no spacing.

    >>> unit_of("hd95/liver"), unit_of("hd95/liver", has_spacing=False)
    ('mm', 'px')
    """
    found = figure_of(name)
    word = found.unit if found else ""
    return "px" if word == "mm" and not has_spacing else word


def value_range(name: str) -> tuple[float, float] | None:
    """Give the lowest and the highest value that a number can have, or None if it has no bounds.

    >>> value_range("dice/liver")
    (0.0, 1.0)
    """
    found = figure_of(name)
    return found.bounds if found else None


def rank_only(name: str) -> bool:
    """Tell whether a figure depends only on the rank of scores.

    >>> rank_only("auroc"), rank_only("brier")
    (True, False)
    """
    found = figure_of(name)
    return found is not None and found.rank_only


def worst_value(name: str, grid: Grid | None = None) -> float | None:
    """Give what a failed case gets, so that it counts; None where nothing is worst.

    >>> worst_value("dice/liver"), worst_value("hd95/liver", Grid.from_shape((4, 5)))
    (0.0, 5.0)
    """
    found = figure_of(name)
    if found is None or found.worst != "diagonal":
        return found.worst if found else None  # type: ignore[return-value]
    return grid_diagonal(grid) if grid else None


def judge(metrics: Sequence[str], truth: Any, answer: Any, *, region: LabelMap | None = None) -> dict[str, Any]:
    """Give one row for one case by all the named metrics on labels, on images or on boxes.

    A row on boxes also holds short texts, from which ``pool`` makes the figures of a set.
    """
    row: dict[str, Any] = {}
    for name in metrics:
        row |= registry.find("metrics", name).compute(truth, answer, region=region)
    return row


def judge_failed(metrics: Sequence[str], truth: Any, *, region: LabelMap | None = None) -> dict[str, Any]:
    """Give the row of a case for which there is no answer, so that it counts as the worst one.

    Each figure gets its worst value, also for a label that the truth does not have; one that has none (a count) is told
    as if the answer were empty.
    """
    grid = truth.grid if isinstance(truth, (LabelMap, Image)) else None
    row = judge(metrics, truth, empty_answer(truth), region=region)
    return {name: low if (low := worst_value(name, grid)) is not None else value for name, value in row.items()}


def empty_answer(truth: LabelMap | Boxes | Image) -> LabelMap | Boxes | Image:
    """Give an empty answer of the kind of a truth; of an image, its mean everywhere."""
    if isinstance(truth, Boxes):
        return Boxes(truth.corners[:0], truth.labels[:0], np.zeros(0), truth.names)
    if isinstance(truth, Image):
        finite = truth.array[np.isfinite(truth.array)]
        return replace(truth, array=np.full(truth.array.shape, finite.mean() if finite.size else 0.0))
    return LabelMap(np.zeros_like(truth.array), truth.grid, truth.names)


def pool(metrics: Sequence[str], rows: Sequence[Row]) -> dict[str, float | None]:
    """Give the figures of a set from its rows: the mean of each, or what the metric says where a mean is wrong."""
    found = pool_many(metrics, rows, np.ones((1, len(rows))))
    return none_for_nan({name: float(values[0]) for name, values in found.items()})


def pool_many(
    metrics: Sequence[str], rows: Sequence[Row], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Give the figures of many resamples at once: ``weights`` (b, n) says how often each row counts in each."""
    found: dict[str, NDArray[np.float64]] = {}
    for name in metrics:
        metric: Metric = registry.find("metrics", name)
        known = list(dict.fromkeys(n for row in rows for n in row if n.split("/")[0] in metric.figures))
        found |= metric.pool(rows, weights) if metric.pool else weighted_means(rows, weights, known)
    return found


def judge_set(
    metrics: Sequence[str],
    truth: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    *,
    names: Sequence[str],
    exclusive: bool = True,
) -> dict[str, float | None]:
    """Give the figures of a set by all the named metrics on scores; ``truth`` is (n, k), 0 or 1."""
    row: dict[str, float | None] = {}
    for metric in metrics:
        row |= registry.find("metrics", metric).compute(truth, probabilities, names=names, exclusive=exclusive)
    return row


def judge_set_many(
    metrics: Sequence[str],
    truth: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    names: Sequence[str],
    exclusive: bool = True,
) -> dict[str, NDArray[np.float64]]:
    """Give the figures of many resamples at once: ``weights`` (b, n) says how often each row counts in each."""
    found: dict[str, NDArray[np.float64]] = {}
    for metric in metrics:
        many = registry.find("metrics", metric).compute_many
        found |= many(truth, probabilities, weights, names=names, exclusive=exclusive)
    return found
