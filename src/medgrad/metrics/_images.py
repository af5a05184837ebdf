"""Shared by the metrics of images: the channels of truth and answer where they count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.types import Image, LabelMap
from ._labels import check_grids

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelPair:
    """One channel of truth and answer, where they count, and the ``span``: the range of the truth where it counts."""

    truth: Values
    answer: Values
    inside: NDArray[np.bool_]
    span: float

    @property
    def errors(self) -> Values:
        """The differences where they count, (n,)."""
        return self.answer[self.inside] - self.truth[self.inside]


def channel_pairs(truth: Image, answer: Image, region: LabelMap | None) -> list[ChannelPair]:
    """Give each channel of two images, or raise unless they lie on one grid and have as many channels.

    What is not finite in the truth does not count; what is not finite in the answer alone is off by the whole range.
    """
    check_grids(truth, answer, region)
    if truth.channels != answer.channels:
        raise ValueError(f"The answer has {answer.channels} channels, but the truth has {truth.channels}.")
    pairs = []
    for want, said in zip(truth.channels_first, answer.channels_first, strict=True):
        want, said = want.astype(np.float64), said.astype(np.float64)
        inside = np.isfinite(want) if region is None else np.isfinite(want) & (region.array != 0)
        span = float(np.ptp(want[inside])) if inside.any() else 0.0
        want = np.where(np.isfinite(want), want, 0.0)
        pairs.append(ChannelPair(want, np.where(np.isfinite(said), said, want + (span or 1.0)), inside, span))
    return pairs


def mean_over_channels(
    figure: Callable[[ChannelPair], float | None], truth: Image, answer: Image, region: LabelMap | None
) -> float | None:
    """Give the mean of a figure over the channels in which it is defined; None where it is in none."""
    found = [v for pair in channel_pairs(truth, answer, region) if (v := figure(pair)) is not None]
    return float(np.mean(found)) if found else None
