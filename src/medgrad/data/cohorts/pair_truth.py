"""The truth about a registration pair: labels or landmarks of both images, or the transform itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..formats import file_suffix, read_field, read_landmarks, read_matrix
from ..grid import Grid, matrix_to_tuples
from ..source import PairSource, Source
from ..transform import Transform
from ..types import Deformation, Image, LabelMap, Landmarks, Pair

LabelReader = Callable[[Source, Grid], LabelMap]
"""Reads the labels of an image, on its grid."""


def read_pair_truth(
    truth: Any, sources: Mapping[str, Source], images: Mapping[str, Image], read_labels_of: LabelReader
) -> Pair | Deformation | None:
    """Read the truth about a registration pair: labels or landmarks of both images, or the transform itself.

    A transform is an ITK file (.txt, .tfm or .h5) or a displacement field on the fixed image's grid. Where nothing
    is known, the truth is the two images.
    """
    fixed = next(iter(images.values()))
    if isinstance(truth, Source):
        path = truth.path
        if file_suffix(path) in (".nii", ".nii.gz"):
            return read_field(path)
        return Transform(matrix_to_tuples(read_matrix(path)), fixed.grid).to_deformation()
    if not isinstance(truth, PairSource):
        return None
    first, second = (
        read_image_truth(source, image, sources[name], read_labels_of)
        for source, (name, image) in zip((truth.fixed, truth.moving), images.items(), strict=True)
    )
    return Pair(first, second)


def read_image_truth(
    source: Source, image: Image, image_source: Source, read_labels_of: LabelReader
) -> LabelMap | Landmarks | Image:
    """Read the truth about one image of a pair: labels or landmarks; the image itself where nothing is known."""
    if source == image_source:
        return image
    if file_suffix(source.path) == ".csv":
        return read_landmarks(source.path, image.grid)
    return read_labels_of(source, image.grid)


def align_centres(image: Any, moving: Grid, fixed: Grid) -> Any:
    """Shift an image or a label map of the moving grid so that its centre lies at the centre of the fixed grid.

    Two patients share no world coordinates: the scanner positions are unrelated.
    """
    matrix = image.grid.matrix
    matrix[: moving.dims, moving.dims] += grid_centre(fixed) - grid_centre(moving)
    return replace(image, grid=Grid(image.grid.shape, matrix_to_tuples(matrix), image.grid.has_spacing))


def grid_centre(grid: Grid) -> Any:
    """Give the centre of a grid, in world mm."""
    return grid.to_world((np.array(grid.shape) - 1) / 2)
