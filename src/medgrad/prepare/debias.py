"""Bias field correction of MR by N4, with control points in millimetres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Image, LabelMap
from ..errors import SettingError
from ._bias_field import BiasField, Mask, estimate_field, otsu_foreground
from ._image_step import Chosen, ImageStep, Values, as_type
from ._step import Memo

WITHOUT_FIELD = ("ct", "pet")
"""Modalities whose values are measured in a unit, which no coil changes."""
MOST_NEGATIVE = 0.01
"""Values are magnitudes if the sum of the negative ones is at most this share of the sum of the positive ones."""


@dataclass(frozen=True)
class Debias(ImageStep):
    """Divide MR by its bias field, the slow change of brightness by the coils (N4, Tustison et al. 2010).

    ``spacing_mm`` is the largest distance of the control points of the field: the smaller, the finer it may be, and
    the more of the anatomy is taken for a field. ``fwhm`` is the width of the field's distribution, as a logarithm.
    At most ``iterations`` steps are taken; fewer where the field stays.

    The field is measured within the case's region, or, where there is none, above Otsu's threshold, each channel by
    itself. The mean there stays, so values keep their scale, which in MR is arbitrary. ``log_deviation`` tells the
    strength of the field: the standard deviation of its logarithm.

    ``undo_values`` multiplies by the field again: within 1e-5 for real numbers; integers were rounded to half a unit
    and clipped to their type. CT and PET have no such field, and images with many negative values are no
    magnitudes: they are given as they came, and ``kept`` says why.
    """

    derivation: ClassVar[tuple[str, str]] = ("113046", "Pixel by pixel division")

    spacing_mm: float = 50.0
    fwhm: float = 0.15
    iterations: int = 30

    def __post_init__(self) -> None:
        for name, low, high in (("spacing_mm", 5, 10000), ("fwhm", 0.01, 2), ("iterations", 1, 1000)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise SettingError(f"{name!r} of debias is from {low} to {high}, but it is {value!r}.")
        if self.iterations != int(self.iterations):
            raise SettingError(f"'iterations' of debias is a whole number, but it is {self.iterations}.")

    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        field, chosen = self.find_field(values, None, spacing)
        return (values if field is None else values / field.factor(values.shape, spacing)), chosen

    def changed(self, image: Image, region: LabelMap | None = None) -> tuple[Image, list[Chosen]]:
        found = self.find_fields(image, region)
        return apply_fields(image, region, [field for field, _ in found], np.divide), [chosen for _, chosen in found]

    def apply(self, case: Case) -> tuple[Case, Memo]:
        found = {name: self.find_fields(image, case.roi) for name, image in case.images.items()}
        fields = {name: [field for field, _ in of_image] for name, of_image in found.items()}
        images = {name: apply_fields(image, case.roi, fields[name], np.divide) for name, image in case.images.items()}
        chosen = {name: [settings for _, settings in of_image] for name, of_image in found.items()}
        first = next(iter(fields.values()), [])
        return replace(case, images=images), Memo(case.grid, {"chosen": chosen, "fields": first, "roi": case.roi})

    def undo_values(self, image: Image, memo: Memo) -> Image:
        return apply_fields(image, memo.values["roi"], memo.values["fields"], np.multiply)

    def find_fields(self, image: Image, region: LabelMap | None) -> list[tuple[BiasField | None, Chosen]]:
        """Find the field of each channel, None where there is none to find; also tell its strength, or why."""
        if image.modality in WITHOUT_FIELD:
            return [(None, {"log_deviation": 0.0, "kept": f"{image.modality} has no bias field"})] * image.channels
        inside = None if region is None else region.array != 0
        return [self.find_field(plane, inside, image.grid.spacing) for plane in image.channels_first]

    def find_field(
        self, plane: NDArray[Any], inside: Mask | None, spacing: Sequence[float]
    ) -> tuple[BiasField | None, Chosen]:
        """Find the field of one channel."""
        plane = np.ascontiguousarray(plane)
        known = np.isfinite(plane) if inside is None else np.isfinite(plane) & inside
        positive = known & (plane > 0)
        sums = [float(np.sum(plane, where=where, dtype=np.float64)) for where in (known, positive)]
        if sums[1] - sums[0] > MOST_NEGATIVE * sums[1]:
            return None, {"log_deviation": 0.0, "kept": "values are negative"}
        if not positive.any():
            return None, {"log_deviation": 0.0, "kept": "no value is above 0"}
        counted = otsu_foreground(plane, positive) if inside is None else positive
        field = estimate_field(
            plane, counted, spacing, knots=self.spacing_mm, fwhm=self.fwhm, iterations=int(self.iterations)
        )
        return field, {"log_deviation": float(f"{field.log_deviation:.6g}"), "steps": field.steps}


def apply_fields(
    image: Image,
    region: LabelMap | None,
    fields: Sequence[BiasField | None],
    operation: Callable[[NDArray[Any], NDArray[np.float32]], NDArray[Any]],
) -> Image:
    """Divide or multiply each channel by its field within the region; more channels than fields go round them again."""
    if not fields:
        return image
    planes = []
    for plane, field in zip(image.channels_first, cycle(fields), strict=False):
        if field is None:
            planes.append(plane)
            continue
        changed = as_type(operation(plane, field.factor(image.grid.shape, image.grid.spacing)), plane.dtype)
        planes.append(changed if region is None else np.where(region.array != 0, changed, plane))
    array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
    return replace(image, array=array)


THIS = Debias
