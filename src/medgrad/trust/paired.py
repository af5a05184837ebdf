"""Paired comparison of two runs: permutation tests by patient, with Holm's correction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .holm import adjust_p_values
from .intervals import (
    WeightedFigures,
    bca_interval,
    compute_in_chunks,
    compute_single,
    draw_resamples,
    none_if_nan,
    patient_codes,
    weighted_column_means,
)

Numbers = NDArray[np.float64]
Row = Mapping[str, Any]
PoolMany = Callable[[Sequence[Row], Numbers], Mapping[str, Numbers]]
MAX_EXACT_PATIENTS = 12  # so many patients can be exchanged in 4,096 ways, and all are tried


@dataclass(frozen=True)
class Comparison:
    """One number of two runs over the same patients: ``difference`` is b minus a, with its interval.

    ``p`` is the chance of so large a difference if it did not matter whose answer is whose; ``p_holm`` is corrected for
    all the numbers that were compared. ``describe_verdict`` puts it in words.
    """

    name: str
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    n: int
    verdict: str = ""


def never_rank_only(name: str) -> bool:
    """Give False for every figure: none depends on ranks alone."""
    del name
    return False


def always_higher(name: str) -> str:
    """Take every number to be better when it is higher."""
    del name
    return "higher"


def compare(
    rows_a: Sequence[Row],
    rows_b: Sequence[Row],
    *,
    patients: Sequence[str],
    names: Sequence[str] | None = None,
    pool_many: PoolMany | None = None,
    better_direction: Callable[[str], str] = always_higher,
    rank_scores: Callable[[Sequence[Row]], Sequence[Row]] | None = None,
    rank_only: Callable[[str], bool] = never_rank_only,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """Compare two runs, whose rows stand in the same order of cases, on each number in ``names`` (all, if not given).

    Without ``pool_many`` each column is averaged over the cases in which both runs have it. ``pool_many(rows,
    weights)`` makes the numbers of a whole set (an AUROC, a pooled F1) once for each row of weights. The test exchanges
    the two answers to a patient at random, all ways at once where there are few patients; the interval resamples
    patients. Where just the order of scores counts (``by_order``), what is exchanged are their places among those of
    the same run, as ``placed`` gives them: two runs that mean the same by 0.9 and by 0.4 are not to be mixed otherwise.

    >>> rows = [{"dice": v} for v in (0.70, 0.75, 0.80, 0.72, 0.66, 0.81)]
    >>> better = [{"dice": r["dice"] + 0.05} for r in rows]
    >>> compare(rows, better, patients=list("abcdef"))[0].p
    0.03125
    """
    check_paired_rows(rows_a, rows_b, patients)
    if pool_many is None:
        rows_a, rows_b = keep_shared_figures(rows_a, rows_b)
    many = weighted_figures(rows_a, rows_b, pool_many)
    codes, n = patient_codes(patients)
    single = np.ones((1, len(rows_a)))
    a, b = (compute_single(many, w) for w in side_weights(single))
    shown = [name for name in (names if names is not None else a) if better_direction(name) != "zero"]
    resampled = paired_differences(many, draw_resamples(n, n_resamples, seed)[:, codes])
    left_out = paired_differences(many, (1.0 - np.eye(n))[:, codes])
    ways, swapped = draw_exchange_masks(n, n_resamples, seed)[:, codes], dict[str, Numbers]()
    ordered = [name for name in shown if rank_scores and pool_many and rank_only(name)]
    if len(ordered) < len(shown):
        swapped |= exchanged_differences(rows_a, rows_b, pool_many, ways)
    if rank_scores and ordered:
        by_place = exchanged_differences(rank_scores(rows_a), rank_scores(rows_b), pool_many, ways)
        swapped |= {name: by_place[name] for name in ordered}
    found = []
    for name in shown:
        gap = b[name] - a[name]
        low, high = bca_interval(resampled[name], gap, left_out[name], level=level, patients=n)
        p = permutation_p_value(swapped[name], gap)
        first, second, seen = none_if_nan(a[name]), none_if_nan(b[name]), none_if_nan(gap)
        found.append(Comparison(name, first, second, seen, low, high, p, None, n))
    return add_verdicts(found, better_direction, level)


def check_paired_rows(rows_a: Sequence[Row], rows_b: Sequence[Row], patients: Sequence[str]) -> None:
    """Raise unless there is a row of each run for each case."""
    if not len(rows_a) == len(rows_b) == len(patients) or not patients:
        raise ValueError(
            f"A paired comparison needs the same cases twice, but {len(rows_a)} and {len(rows_b)} rows came for "
            f"{len(patients)} patients. Compare runs that were evaluated on the same cases."
        )


def keep_shared_figures(rows_a: Sequence[Row], rows_b: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Keep only figures that both rows of a pair have; others become None."""
    pairs = list(zip(rows_a, rows_b, strict=True))
    names = dict.fromkeys(n for a, b in pairs for n in a if n in b)
    shared = [[n for n in names if a.get(n) is not None and b.get(n) is not None] for a, b in pairs]
    both: list[list[Row]] = [
        [{n: (pair[side][n] if n in known else None) for n in names} for pair, known in zip(pairs, shared, strict=True)]
        for side in (0, 1)
    ]
    return both[0], both[1]


