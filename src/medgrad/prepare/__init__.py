"""Reversible preprocessing of cases."""

from ._step import Memo, Step, build_steps, map_images, prepare

__all__ = ["Memo", "Step", "build_steps", "map_images", "prepare"]
