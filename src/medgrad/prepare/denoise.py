"""Denoising by the strength of the noise, which is estimated where it is not said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import SettingError, suggest_name
from ._image_step import Chosen, ImageStep, Values
from ._noise import NOISES, Noise, estimate_sigma, restore_signal, stabilise
from ._nonlocal_means import nonlocal_means
from ._smoothers import bilateral, diffusion, gaussian, median, total_variation, wavelet

Method = Literal["nonlocal_means", "total_variation", "wavelet", "diffusion", "median", "gaussian", "bilateral"]
DENOISERS: Mapping[Method, Callable[[Values, Sequence[float]], Values]] = {
    "nonlocal_means": nonlocal_means,
    "total_variation": total_variation,
    "wavelet": wavelet,
    "diffusion": diffusion,
    "median": median,
    "gaussian": gaussian,
    "bilateral": bilateral,
}
MOST_NEGATIVE = 0.01


@dataclass(frozen=True)
class Denoise(ImageStep):
    """Denoising, by one of seven ``method`` s, as strong as the ``noise`` is.

    ``noise`` is ``gaussian``, ``rician`` (magnitudes of MR: its bias is taken away too) or ``poisson`` (counts, or
    counts times a constant). ``sigma`` is its standard deviation, in the unit of the image; under Rician noise that of
    the real and the imaginary part; under Poisson noise that of a value of 1. 0 has it estimated on each channel, as
    white noise; then it is told.
    """

    method: Method = "nonlocal_means"
    noise: Noise = "gaussian"
    sigma: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, tuple(DENOISERS)), ("noise", self.noise, NOISES)):
            if value not in known:
                hint = suggest_name(str(value), known)
                raise SettingError(f"'{name}' of denoise is one of {', '.join(known)}, not {value!r}.{hint}")
        if not isinstance(self.sigma, (int, float)) or not 0 <= self.sigma < math.inf:
            raise SettingError(f"'sigma' of denoise is a finite number, at least 0, but it is {self.sigma!r}.")

    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        if self.noise != "gaussian" and float((values < 0).mean()) > MOST_NEGATIVE:
            raise SettingError(
                f"Values under {self.noise} noise are not negative, but many of this image are. "
                "Say noise=gaussian, or take the image before it was shifted."
            )
        sigma = self.sigma or float(f"{estimate_sigma(values, self.noise):.6g}")
        chosen: Chosen = {} if self.sigma else {"sigma": sigma}
        if sigma == 0:
            return values, chosen
        stable = stabilise(values, self.noise, sigma)
        return restore_signal(DENOISERS[self.method](stable, spacing), self.noise, sigma), chosen


THIS = Denoise
