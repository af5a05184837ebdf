"""The interface of steps that change the values of an image and keep its grid, and mostly its unit and type."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data import Case, Grid, Image, LabelMap
from ..errors import FormatError
from ._step import Memo, Step

Values = NDArray[np.float32]
Chosen = Mapping[str, float | str]


class ImageStep(Step):
    """A step on the images of a case alone; a truth that is an image stays as it is.

    Values are changed where the case's region is, if it has one. What is not finite stays so, and does not spread;
    an image of integers is rounded and clipped to its type.

    After a step that names a ``unit`` the image has it in ``tags["units"]``, and no modality, which would promise
    another. Such a step reads the region alone: outside it sees the nearest value of the region, and gives 0.
    """

    @property
    def unit(self) -> str | None:
        """The unit of the changed values: ``"1"`` for a fraction, or a word; None where they keep theirs."""
        return None

    @property
    def keeps_unit(self) -> bool:
        return self.unit is None

    @property
    def keeps_type(self) -> bool:
        """Whether the changed values are of the type of the image; else they are float32."""
        return self.unit is None

    @property
    def border(self) -> float:
        """The width in mm of a rim of the region that a step with a new unit does not read."""
        return 0.0

    def for_grid(self, grid: Grid) -> ImageStep:
        """Give the step as it is for images on a grid, which is the same for most."""
        del grid
        return self

    @abstractmethod
    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        """Change one channel, of finite values; also give the settings that were chosen on it, by name."""

    def apply(self, case: Case) -> tuple[Case, Memo]:
        changed = {name: self.changed(image, case.roi) for name, image in case.images.items()}
        images = {name: image for name, (image, _) in changed.items()}
        chosen = {name: settings for name, (_, settings) in changed.items() if any(settings)}
        return replace(case, images=images), Memo(case.grid, {"chosen": chosen})

    def changed(self, image: Image, region: LabelMap | None = None) -> tuple[Image, list[Chosen]]:
        """Change an image, each channel by itself; also give the settings that were chosen on each."""
        inside = where_inside(region, image.grid)
        read = inside if self.unit is None else without_border(inside, self.border, image.grid.spacing)
        planes, settings, step = [], [], self.for_grid(image.grid)
        for plane in image.channels_first:
            finite = np.isfinite(plane) if plane.dtype.kind == "f" else np.ones(plane.shape, bool)
            known = finite if self.unit is None else finite & read
            values, chosen = step.change(fill_from_nearest(plane.astype(np.float32), known), image.grid.spacing)
            changed = as_type(values, plane.dtype if self.keeps_type else np.dtype(np.float32))
            outside = plane if self.unit is None else np.zeros((), changed.dtype)
            planes.append(np.where(finite, np.where(inside, changed, outside), plane.astype(changed.dtype)))
            settings.append(chosen)
        array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
        if self.unit is None:
            return replace(image, array=array), settings
        return replace(image, array=array, modality=None, tags={**image.tags, "units": self.unit}), settings


def unit_of(image: Image) -> str:
    """Give the unit of an image's values, or an empty string where it has none that is known.

    >>> from medgrad.data import Grid
    >>> unit_of(Image(np.zeros((2, 2)), Grid.from_shape((2, 2)), modality="ct"))
    'HU'
    """
    return str(image.tags.get("units", "HU" if image.modality == "ct" else ""))


def where_inside(region: LabelMap | None, grid: Grid) -> NDArray[np.bool_]:
    """Tell of each element of a grid whether it lies in a region on it; all do where there is none."""
    if region is not None and region.grid.shape != grid.shape:
        raise FormatError(
            f"The region is of {region.grid.shape}, but an image of the case of {grid.shape}. "
            "Bring both to one grid first: by the step common_grid."
        )
    return np.ones(grid.shape, bool) if region is None else region.array != 0


def without_border(inside: NDArray[np.bool_], width: float, spacing: Sequence[float]) -> NDArray[np.bool_]:
    """Give a region without what lies within ``width`` mm of its outside; all of it where nothing would be left."""
    if width <= 0 or inside.all():
        return inside
    deep: NDArray[np.bool_] = ndimage.distance_transform_edt(inside, sampling=spacing) > width
    return deep if deep.any() else inside


def fill_from_nearest(values: Values, known: NDArray[np.bool_]) -> Values:
    """Give values in which each unknown element has that of the nearest known one; all 0 where none is known."""
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled: Values = values[tuple(nearest)]
    return filled


def as_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert values to a type; integers are rounded and clipped to its range.

    >>> as_type(np.array([-3.0, 1.6, 300.0], np.float32), np.dtype(np.uint8)).tolist()
    [0, 2, 255]
    """
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(dtype)
