"""The peak signal-to-noise ratio."""

from __future__ import annotations

import math

from ..data.types import Image, LabelMap
from ._images import ChannelPair, mean_over_channels
from ._metric import Figure, Metric

MOST_DB = 100.0
"""What two equal images get, and no image more."""


def psnr(pair: ChannelPair) -> float | None:
    """Give twenty times the logarithm of the range over the root mean square error; None where the truth is flat."""
    if pair.span == 0:
        return None
    error = float((pair.errors**2).mean()) ** 0.5
    return min(MOST_DB, 20 * math.log10(pair.span / error)) if error > 0 else MOST_DB


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``psnr``, in dB."""
    return {"psnr": mean_over_channels(psnr, truth, answer, region)}


THIS = Metric(
    input_kind="image",
    compute=compute,
    figures={
        "psnr": Figure(
            "higher",
            "The peak signal-to-noise ratio: twenty times the logarithm to base ten of the range of the true image "
            "(its highest less its lowest value, where it counts) over the root mean square error; at most 100.",
            unit="dB",
            bounds=(0.0, MOST_DB),
        ),
        "psnr_before": Figure(
            "higher",
            "The peak signal-to-noise ratio of the image that was shown, by the same truth.",
            worst=None,
            unit="dB",
            bounds=(0.0, MOST_DB),
        ),
    },
)
