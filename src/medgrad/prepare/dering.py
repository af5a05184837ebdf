"""Rings of CT taken away: what is alike around the centre of rotation and narrow along the radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data import Grid
from ..errors import SettingError
from ._image_step import Chosen, ImageStep, Values
from ._rings import NOISES, Polar, estimate_noise, find_centre, ring_values, to_polar, to_slice

WIDTH_ELEMENTS = 6
MIN_ELEMENTS = 8
"""A slice has at least so many elements along both axes."""


@dataclass(frozen=True)
class Dering(ImageStep):
    """Subtract whole rings and long arcs from each axial slice, where they stand out from the noise.

    A slice is resampled around the ``centre`` of rotation. What a median along the radius takes away is what a ring,
    noise or a thin structure gives; a ring is what most angles of a turn, or of a third of one, agree on. Edges stay,
    and so does what is stronger than ``limit``, in the unit of the image, or for arcs than half of it: by default 5
    times the noise.

    ``centre`` is in elements along both axes of a slice, by default its middle; ``find_centre`` looks from there for
    the one whose rings are the strongest. ``width_mm`` is that of the widest ring, by default that of 6 elements.
    ``axis`` is that of the slices, by default the one nearest to head-foot.
    """

    centre: tuple[float, ...] = ()
    find_centre: bool = False
    width_mm: float = 0.0
    limit: float = 0.0
    axis: int | None = None

    def __post_init__(self) -> None:
        if len(self.centre) not in (0, 2) or not is_finite(self.centre):
            raise SettingError(
                f"'centre' of dering is two numbers, such as 255.5,255.5, but it is {list(self.centre)}. "
                "To look for it, set find_centre=true."
            )
        for name in ("width_mm", "limit"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value < np.inf):
                raise SettingError(f"{name!r} of dering is a number from 0, and 0 chooses it, but it is {value!r}.")
        if self.axis is not None and not (type(self.axis) is int and -3 <= self.axis < 3):
            raise SettingError(f"'axis' of dering is a number from -3 to 2, but it is {self.axis!r}.")

    def for_grid(self, grid: Grid) -> Dering:
        return self if self.axis is not None or grid.dims != 3 else replace(self, axis=axial_axis(grid))

    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        if values.ndim == 3:
            along = (-1 if self.axis is None else self.axis) % 3
            changed, found = self.change_slices(np.moveaxis(values, along, 0), np.delete(spacing, along).tolist())
            return np.moveaxis(changed, 0, along), found
        changed, found = self.change_slices(values[None], spacing)
        return changed[0], found

    def change_slices(self, slices: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        """Change the slices of (slices, *shape)."""
        shape = slices.shape[1:]
        if min(shape) < MIN_ELEMENTS:
            return slices, {}
        half = max(1, round(self.width_mm / min(spacing))) if self.width_mm else WIDTH_ELEMENTS
        polar = Polar(tuple(self.centre) or tuple((n - 1) / 2 for n in shape), shape, tuple(spacing), half)
        limit = self.limit or NOISES * estimate_noise(slices, polar)
        found: Chosen = {"limit": float(limit)}
        if self.find_centre:
            polar = find_centre(slices, polar, limit)
            found = {**found, "centre": ",".join(f"{v:g}" for v in polar.centre)}
        changed = slices.copy()
        for number, one in enumerate(slices):
            changed[number] -= to_slice(ring_values(to_polar(one, polar), polar, limit), polar)
        return changed, found


def axial_axis(grid: Grid) -> int:
    """Give the axis of a volume that is nearest to head-foot.

    >>> axial_axis(Grid.from_shape((4, 5, 6)))
    2
    """
    return int(np.abs(np.array(grid.affine)[2, :3] / np.array(grid.spacing)).argmax())


def is_finite(numbers: Sequence[float]) -> bool:
    """Tell whether these are finite numbers."""
    return all(isinstance(n, (int, float)) and np.isfinite(n) for n in numbers)


THIS = Dering
