"""The mean absolute error, in the unit of the image."""

from __future__ import annotations

import numpy as np

from ..data.types import Image, LabelMap
from ._images import ChannelPair, mean_over_channels
from ._metric import Figure, Metric


def mae(pair: ChannelPair) -> float | None:
    """Give the mean absolute error; None where nothing counts."""
    return float(np.abs(pair.errors).mean()) if pair.inside.any() else None


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``mae``."""
    return {"mae": mean_over_channels(mae, truth, answer, region)}


THIS = Metric(
    input_kind="image",
    compute=compute,
    figures={
        "mae": Figure(
            "lower",
            "The mean absolute error, in the unit of the images. A failed case gets the error of an answer that is "
            "everywhere the mean of the true image.",
            worst=None,
            bounds=None,
        )
    },
)
