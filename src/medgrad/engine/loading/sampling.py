"""Patches of cases: at random, determined by their seed alone, or all that cover a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ...data import Boxes, Case, LabelMap
from ...inference.sliding_window import crop_case as crop_case


def random_patch(case: Case, patch: Sequence[int], seed: Sequence[int], *, foreground_share: float = 0.0) -> Case:
    """Cut a random patch out of a prepared case; with probability ``foreground_share``, around a labelled element.

    Where the patch exceeds the image it is filled with 0, and does not count. A case without images stays whole.
    """
    if not case.images:
        return case
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
