"""Bring intensities to a common scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Grid, Image

WAYS = ("each", "fixed", "range", "none")


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
        if not np.isfinite(array).all():
            array = np.nan_to_num(array, nan=_lowest(array), posinf=_lowest(-array) * -1, neginf=_lowest(array))
        if array.ndim == image.grid.dims:
            return replace(image, array=self.values(array))
        return replace(image, array=np.stack([self.values(a) for a in np.moveaxis(array, -1, 0)], axis=-1))

    def values(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise one channel."""
        if self.way == "fixed":
            array = (np.clip(array, self.low, self.high) - self.mean) / max(self.deviation, 1e-6)
        elif self.way == "range":
            array = array / 127.5 - 1
        elif self.way == "each":
            counted = array[array != 0] if self.nonzero and (array != 0).any() else array
            array = (array - counted.mean(dtype=np.float64)) / max(float(counted.std(dtype=np.float64)), 1e-6)
        return np.ascontiguousarray(array, np.float32)

    def undo(self, answer: Any, before: Grid) -> Any:
        del before
        return answer


def _lowest(array: NDArray[Any]) -> float:
    finite = array[np.isfinite(array)]
    return float(finite.min()) if finite.size else 0.0


THIS = Normalise
