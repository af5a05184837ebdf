"""Sampling of cases and patches, determined by the seed, the epoch and the position in it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ...data import Boxes, Case, LabelMap, Scores
from ...inference.sliding_window import crop_case as crop_case


@dataclass(frozen=True)
class CaseDraw:
    """A case that was drawn for a batch: its index, and the seed of its patch and augmentation."""

    case: int
    seed: tuple[int, ...]


def draw_batch(
    step: int, *, n_cases: int, batch_size: int, seed: int, probabilities: NDArray[np.float64] | None = None
) -> list[CaseDraw]:
    """Draw the cases of one training step. Every epoch visits each case once, in random order.

    With ``probabilities`` (one probability per case, summing to 1) an epoch draws cases by these probabilities instead.

    >>> sorted(d.case for d in draw_batch(0, n_cases=3, batch_size=3, seed=0))
    [0, 1, 2]
    """
    chosen = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, position_in_epoch = divmod(position, n_cases)
        chosen.append(
            CaseDraw(
                int(epoch_order(epoch, n_cases, seed, probabilities)[position_in_epoch]),
                (seed, 1, epoch, position_in_epoch),
            )
        )
    return chosen


def epoch_order(epoch: int, n_cases: int, seed: int, probabilities: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return the order of cases in an epoch; with probabilities, by stratified sampling, so that repeats are rare."""
    rng = np.random.default_rng((seed, 0, epoch))
    if probabilities is None:
        return rng.permutation(n_cases)
    start = rng.random()
    at = (start + np.arange(n_cases)) / n_cases
    picked = np.searchsorted(np.cumsum(probabilities[(mixed := rng.permutation(n_cases))]), at, side="right")
    return rng.permutation(mixed[np.minimum(picked, n_cases - 1)])


def shares_of(truths: Sequence[object], class_balance: float) -> tuple[NDArray[np.float64] | None, dict[str, float]]:
    """Compute the probability to draw each case, and how much more often each class is drawn than it occurs.

    With class balance 0 every case is as likely, with 1 every class. Only for mutually exclusive classes.
    """
    classes = [t.top_class for t in truths if isinstance(t, Scores) and t.exclusive]
    if len(classes) != len(truths) or not class_balance or len(set(classes)) < 2:
        return None, {}
    count = {c: classes.count(c) for c in set(classes)}
    weight = {c: (len(classes) / (len(count) * n)) ** class_balance for c, n in count.items()}
    total = sum(weight[c] for c in classes)
    shares = np.array([weight[c] / total for c in classes])
    return shares, {c: weight[c] * len(classes) / total for c in count}


def random_patch(case: Case, patch: Sequence[int], seed: Sequence[int], *, foreground_share: float = 0.0) -> Case:
    """Cut a random patch out of a prepared case; with probability ``foreground_share``, around a labelled element.

    Where the patch exceeds the image it is filled with 0, and does not count.
    """
    rng = np.random.default_rng(seed)
    wants_label, fractions = rng.random() < foreground_share, rng.random(case.grid.dims)
    size = np.array(case.grid.shape)
    free_space = size - np.array(patch)
    centre = pick_labelled_point(case, rng) if wants_label else None
    if centre is None:
        start = np.where(free_space > 0, np.floor(fractions * (free_space + 1)), np.floor(free_space / 2))
    else:
        offset = (fractions - 0.5) * np.array(patch) * 0.5
        start = np.round(centre - np.array(patch) / 2 + offset)
        start = np.where(free_space > 0, np.clip(start, 0, free_space), np.floor(free_space / 2))
    return crop_case(case, [int(s) for s in start], patch)


def grid_patch_starts(shape: Sequence[int], patch: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the starts of the fewest patches that cover a shape; a patch larger than the shape is centred.

    >>> grid_patch_starts((5, 2), (3, 4))
    [(0, -1), (2, -1)]
    """
    lines = []
    for size, part_size in zip(shape, patch, strict=True):
        count = max(1, -(-size // part_size))
        room = size - part_size
        lines.append([room // 2] if count == 1 else [round(i * room / (count - 1)) for i in range(count)])
    return list(product(*lines))


def pick_labelled_point(case: Case, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """Choose a random label, then a random element (or box centre) of it; None where there is no label."""
    if isinstance(case.truth, Boxes) and len(case.truth.labels):
        chosen = rng.choice(np.flatnonzero(case.truth.labels == rng.choice(np.unique(case.truth.labels))))
        middle = case.truth.corners[chosen].reshape(2, -1).mean(axis=0)
        return np.asarray(case.grid.to_index(middle))
    if not isinstance(case.truth, LabelMap):
        return None
    places: Mapping[int, NDArray[np.int64]] = case.metadata.get("places", {})
    if not places:
        return None
    values = sorted(places)
    at = places[values[int(rng.integers(len(values)))]]
    return np.array(np.unravel_index(int(at[int(rng.integers(len(at)))]), case.grid.shape), float)


def index_labels(case: Case, *, max_per_label: int = 20_000) -> Case:
    """Store the flat indices of each label in the case's notes, so that patches can be drawn around them quickly."""
    if not isinstance(case.truth, LabelMap):
        return case
    flat = case.truth.array.ravel()
    places = {}
    for value in np.unique(flat):
        if value > 0:
            at = np.flatnonzero(flat == value)
            places[int(value)] = at[:: max(1, len(at) // max_per_label)]
    return replace(case, metadata={**case.metadata, "places": places})
