"""What is known about a pair of images: labels or landmarks of both, or the transform itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..formats import read_field, read_landmarks, read_matrix, suffix_of
from ..grid import Grid, as_rows
from ..source import PairSource, Source
from ..transform import Transform
from ..types import Deformation, Image, LabelMap, Landmarks, Pair

LabelsOf = Callable[[Source, Grid], LabelMap]
"""Reads the labels of an image, on its grid."""


def known_of(
    truth: Any, sources: Mapping[str, Source], images: Mapping[str, Image], labels_of: LabelsOf
) -> Pair | Deformation | None:
    """Read what is known about a pair: labels, landmarks or only the images of both, or the transform itself.

    A transform is an ITK file, .txt, .tfm or .h5, or a field of displacements on the fixed image's grid.
    """
    fixed = next(iter(images.values()))
    if isinstance(truth, Source):
        path = truth.path
        if suffix_of(path) in (".nii", ".nii.gz"):
            return read_field(path)
        return Transform(as_rows(read_matrix(path)), fixed.grid).deformation()
    if not isinstance(truth, PairSource):
        return None
    first, second = (
        known_about(source, image, sources[name], labels_of)
        for source, (name, image) in zip((truth.fixed, truth.moving), images.items(), strict=True)
    )
    return Pair(first, second)


def known_about(source: Source, image: Image, itself: Source, labels_of: LabelsOf) -> LabelMap | Landmarks | Image:
    """Read what is known about one image of a pair; where that is nothing, it is the image."""
    if source == itself:
        return image
    if suffix_of(source.path) == ".csv":
        return read_landmarks(source.path, image.grid)
    return labels_of(source, image.grid)


def centre_aligned(thing: Any, moving: Grid, fixed: Grid) -> Any:
    """Give an image or labels of the moving grid, shifted so that its centre comes to lie on that of the fixed one.

    Two patients share no world: where each lay in the scanner tells nothing.
    """
    matrix = thing.grid.matrix
    matrix[: moving.dims, moving.dims] += centre_of(fixed) - centre_of(moving)
    return replace(thing, grid=Grid(thing.grid.shape, as_rows(matrix), thing.grid.measured))


def centre_of(grid: Grid) -> Any:
    """Give the middle of a grid, in world mm."""
    return grid.world((np.array(grid.shape) - 1) / 2)
