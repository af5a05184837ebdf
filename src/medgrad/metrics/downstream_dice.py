"""Dice of a downstream run: whether a run that segments says the same of an answered image as of the true one."""

from __future__ import annotations

from ..data.types import Image, LabelMap
from ._images import channel_pairs
from ._metric import Figure, Metric


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give nothing: two images tell nothing without the run, which ``evaluate --downstream`` asks about both."""
    channel_pairs(truth, answer, region)  # raises where they do not lie on one grid
    return {}


THIS = Metric(
    input_kind="image",
    compute=compute,
    figures={
        "downstream_dice": Figure(
            "higher",
            "What a run that segments says of the answer, against what it says of the true image: their Dice, averaged "
            "over the labels that the latter has.",
        ),
        "downstream_dice_before": Figure(
            "higher",
            "What a run that segments says of the image that was shown, against what it says of the true image.",
            worst=None,
        ),
    },
)
