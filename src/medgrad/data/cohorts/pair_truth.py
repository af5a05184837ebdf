"""The truth about a registration pair: labels or landmarks of both images, or the transform itself."""

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
    """Read the truth about a registration pair: labels or landmarks of both images, or the transform itself.

    A transform is an ITK file (.txt, .tfm or .h5) or a displacement field on the fixed image's grid. Where nothing
    is known, the truth is the two images.
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
    """Read the truth about one image of a pair: labels or landmarks; the image itself where nothing is known."""
    if source == itself:
        return image
    if suffix_of(source.path) == ".csv":
        return read_landmarks(source.path, image.grid)
    return labels_of(source, image.grid)


def centre_aligned(thing: Any, moving: Grid, fixed: Grid) -> Any:
    """Shift an image or a label map of the moving grid so that its centre lies at the centre of the fixed grid.

    Two patients share no world coordinates: the scanner positions are unrelated.
    """
    matrix = thing.grid.matrix
    matrix[: moving.dims, moving.dims] += centre_of(fixed) - centre_of(moving)
    return replace(thing, grid=Grid(thing.grid.shape, as_rows(matrix), thing.grid.measured))


def centre_of(grid: Grid) -> Any:
    """Give the centre of a grid, in world mm."""
    return grid.world((np.array(grid.shape) - 1) / 2)
