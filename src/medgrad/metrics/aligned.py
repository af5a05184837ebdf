"""Aligned: the one figure by which registrations are compared."""

from __future__ import annotations

import numpy as np

from ..data.types import Deformation, LabelMap
from ._field import Known, distances, overlap
from ._metric import Figure, Metric


def compute(truth: Known, answer: Deformation, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``aligned``: the mean Dice of moved labels, or the share of the known way that the answer goes."""
    labels = overlap(truth, answer, region)
    if labels:
        return {"aligned": labels["moved_dice/mean"]}
    left, before = (d.mean() if d.size else np.nan for d in distances(truth, answer, region))
    if np.isnan(left):
        return {"aligned": None}
    return {"aligned": float(max(0.0, 1 - left / before)) if before > 0 else float(left == 0)}


THIS = Metric(
    on="field",
    compute=compute,
    figures={
        "aligned": Figure(
            "higher",
            "Of the distance between corresponding points before registration, the share that is gone after it, at "
            "least 0; where the truth is a pair of label maps, the mean Dice of the moved labels.",
        )
    },
)
