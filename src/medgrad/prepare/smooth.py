"""Gaussian smoothing, by a width in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from scipy import ndimage

from ..errors import SettingError
from ._image_step import Chosen, ImageStep, Values


@dataclass(frozen=True)
class Smooth(ImageStep):
    """A Gaussian whose full width at half of its height is ``fwhm`` millimetres, along each axis."""

    derivation: ClassVar[tuple[str, str]] = ("113088", "Gaussian blur")

    fwhm: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.fwhm <= 100:
            raise SettingError(f"'fwhm' of smooth is from 0 to 100 mm, but it is {self.fwhm}.")

    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        sigmas = [self.fwhm / 2.354820045 / size for size in spacing]
        return ndimage.gaussian_filter(values, sigmas, mode="nearest"), {}


THIS = Smooth
