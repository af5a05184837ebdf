"""How sure a number is: bootstrap intervals, resampled by patient.

Patients are drawn with replacement, each with all of its cases. The interval is bias-corrected and accelerated (BCa,
Efron 1987), at a level widened for few patients (Hesterberg 2015, section 5.2: normal quantiles become t quantiles).

Measured coverage of the 95 % interval, 2,000 simulated sets each: mean of skewed Dice scores 94.9 % with 20 patients,
94.8 % with 40; AUROC of 0.80 97.9 % and 97.2 %. The plain percentile interval covered 91.5 % and 93.5 %, and 92.2 % and
93.3 %. Where one case in 33 fails outright (Dice 0), a set of 20 often shows no failure, and the interval of the mean
covers 89 % only: no resampling shows what the sample does not hold. ``tests/trust/test_intervals.py`` simulates this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]
Row = Mapping[str, Any]
Summarise = Callable[[Sequence[Row]], Mapping[str, float | None]]
WeightedFigures = Callable[[Numbers], Mapping[str, Numbers]]
Bounds = Callable[[str], tuple[float, float] | None]
CHUNK_ROWS = 250


@dataclass(frozen=True)
class Estimate:
    """A number, its interval, and how many patients stand behind it; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def share_bounds(name: str) -> tuple[float, float]:
    """Give the bounds 0 and 1 for every figure."""
    del name
    return 0.0, 1.0


