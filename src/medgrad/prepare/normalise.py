"""Bring intensities to a common scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Grid, Image

WAYS = ("each", "fixed", "range", "none")
AT_ONCE = 1 << 20
"""So many elements are scaled at a time."""


@dataclass(frozen=True)
class Normalise:
    """``each``: every channel of every image to mean 0 and deviation 1, for MR, ultrasound and whatever has no unit.
    ``fixed``: the same cut (``low``, ``high``), ``mean`` and ``deviation`` for all, for CT and SUV, whose numbers mean
    something. ``range``: 0 to 255 becomes -1 to 1, for photographs.

    With ``nonzero``, ``each`` measures where the image is not 0 (a head cut out of its background).
    Values that are not finite become the lowest that is.
    """

    way: str = "each"
    low: float = -1000.0
    high: float = 1000.0
    mean: float = 0.0
    deviation: float = 500.0
    nonzero: bool = False

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"A way to normalise is one of {', '.join(WAYS)}, not {self.way!r}.")

    def apply(self, case: Case) -> Case:
        return replace(case, images={k: self.image(v) for k, v in case.images.items()})

    def image(self, image: Image) -> Image:
        """Normalise one image, each of its channels by itself."""
        array = image.array.astype(np.float32)
        if image.array.dtype.kind == "f" and not np.isfinite(array).all():
            array = np.nan_to_num(array, nan=_lowest(array), posinf=_lowest(-array) * -1, neginf=_lowest(array))
        if array.ndim == image.grid.dims:
            return replace(image, array=self.changed(array))
        return replace(image, array=np.stack([self.changed(a) for a in np.moveaxis(array, -1, 0)], axis=-1))

    def changed(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalise one channel in its own memory."""
        if self.way == "fixed":
            np.clip(array, self.low, self.high, out=array)
            array -= self.mean
            array /= max(self.deviation, 1e-6)
        elif self.way == "range":
            array /= 127.5
            array -= 1
        elif self.way == "each":
            counted = array[array != 0] if self.nonzero and (array != 0).any() else array
            mean, deviation = counted.mean(dtype=np.float64), max(float(counted.std(dtype=np.float64)), 1e-6)
            planes = max(1, AT_ONCE // max(1, array[:1].size))
            for first in range(0, len(array), planes):  # in float64, a few at a time
                part = array[first : first + planes]
                part[...] = (part - mean) / deviation
        return np.ascontiguousarray(array)

    def undo(self, answer: Any, before: Grid) -> Any:
        del before
        return answer


def _lowest(array: NDArray[Any]) -> float:
    finite = array[np.isfinite(array)]
    return float(finite.min()) if finite.size else 0.0


THIS = Normalise
