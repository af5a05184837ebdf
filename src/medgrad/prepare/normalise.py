"""Normalise intensities: z-score, window, scale, or 8-bit range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Image, SyntheticImage
from ._step import Memo, Step

Scale = tuple[float, float]
"""A mean and a deviation."""

METHODS = ("zscore", "window", "scale", "uint8", "none")
SCALE_PERCENTILE = 99.5
CHUNK_ELEMENTS = 1 << 20
"""So many elements are scaled at a time."""


@dataclass(frozen=True)
class Normalise(Step):
    """``zscore``: every channel of every image to mean 0 and deviation 1, for MR, ultrasound and whatever has no unit.
    ``window``: the same cut (``low``, ``high``), ``mean`` and ``deviation`` for all, for CT and SUV, whose numbers mean
    something. ``scale``: every channel by its 99.5th percentile, so that 0 stays 0, for magnitudes of MR that stay
    images. ``uint8``: 0 to 255 becomes -1 to 1, for photographs.

    With ``nonzero``, ``zscore`` measures where the image is not 0 (a head cut out of its background).
    Values that are not finite become the lowest that is.
    """

    method: str = "zscore"
    low: float = -1000.0
    high: float = 1000.0
    mean: float = 0.0
    deviation: float = 500.0
    nonzero: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"A way to normalise is one of {', '.join(METHODS)}, not {self.method!r}.")

    def apply(self, case: Case) -> tuple[Case, Memo]:
        found = {name: self.normalised(image) for name, image in case.images.items()}
        scales = next((scale for _, scale in found.values()), [])
        is_in_unit = isinstance(case.truth, Image) and not isinstance(case.truth, SyntheticImage)
        truth = self.normalised(case.truth, scales)[0] if is_in_unit else case.truth  # type: ignore[arg-type]
        images = {name: image for name, (image, _) in found.items()}
        return replace(case, images=images, truth=truth), Memo(case.grid, {"scales": scales})

    def undo_values(self, image: Image, memo: Memo) -> Image:
        scales = memo.values["scales"]
        planes = [
            plane * deviation + mean
            for plane, (mean, deviation) in zip(image.channels_first, cycle(scales), strict=False)
        ]
        array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
        return replace(image, array=array.astype(image.array.dtype))

    def normalised(self, image: Image, scales: Sequence[Scale] = ()) -> tuple[Image, list[Scale]]:
        """Normalise one image, each of its channels by itself or by the scales that are given; also give the scales."""
        array = image.array.astype(np.float32)
        if image.array.dtype.kind == "f" and not np.isfinite(array).all():
            array = np.nan_to_num(array, nan=_lowest(array), posinf=_lowest(-array) * -1, neginf=_lowest(array))
        planes = [array] if array.ndim == image.grid.dims else list(np.moveaxis(array, -1, 0))
        used = [*islice(cycle(scales), len(planes))] if scales else [self.scale_of(plane) for plane in planes]
        made = [self.scaled(plane, scale) for plane, scale in zip(planes, used, strict=True)]
        return replace(image, array=made[0] if array.ndim == image.grid.dims else np.stack(made, axis=-1)), used

    def scale_of(self, array: NDArray[np.float32]) -> Scale:
        """Give the mean and the deviation that one channel is brought to 0 and 1 by."""
        if self.method == "window":
            return self.mean, max(self.deviation, 1e-6)
        if self.method == "scale":
            return 0.0, max(float(np.percentile(array, SCALE_PERCENTILE)), 1e-6)
        if self.method == "uint8":
            return 127.5, 127.5
        if self.method == "none":
            return 0.0, 1.0
        counted = array[array != 0] if self.nonzero and (array != 0).any() else array
        return float(counted.mean(dtype=np.float64)), max(float(counted.std(dtype=np.float64)), 1e-6)

    def scaled(self, array: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
        """Scale one channel in its own memory."""
        mean, deviation = scale
        if self.method == "window":
            np.clip(array, self.low, self.high, out=array)
            array -= mean
            array /= deviation
        elif self.method == "scale":
            array /= deviation
        elif self.method == "uint8":
            array /= deviation
            array -= 1
        elif self.method == "zscore":
            planes = max(1, CHUNK_ELEMENTS // max(1, array[:1].size))
            for first in range(0, len(array), planes):  # in float64, a few at a time
                part = array[first : first + planes]
                part[...] = (part - np.float64(mean)) / np.float64(deviation)
        return np.ascontiguousarray(array)


def _lowest(array: NDArray[Any]) -> float:
    finite = array[np.isfinite(array)]
    return float(finite.min()) if finite.size else 0.0


THIS = Normalise