def bootstrap_intervals(
    rows: Sequence[Row],
    summarise: Summarise | None = None,
    *,
    patients: Sequence[str],
    compute_many: WeightedFigures | None = None,
    value_range: Bounds = share_bounds,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Give each number that ``summarise`` makes of the rows with its interval; ``patients`` says whose each row is.

    Without ``summarise`` each column is averaged. ``compute_many`` makes the numbers of many resamples at once from
    weights (b, rows), how often each row counts, and saves most of the time; else ``summarise`` is called for each
    resample. ``value_range`` gives the least and greatest value that a number can have. Where all resamples agree on
    one of them (20 of 20 right), resampling says nothing, and the other end is the exact one for n of n patients.

    >>> bootstrap_intervals([{"dice": 0.8}, {"dice": 0.9}, {"dice": 0.7}], patients=["a", "b", "c"])["dice"].n
    3
    """
    if len(rows) != len(patients) or not rows:
        raise ValueError(f"Each row needs its patient, but {len(rows)} rows came with {len(patients)} patients.")
    if compute_many is None:
        compute_many = resample_with_summarise(rows, summarise) if summarise else weighted_column_means(rows)
    codes, n = patient_codes(patients)
    value = compute_single(compute_many, np.ones((1, len(rows))))
    resampled = compute_in_chunks(compute_many, draw_resamples(n, n_resamples, seed)[:, codes])
    left_out = compute_in_chunks(compute_many, (1.0 - np.eye(n))[:, codes])
    behind = count_patients(rows, patients)
    found = {}
    for name, number in value.items():
        low, high = bca_interval(
            resampled[name], number, left_out[name], level=level, bounds=value_range(name), patients=n
        )
        found[name] = Estimate(none_if_nan(number), low, high, behind.get(name, n))
    return found


def bca_interval(
    resampled: Numbers,
    value: float,
    jackknife: Numbers,
    *,
    level: float,
    patients: int,
    bounds: tuple[float, float] | None = None,
) -> tuple[float | None, float | None]:
    """Give the ends of the BCa interval from the values of resamples and those with each patient left out.

    Both are None with fewer than two patients, or where most resamples do not define the number.
    """
    known = resampled[~np.isnan(resampled)]
    if np.isnan(value) or patients < 2 or len(known) < len(resampled) / 2:
        return None, None
    rounding = 1e-9 * max(abs(value), 1e-9)
    if known.max() - known.min() <= rounding:
        return constant_interval(value, level=level, patients=patients, bounds=bounds)
    reach = np.sqrt(patients / (patients - 1)) * special.stdtrit(patients - 1, (1 + level) / 2)
    below = ((known < value - rounding).mean() + (known <= value + rounding).mean()) / 2
    shift = special.ndtri(np.clip(below, 1 / (2 * len(known)), 1 - 1 / (2 * len(known))))
    at = shift + np.array([-reach, reach])
    low, high = np.quantile(known, special.ndtr(shift + at / np.maximum(1 - bca_acceleration(jackknife) * at, 0.05)))
    return float(low), float(high)


def constant_interval(
    value: float, *, level: float, patients: int, bounds: tuple[float, float] | None
) -> tuple[float, float]:
    """Give the interval of a figure that is the same in all resamples: Clopper-Pearson for n of n at a bound."""
    if bounds is None or value not in bounds:
        return value, value
    reach = (bounds[1] - bounds[0]) * (1 - ((1 - level) / 2) ** (1 / patients))
    return (value - reach, value) if value == bounds[1] else (value, value + reach)


def bca_acceleration(jackknife: Numbers) -> float:
    """Give the BCa acceleration from jackknife values."""
    gaps = jackknife.mean() - jackknife
    spread = float((gaps**2).sum()) ** 1.5
    return float((gaps**3).sum()) / (6 * spread) if np.isfinite(spread) and spread > 1e-300 else 0.0


def patient_codes(patients: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """Give the index of each row's patient, and the number of patients."""
    order = {name: i for i, name in enumerate(dict.fromkeys(patients))}
    return np.array([order[name] for name in patients]), len(order)


def draw_resamples(n_patients: int, n_resamples: int, seed: int) -> Numbers:
    """Draw bootstrap counts of ``n_patients`` patients, (times, n)."""
    return (
        np.random.default_rng(seed)
        .multinomial(n_patients, np.full(n_patients, 1 / n_patients), n_resamples)
        .astype(float)
    )


def compute_in_chunks(compute_many: WeightedFigures, weights: Numbers) -> dict[str, Numbers]:
    """Call ``compute_many`` on pieces of the weights, so that memory stays small, and join what it gives."""
    pieces = [compute_many(weights[i : i + CHUNK_ROWS]) for i in range(0, len(weights), CHUNK_ROWS)]
    return {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}


def compute_single(compute_many: WeightedFigures, weights: Numbers) -> dict[str, float]:
    """Call ``compute_many`` on one row of weights and give plain numbers."""
    return {name: float(values[0]) for name, values in compute_many(weights).items()}


def resample_with_summarise(rows: Sequence[Row], summarise: Summarise) -> WeightedFigures:
    """Make a function over resampling weights from one over rows."""
    names = list(summarise(rows))

    def compute_many(weights: Numbers) -> dict[str, Numbers]:
        found = [summarise(list(repeat_rows(rows, w))) for w in weights]
        return {n: np.array([np.nan if (v := f.get(n)) is None else v for f in found], float) for n in names}

    return compute_many


def repeat_rows(rows: Sequence[Row], weights: Numbers) -> Iterator[Row]:
    """Yield each row as often as its weight says."""
    for row, times in zip(rows, weights.astype(int), strict=True):
        for _ in range(times):
            yield row


def weighted_column_means(rows: Sequence[Row]) -> WeightedFigures:
    """Average each column of numbers over the rows in which it is defined."""
    names = list(dict.fromkeys(n for row in rows for n in row))
    table = np.array([[np.nan if (v := row.get(n)) is None else float(v) for n in names] for row in rows])
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)

    def compute_many(weights: Numbers) -> dict[str, Numbers]:
        total, count = weights @ filled, weights @ known
        found = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return {name: found[:, i] for i, name in enumerate(names)}

    return compute_many


def count_patients(rows: Sequence[Row], patients: Sequence[str]) -> dict[str, int]:
    """Count, for each column, the patients who have it."""
    seen: dict[str, set[str]] = {}
    for row, patient in zip(rows, patients, strict=True):
        for name, value in row.items():
            seen.setdefault(name, set())
            if value is not None:
                seen[name].add(patient)
    return {name: len(who) for name, who in seen.items()}


def none_if_nan(value: float) -> float | None:
    """Give None in place of a number that is not one."""
    return None if np.isnan(value) else value
