"""Pairs of images to be registered, made from a set of single ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .cohort import Cohort, Entry
from .formats import suffix_of
from .formats._landmarks import read_landmarks
from .formats._transform_itk import read_field, read_matrix
from .grid import Grid, as_rows
from .source import Both, Source
from .transform import Transform
from .types import Deformation, Image, LabelMap, Landmarks, Pair

FIXED, MOVING = "fixed", "moving"


def paired(cohort: Cohort, *, each: int = 2, seed: int = 0) -> Cohort:
    """Give the cohort in which each case is the fixed image of ``each`` pairs, with others of its side of the split.

    Those who judge are each the fixed image of one pair. A set whose cases have both images already stays as it is.
    """
    if all(len(e.images) == 2 for e in cohort.entries):
        return cohort
    rng, entries = np.random.default_rng(seed), []
    for side in dict.fromkeys(e.split for e in cohort.entries):
        members = [e for e in cohort.entries if e.split == side]
        count = min(each if side == "train" else 1, len(members) - 1)
        for number, entry in enumerate(members):
            others = [m for i, m in enumerate(members) if i != number]
            chosen = rng.permutation(len(others))[:count] if side == "train" else [number % max(1, len(others))]
            entries += [pair_of(entry, others[int(i)]) for i in chosen if others]
    told = f"Paired within each side: {len(entries)} pairs of {len(cohort.entries)} images, laid centre on centre."
    return replace(cohort, entries=tuple(entries), told=(*cohort.told, told))


def pair_of(fixed: Entry, moving: Entry) -> Entry:
    """Make the entry of a pair of cases."""
    first, second = (next(iter(e.images.values())) for e in (fixed, moving))
    truth = Both(first, second)
    if isinstance(fixed.truth, Source) and isinstance(moving.truth, Source):
        truth = Both(fixed.truth, moving.truth)
    notes = {"across": (fixed.patient or fixed.id) != (moving.patient or moving.id)}
    images = {FIXED: first, MOVING: second}
    return Entry(f"{fixed.id}--{moving.id}", images, truth, fixed.patient or fixed.id, fixed.split, notes=notes)


def known_of(cohort: Cohort, entry: Entry, images: Mapping[str, Image]) -> Pair | Deformation | None:
    """Read what is known about a pair: labels, landmarks or only the images of both, or the transform itself.

    A transform is an ITK file, .txt, .tfm or .h5, or a field of displacements on the fixed image's grid.
    """
    fixed = next(iter(images.values()))
    if isinstance(entry.truth, Source):
        path = entry.truth.path
        if suffix_of(path) in (".nii", ".nii.gz"):
            return read_field(path)
        return Transform(as_rows(read_matrix(path)), fixed.grid).deformation()
    if not isinstance(entry.truth, Both):
        return None
    first, second = (
        known_about(cohort, source, image, entry.images[name])
        for source, (name, image) in zip((entry.truth.fixed, entry.truth.moving), images.items(), strict=True)
    )
    return Pair(first, second)


def known_about(cohort: Cohort, source: Source, image: Image, itself: Source) -> LabelMap | Landmarks | Image:
    """Read what is known about one image of a pair; where that is nothing, it is the image."""
    if source == itself:
        return image
    if suffix_of(source.path) == ".csv":
        return read_landmarks(source.path, image.grid)
    return cohort.renumber(cohort.read_mask(source, image.grid), where=str(source))


def laid_on(thing: Any, moving: Grid, fixed: Grid) -> Any:
    """Give an image or labels of the moving grid, shifted so that its centre comes to lie on that of the fixed one.

    Two patients share no world: where each lay in the scanner tells nothing.
    """
    matrix = thing.grid.matrix
    matrix[: moving.dims, moving.dims] += centre_of(fixed) - centre_of(moving)
    return replace(thing, grid=Grid(thing.grid.shape, as_rows(matrix), thing.grid.measured))


def centre_of(grid: Grid) -> Any:
    """Give the middle of a grid, in world mm."""
    return grid.world((np.array(grid.shape) - 1) / 2)
