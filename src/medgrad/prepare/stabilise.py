"""Stabilise the variance of noise: values after which it is Gaussian with a deviation of 1 everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np

from ..data import Case, Image, SyntheticImage
from ..errors import SettingError, suggest_name
from ._image_step import fill_from_nearest
from ._noise import NOISES, Noise, estimate_sigma, restore_signal, stabilise
from ._step import Memo, Step


@dataclass(frozen=True)
class Stabilise(Step):
    """Transform the values of each channel by the ``noise`` that they have, so that it is white and of deviation 1.

    What is said about the transformed image comes back as the signal: the bias that Rician noise has is taken away.
    ``sigma`` is the strength of the noise, in the unit of the image, as ``denoise`` has it; 0 has it estimated on each
    channel. An image that is the truth is transformed by the strengths of the first image.
    """

    noise: Noise = "rician"
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            hint = suggest_name(str(self.noise), NOISES)
            raise SettingError(f"'noise' of stabilise is one of {', '.join(NOISES)}, not {self.noise!r}.{hint}")
        if not isinstance(self.sigma, (int, float)) or not 0 <= self.sigma < math.inf:
            raise SettingError(f"'sigma' of stabilise is a finite number, at least 0, but it is {self.sigma!r}.")

    def apply(self, case: Case) -> tuple[Case, Memo]:
        found = {name: self.strengths(image) for name, image in case.images.items()}
        first = next(iter(found.values()), [1.0])
        images = {name: self.transformed(image, found[name]) for name, image in case.images.items()}
        is_in_unit = isinstance(case.truth, Image) and not isinstance(case.truth, SyntheticImage)
        truth = self.transformed(case.truth, first) if is_in_unit else case.truth  # type: ignore[arg-type]
        return replace(case, images=images, truth=truth), Memo(case.grid, {"sigmas": first})

    def undo_values(self, image: Image, memo: Memo) -> Image:
        planes = [
            restore_signal(plane.astype(np.float32), self.noise, sigma)
            for plane, sigma in zip(image.channels_first, cycle(memo.values["sigmas"]), strict=False)
        ]
        array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
        return replace(image, array=array)

    def strengths(self, image: Image) -> list[float]:
        """Give the strength of the noise of each channel; 1 where none is found."""
        if self.sigma:
            return [float(self.sigma)] * image.channels
        planes = [fill_from_nearest(p.astype(np.float32), np.isfinite(p)) for p in image.channels_first]
        return [estimate_sigma(plane, self.noise) or 1.0 for plane in planes]

    def transformed(self, image: Image, sigmas: list[float]) -> Image:
        """Transform each channel by its strength; what is not finite gets the nearest value."""
        planes = [
            stabilise(fill_from_nearest(plane.astype(np.float32), np.isfinite(plane)), self.noise, sigma)
            for plane, sigma in zip(image.channels_first, cycle(sigmas), strict=False)
        ]
        array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
        return replace(image, array=array)


THIS = Stabilise
