"""The registration score: the primary metric of registration."""

from __future__ import annotations

import numpy as np

from ..data.types import Deformation, LabelMap
from ._field import Known, distances, likeness, overlap
from ._metric import Figure, Metric


def compute(truth: Known, answer: Deformation, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``aligned``: the mean Dice of moved labels, or the share of the known way that the answer goes.

    Where nothing is known but the images: the share of what they lack of being alike that is gone.
    """
    labels = overlap(truth, answer, region)
    if labels:
        return {"aligned": labels["moved_dice/mean"]}
    alike = likeness(truth, answer, region)
    if alike is not None:
        after, start = alike
        return {"aligned": max(0.0, 1 - (1 - after) / (1 - start)) if start < 1 else float(after >= start)}
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
            "least 0; where the truth is a pair of label maps, the mean Dice of the moved labels; where nothing is "
            "known but the images, the share of what their correlation lacks of 1 that is gone: alike is not right.",
        )
    },
)
