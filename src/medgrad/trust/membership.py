"""Membership inference by loss: whether a model's losses tell its training patients from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .intervals import Estimate, WeightedFigures, bootstrap_intervals

Numbers = NDArray[np.float64]

PLANTED_AUC = 0.75
MIN_PATIENTS = 4  # on each side


@dataclass(frozen=True)
class MembershipCheck:
    """The area under the curve of losses as scores of membership; none where a leak of known size is not detected.

    ``auc`` is the chance that a training case has a lower loss than a held-out one, ties by half, with the ends of its
    95 % interval, resampled by patient. ``control_auc`` and ``control_low`` are those of the control: losses shifted
    by as much as gives a known area, or those of a network that was overfit on purpose.
    """

    n_members: int
    n_held_out: int
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    control: Literal["shift", "overfit"] = "shift"
    control_auc: float | None = None
    control_low: float | None = None
    reason: str = ""

    @property
    def is_flagged(self) -> bool | None:
        """Whether members are told from others: the lower end of the interval is above a half."""
        return None if self.low is None else self.low > 0.5

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self) | {"is_flagged": self.is_flagged}


def check_membership(
    members: ArrayLike,
    held_out: ArrayLike,
    *,
    member_patients: Sequence[str] | None = None,
    held_out_patients: Sequence[str] | None = None,
    overfit: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> MembershipCheck:
    """Tell training cases from held-out ones by their losses under a model; without patients each case is one.

    ``overfit`` are the losses of training and held-out cases of a network overfit on purpose. Without it, the losses of
    the held-out cases, shifted until the area is 0.75, stand for members. Where the interval of that control reaches
    down to a half, the cases are too few, and nothing is reported. Yeom and others, CSF 2018.

    >>> held_out = np.linspace(1, 2, 30)
    >>> check_membership(held_out - 0.5, held_out).is_flagged
    True
    """
    inside, outside = (as_losses(values) for values in (members, held_out))
    own = [str(p) for p in member_patients or [f"member {i}" for i in range(len(inside))]]
    other = [str(p) for p in held_out_patients or [f"other {i}" for i in range(len(outside))]]
    if both := set(own) & set(other):
        raise ValueError(f"Patient {min(both)!r} is a member and held out. Leave the patient out on one side.")
    counts = len(set(own)), len(set(other))
    if min(counts) < MIN_PATIENTS:
        reason = f"{counts[0]} training and {counts[1]} held-out patients are too few; each side needs {MIN_PATIENTS}."
        return MembershipCheck(*counts, reason=reason)
    if overfit is None:
        control = auc_estimate(planted_members(outside, len(inside)), outside, own, other, seed)
    else:
        control = auc_estimate(as_losses(overfit[0]), as_losses(overfit[1]), None, None, seed)
    kind: Literal["shift", "overfit"] = "shift" if overfit is None else "overfit"
    if control.low is None or control.low <= 0.5:
        what = "a network overfit on purpose" if overfit else f"a planted leak of area {PLANTED_AUC}"
        reason = f"With {counts[0]} training and {counts[1]} held-out patients {what} is not detected."
        return MembershipCheck(*counts, control=kind, control_auc=control.value, control_low=control.low, reason=reason)
    found = auc_estimate(inside, outside, own, other, seed)
    return MembershipCheck(*counts, found.value, found.low, found.high, kind, control.value, control.low)


def as_losses(values: ArrayLike) -> Numbers:
    """Give losses as numbers (n,); raise where one is not finite."""
    losses = np.asarray(values, float).ravel()
    if not np.isfinite(losses).all():
        raise ValueError("Some losses are not finite numbers. Leave out cases that failed.")
    return losses


def auc_estimate(
    inside: Numbers, outside: Numbers, own: Sequence[str] | None, other: Sequence[str] | None, seed: int
) -> Estimate:
    """Give the area with its interval, resampled by patient."""
    patients = [
        *(own or [f"member {i}" for i in range(len(inside))]),
        *(other or [f"other {i}" for i in range(len(outside))]),
    ]
    is_member = np.arange(len(patients)) < len(inside)
    losses = np.concatenate([inside, outside])
    return bootstrap_intervals(
        [{"auc": None}] * len(losses), patients=patients, compute_many=weighted_auc(losses, is_member), seed=seed
    )["auc"]


def weighted_auc(losses: Numbers, is_member: NDArray[np.bool_]) -> WeightedFigures:
    """Make a function of weights (b, rows) that gives the area under each: lower losses of members, ties by half."""
    values, place = np.unique(losses, return_inverse=True)
    at = np.eye(len(values))[place]

    def compute_many(weights: Numbers) -> dict[str, Numbers]:
        inside, outside = (weights * is_member) @ at, (weights * ~is_member) @ at  # (b, values)
        above = outside.sum(axis=1, keepdims=True) - outside.cumsum(axis=1)
        pairs = inside.sum(axis=1) * outside.sum(axis=1)
        won = (inside * (above + outside / 2)).sum(axis=1)
        return {"auc": np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)}

    return compute_many


def planted_members(held_out: Numbers, count: int) -> Numbers:
    """Give losses of so many members: quantiles of the held-out ones, lowered until the area is ``PLANTED_AUC``."""
    like = np.quantile(held_out, (np.arange(count) + 0.5) / count)
    low, high = 0.0, float(np.ptp(held_out)) * 1.01 + 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        area = stats.mannwhitneyu(held_out, like - middle).statistic / (len(held_out) * count)
        low, high = (middle, high) if area < PLANTED_AUC else (low, middle)
    return np.asarray(like - high, float)
