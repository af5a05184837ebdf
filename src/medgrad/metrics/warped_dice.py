"""Dice of warped labels."""

from __future__ import annotations

from ..data.types import Deformation, LabelMap
from ._field import RegistrationTruth, warped_label_dice
from ._metric import Figure, Metric


def compute(
    truth: RegistrationTruth, answer: Deformation, *, region: LabelMap | None = None
) -> dict[str, float | None]:
    """Give ``warped_dice/<label>`` and ``warped_dice/mean``; nothing where the truth is not a pair of label maps."""
    return warped_label_dice(truth, answer, region)


THIS = Metric(
    input_kind="field",
    compute=compute,
    figures={
        "warped_dice": Figure(
            "higher",
            "Twice the overlap of a label of the fixed image and the same label of the moving one, moved onto it, over "
            "the sum of their sizes. Each element takes the nearest label.",
        )
    },
)
