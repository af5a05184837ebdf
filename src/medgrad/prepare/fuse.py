"""Image fusion: several images of one patient become one, such as PET and CT, or several focuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Image
from ..errors import SettingError, suggest_name
from ._fusion import FUSIONS, Layer, Mask, Method
from ._image_step import Values, as_type, fill_from_nearest, unit_of, where_inside
from ._one_space import place_images, sides_along
from ._step import Memo, Step

Rescale = Literal["auto", "always", "never"]
RESCALES: tuple[Rescale, ...] = ("auto", "always", "never")


@dataclass(frozen=True)
class Fuse(Step):
    """Make one image of all images of a case, by a ``method``, on the grid and with the name of the first.

    ``pyramid`` and ``wavelet`` choose the strongest details at each scale, and average the coarsest; ``guided`` weighs
    two scales by smoothed maps of the most salient image; ``mean`` averages. ``weights`` are from 0 to 1, one an image:
    they multiply the mean and the strength of details. Images on other grids are interpolated by splines of
    ``order``; where an image has no value, or ends, the others count alone.

    In a fused PET and CT the hottest point of the PET is where the maximum of the whole is, as far as the PET stands
    out of the CT in the common range. ``guided`` takes what has more edges: a smooth spot in fine texture may be lost.

    Images of one kind keep unit and type: of one modality and unit, or flat ones without, of as many bits. Of other
    kinds, and of MR, whose values have no unit, each is brought to a common range: from 0 at the lower of
    ``percentiles`` to 1 at the upper, with nothing cut; ``ranges`` are a low and a high end for each image, in its own
    unit, and what is outside is cut. The result then is float32 in arbitrary units, of no modality. ``rescale`` says
    ``always`` or ``never`` instead of ``auto``. What is not finite in the first image stays so. A case of one image
    stays as it is.
    """

    joins_images: ClassVar[bool] = True

    method: Method = "pyramid"
    weights: tuple[float, ...] = ()
    rescale: Rescale = "auto"
    ranges: tuple[float, ...] = ()
    percentiles: tuple[float, ...] = (0.5, 99.5)
    order: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, tuple(FUSIONS)), ("rescale", self.rescale, RESCALES)):
            if value not in known:
                hint = suggest_name(str(value), known)
                raise SettingError(f"{name!r} of fuse is one of {', '.join(known)}, not {value!r}.{hint}")
        for name in ("weights", "ranges", "percentiles"):
            given = getattr(self, name)
            if not isinstance(given, (tuple, list)) or not all(is_finite_number(v) for v in given):
                raise SettingError(f"{name!r} of fuse are finite numbers, but they are {given!r}. Write 1,0.5.")
        if not all(0 <= w <= 1 for w in self.weights) or (self.weights and not any(self.weights)):
            raise SettingError(
                f"'weights' of fuse are from 0 to 1, and not all 0, but they are {list(self.weights)}. "
                "Give one for each image, such as 1,0.5."
            )
        if not (len(self.percentiles) == 2 and 0 <= self.percentiles[0] < self.percentiles[1] <= 100):
            raise SettingError(
                f"'percentiles' of fuse are two, the lower first, from 0 to 100, but they are {list(self.percentiles)}."
            )
        if len(self.ranges) % 2 or any(a >= b for a, b in zip(self.ranges[::2], self.ranges[1::2], strict=False)):
            raise SettingError(
                f"'ranges' of fuse are a low and a higher number for each image, but they are {list(self.ranges)}. "
                "Write -160,240,0,10 for a CT and a PET."
            )
        if self.ranges and self.rescale == "never":
            raise SettingError("'ranges' of fuse are what rescale=never does not use. Leave one of them out.")
        if self.order not in range(6):
            raise SettingError(f"'order' of fuse is a whole number from 0 to 5, but it is {self.order!r}.")

    def check_image_count(self, count: int) -> None:
        for name, given, wanted in (("weights", self.weights, count), ("ranges", self.ranges, 2 * count)):
            if given and len(given) != wanted:
                raise SettingError(
                    f"'{name}' of fuse are {wanted} numbers for {count} images, but {len(given)} came: {list(given)}."
                )

    def apply(self, case: Case) -> tuple[Case, Memo]:
        if len(case.images) < 2:
            return case, Memo(case.grid)
        self.check_image_count(len(case.images))
        keeps_unit = self.are_of_one_kind(case.images)
        name, first = next(iter(case.images.items()))
        inside = where_inside(case.roi, first.grid)
        placed = place_images(case.images, self.order)
        masks = [mask if keeps_unit else mask & inside for _, mask in placed.values()]
        planes = [image.channels_first for image, _ in placed.values()]
        scales = self.scales(planes, masks, keeps_unit=keeps_unit)
        layers = [
            Layer(self.scaled(array, mask, scale), mask, weight, sides_along(image.grid, first.grid))
            for array, mask, scale, weight, image in zip(
                planes, masks, scales, self.weights or (1.0,) * len(planes), case.images.values(), strict=True
            )
        ]
        lead = next(place for place, layer in enumerate(layers) if layer.weight > 0)
        change = FUSIONS[self.method]([layer for layer in layers if layer.weight > 0], first.grid.spacing)
        values = (planes[lead].astype(np.float64) if keeps_unit else layers[lead].values) + change
        fused = fused_image(first, values, inside, keeps_unit=keeps_unit)
        fused = replace(fused, tags={**fused.tags, "fused": tuple(case.images)})
        chosen = {
            each: [{} if keeps_unit else {"low": low, "high": low + width}]
            for each, (low, width) in zip(case.images, scales, strict=True)
        }
        return replace(case, images={name: fused}), Memo(case.grid, {"chosen": chosen})

    def are_of_one_kind(self, images: Mapping[str, Image]) -> bool:
        """Tell whether images are of one kind, so that their values are compared as they are."""
        units = {name: unit_of(image) for name, image in images.items()}
        known = {unit: name for name, unit in units.items() if unit}
        if self.rescale == "never":
            if len(known) > 1:
                said = ", ".join(f"{name!r} in {unit}" for unit, name in known.items())
                raise SettingError(f"rescale=never takes images of one unit, but they are {said}. Say rescale=auto.")
            return True
        if self.rescale == "always" or self.ranges:
            return False
        kinds = {(image.modality, units[name]) for name, image in images.items()}
        integers = {image.array.dtype for image in images.values() if image.array.dtype.kind in "iu"}
        if len(kinds) > 1 or (len(integers) > 1 and not known):
            return False
        (modality, _), flat = kinds.pop(), all(image.grid.dims == 2 for image in images.values())
        return modality != "mr" and (modality is not None or flat)

    def scales(
        self, planes: Sequence[NDArray[Any]], masks: Sequence[Mask], *, keeps_unit: bool
    ) -> list[tuple[float, float]]:
        """Give for each image what is subtracted and what it is divided by, in its own unit."""
        if keeps_unit:
            known = planes[0][:, masks[0]]
            return [(float(known.min()) if known.size else 0.0, 1.0)] * len(planes)
        found = []
        for place, (array, mask) in enumerate(zip(planes, masks, strict=True)):
            known = array[:, mask]
            ends = self.ranges[2 * place : 2 * place + 2] or (
                np.percentile(known, self.percentiles) if known.size else (0.0, 1.0)
            )
            low, high = map(float, ends)
            if high <= low and known.size:
                low, high = float(known.min()), float(known.max())
            found.append((low, high - low if high > low else 1.0))
        return found

    def scaled(self, array: NDArray[Any], mask: Mask, scale: tuple[float, float]) -> Values:
        """Bring one image to the common range; what is not known gets the nearest value."""
        low, width = scale
        values = ((array - np.float64(low)) / width).astype(np.float32)
        if self.ranges:
            values = np.clip(values, 0, 1)
        return np.stack([fill_from_nearest(plane, mask) for plane in values]) if not mask.all() else values


def fused_image(first: Image, values: NDArray[Any], inside: Mask, *, keeps_unit: bool) -> Image:
    """Give the first image with other values (channels, *shape), in its unit and type, or in arbitrary ones."""
    before = first.channels_first
    finite = np.isfinite(before) if before.dtype.kind == "f" else np.ones(before.shape, bool)
    if keeps_unit:
        planes = np.where(finite & inside, as_type(values, before.dtype), before)
    else:
        known = np.where(inside, values, 0).astype(np.float32)
        planes = np.where(finite, known, before.astype(np.float32))
    array = planes[0] if first.array.ndim == first.grid.dims else np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    if keeps_unit:
        return replace(first, array=array)
    return replace(first, array=array, modality=None, tags={**first.tags, "units": "arbitrary"})


def is_finite_number(value: object) -> bool:
    """Tell whether this is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


THIS = Fuse
