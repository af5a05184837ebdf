"""Flat pictures of an image with what is known of it drawn over it."""

from __future__ import annotations

from typing import Any

from ..data import Image
from ..data.display import Plane, long_axis, plane_at
from ._kind import known_kind


def best_plane(image: Image, value: Any) -> tuple[Plane, tuple[int, ...]]:
    """Choose the plane that shows most of an answer or a truth, or the middle one, and give its axes."""
    kind = known_kind(value)
    if kind is None or image.grid.dims != 3:
        return plane_at(image.grid)
    return plane_at(image.grid, kind.plane_index(value, image, long_axis(image.grid)))
