"""Reversible preprocessing of cases."""

from ._image_step import ImageStep, as_type, unit_of, where_inside
from ._slice_groups import Matrix, average_groups, interpolate_kept, spread_groups
from ._step import Memo, Step, build_steps, map_images, prepare

__all__ = [
    "ImageStep",
    "Matrix",
    "Memo",
    "Step",
    "as_type",
    "average_groups",
    "build_steps",
    "interpolate_kept",
    "map_images",
    "prepare",
    "spread_groups",
    "unit_of",
    "where_inside",
]
