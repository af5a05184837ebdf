"""Reversible preprocessing of cases."""

from ._image_step import ImageStep, as_type, unit_of, where_inside
from ._step import Memo, Step, build_steps, map_images, prepare

__all__ = ["ImageStep", "Memo", "Step", "as_type", "build_steps", "map_images", "prepare", "unit_of", "where_inside"]
