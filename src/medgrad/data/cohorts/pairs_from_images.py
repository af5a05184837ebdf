"""Make registration pairs from a set of single images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..source import PairSource, Source
from .cohort import Cohort, Entry

FIXED, MOVING = "fixed", "moving"


def make_pairs(cohort: Cohort, *, n_per_case: int = 2, seed: int = 0) -> Cohort:
    """Give the cohort of registration pairs.

    Each training case is the fixed image of ``n_per_case`` pairs within its split.

    Other cases are the fixed image of one pair each. A set whose cases are pairs already stays as it is.
    """
    if all(len(e.images) == 2 for e in cohort.entries):
        return cohort
    rng, entries = np.random.default_rng(seed), []
    for side in dict.fromkeys(e.split for e in cohort.entries):
        members = [e for e in cohort.entries if e.split == side]
        count = min(n_per_case if side == "train" else 1, len(members) - 1)
        for number, entry in enumerate(members):
            others = [m for i, m in enumerate(members) if i != number]
            chosen = rng.permutation(len(others))[:count] if side == "train" else [number % max(1, len(others))]
            entries += [make_pair(entry, others[int(i)]) for i in chosen if others]
    message = f"Paired within each side: {len(entries)} pairs of {len(cohort.entries)} images, laid centre on centre."
    return replace(cohort, entries=tuple(entries), messages=(*cohort.messages, message))


def make_pair(fixed: Entry, moving: Entry) -> Entry:
    """Make the entry of a registration pair from two cases."""
    first, second = (next(iter(e.images.values())) for e in (fixed, moving))
    truth = PairSource(first, second)
    if isinstance(fixed.truth, Source) and isinstance(moving.truth, Source):
        truth = PairSource(fixed.truth, moving.truth)
    notes = {"across": (fixed.patient or fixed.id) != (moving.patient or moving.id)}
    images = {FIXED: first, MOVING: second}
    return Entry(f"{fixed.id}--{moving.id}", images, truth, fixed.patient or fixed.id, fixed.split, metadata=notes)