def weighted_figures(rows_a: Sequence[Row], rows_b: Sequence[Row], pool_many: PoolMany | None) -> WeightedFigures:
    """Make a function from weights to figures, over the rows of a and then of b."""
    rows = [*rows_a, *rows_b]
    return weighted_column_means(rows) if pool_many is None else lambda weights: pool_many(rows, weights)


def side_weights(weights: Numbers, exchange: Numbers | None = None) -> tuple[Numbers, Numbers]:
    """Give the weights of both sides over the rows of a and then of b; ``exchange`` (0 or 1) swaps pairs."""
    swap = np.zeros_like(weights) if exchange is None else exchange
    return (
        np.concatenate([weights * (1 - swap), weights * swap], axis=1),
        np.concatenate([weights * swap, weights * (1 - swap)], axis=1),
    )


def paired_differences(
    compute_many: Callable[[Numbers], Mapping[str, Numbers]], weights: Numbers, *, exchange: Numbers | None = None
) -> dict[str, Numbers]:
    """Give b minus a of each number for each row of weights, or of exchanges."""
    if exchange is not None:
        weights = np.broadcast_to(weights, exchange.shape)
    first, second = (compute_in_chunks(compute_many, side) for side in side_weights(weights, exchange))
    return {name: second[name] - first[name] for name in first}


def exchanged_differences(
    rows_a: Sequence[Row], rows_b: Sequence[Row], pool_many: PoolMany | None, exchange_masks: Numbers
) -> dict[str, Numbers]:
    """Give the differences b minus a under each exchange of patients."""
    many = weighted_figures(rows_a, rows_b, pool_many)
    return paired_differences(many, np.ones((1, len(rows_a))), exchange=exchange_masks)


def draw_exchange_masks(n_patients: int, n_masks: int, seed: int) -> Numbers:
    """Draw the exchanges of the permutation test: all of them for few patients, else at random with the identity."""
    if n_patients <= MAX_EXACT_PATIENTS:
        return np.array(list(product((0.0, 1.0), repeat=n_patients)))
    drawn = np.random.default_rng(seed + 1).integers(0, 2, (n_masks, n_patients)).astype(float)
    drawn[0] = 0.0
    return drawn


def permutation_p_value(null_differences: Numbers, difference: float) -> float | None:
    """Give the two-sided p value of the permutation test."""
    known = null_differences[~np.isnan(null_differences)]
    if np.isnan(difference) or not len(known):
        return None
    return float((np.abs(known) >= abs(difference) - 1e-9 * max(1.0, abs(difference))).mean())


def add_verdicts(
    comparisons: Sequence[Comparison], better_direction: Callable[[str], str], level: float
) -> list[Comparison]:
    """Correct the p values for their number, and say what each comparison shows."""
    tested = [c for c in comparisons if c.p is not None]
    adjusted = dict(
        zip([c.name for c in tested], adjust_p_values([c.p for c in tested if c.p is not None]), strict=True)
    )
    return [
        replace(c, p_holm=(p := adjusted.get(c.name)), verdict=describe_verdict(c, p, better_direction(c.name), level))
        for c in comparisons
    ]


def describe_verdict(comparison: Comparison, p: float | None, better_direction: str, level: float) -> str:
    """Say in words which side is better, if it is shown at all."""
    if p is None or comparison.difference is None:
        return "not comparable"
    if p >= 1 - level:
        return "no difference shown"
    return "b is better" if (comparison.difference > 0) == (better_direction == "higher") else "a is better"
