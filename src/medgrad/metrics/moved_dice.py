"""Dice of warped labels."""

from __future__ import annotations

from ..data.types import Deformation, LabelMap
from ._field import Known, overlap
from ._metric import Figure, Metric


def compute(truth: Known, answer: Deformation, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``moved_dice/<label>`` and ``moved_dice/mean``; nothing where the truth is not a pair of label maps."""
    return overlap(truth, answer, region)


THIS = Metric(
    on="field",
    compute=compute,
    figures={
        "moved_dice": Figure(
            "higher",
            "Twice the overlap of a label of the fixed image and the same label of the moving one, moved onto it, over "
            "the sum of their sizes. Each element takes the nearest label.",
        )
    },
)
