"""The root mean square error as a share of the range."""

from __future__ import annotations

from ..data.types import Image, LabelMap
from ._images import ChannelPair, mean_over_channels
from ._metric import Figure, Metric


def nrmse(pair: ChannelPair) -> float | None:
    """Give the root mean square error over the range of the truth; None where the truth is flat."""
    return float((pair.errors**2).mean()) ** 0.5 / pair.span if pair.span else None


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``nrmse``."""
    return {"nrmse": mean_over_channels(nrmse, truth, answer, region)}


THIS = Metric(
    input_kind="image",
    compute=compute,
    figures={
        "nrmse": Figure(
            "lower",
            "The root mean square error over the range of the true image: its highest less its lowest value, where it "
            "counts. A failed case gets 1.",
            worst=1.0,
            bounds=None,
        )
    },
)
