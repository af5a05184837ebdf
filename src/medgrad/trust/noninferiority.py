"""Non-inferiority tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .intervals import bca_interval, compute_single, draw_resamples, patient_codes
from .paired import PoolMany, check_paired_rows, keep_shared_figures, paired_differences, side_weights, weighted_figures


@dataclass(frozen=True)
class NonInferiority:
    """How much worse the new one may be: ``loss`` is what was seen, ``bound`` the most that is likely.

    ``holds`` is true where even ``bound`` is below the margin. Losses are positive where the new one is worse.
    """

    name: str
    loss: float
    bound: float
    margin: float
    holds: bool
    n: int

    def __str__(self) -> str:
        word = "not worse" if self.holds else "not shown to be good enough"
        return (
            f"{self.name}: {word} (loses {self.loss:.3g}, at most {self.bound:.3g}; "
            f"margin {self.margin:g}; {self.n} patients)"
        )


def check_noninferiority(
    old: Sequence[Mapping[str, Any]],
    new: Sequence[Mapping[str, Any]],
    *,
    name: str,
    margin: float,
    patients: Sequence[str],
    better_direction: Literal["higher", "lower"] = "higher",
    pool_many: PoolMany | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> NonInferiority:
    """Tell whether ``new`` loses less than ``margin`` on one number, by the one-sided bound at ``level``.

    The margin must be chosen before looking. Rows stand in the same order of cases; patients are resampled in pairs.

    >>> old = [{"dice": v} for v in (0.8, 0.9, 0.7, 0.85)]
    >>> check_noninferiority(old, old, name="dice", margin=0.01, patients=list("abcd")).holds
    True
    """
    if not margin > 0:
        raise ValueError(f"The margin is how much may be lost, a number above 0, but {margin} came.")
    check_paired_rows(old, new, patients)
    if pool_many is None:
        old, new = keep_shared_figures(old, new)
    many = weighted_figures(old, new, pool_many)
    codes, n = patient_codes(patients)
    before, after = (compute_single(many, w) for w in side_weights(np.ones((1, len(old)))))
    if name not in before or np.isnan(before[name]) or np.isnan(after[name]):
        raise ValueError(f"{name!r} is not known for both; there is {', '.join(before)}.")
    sign = -1.0 if better_direction == "higher" else 1.0
    resampled = sign * paired_differences(many, draw_resamples(n, n_resamples, seed)[:, codes])[name]
    left_out = sign * paired_differences(many, (1.0 - np.eye(n))[:, codes])[name]
    loss = sign * (after[name] - before[name]) + 0.0  # no minus before a 0
    _, bound = bca_interval(resampled, loss, left_out, level=2 * level - 1, patients=n)
    most = float("inf") if bound is None else bound + 0.0
    return NonInferiority(name, loss, most, margin, most < margin, n)
