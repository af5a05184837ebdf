"""The registration score: the primary metric of registration."""

from __future__ import annotations

import numpy as np

from ..data.types import Deformation, LabelMap
from ._field import RegistrationTruth, image_correlation, point_distances, warped_label_dice
from ._metric import Figure, Metric


def compute(
    truth: RegistrationTruth, answer: Deformation, *, region: LabelMap | None = None
) -> dict[str, float | None]:
    """Give ``registration_score``: the mean Dice of moved labels, or the share of the known way that the answer goes.

    Where nothing is known but the images: the share of what they lack of being alike that is gone.
    """
    labels = warped_label_dice(truth, answer, region)
    if labels:
        return {"registration_score": labels["warped_dice/mean"]}
    alike = image_correlation(truth, answer, region)
    if alike is not None:
        after, start = alike
        return {"registration_score": max(0.0, 1 - (1 - after) / (1 - start)) if start < 1 else float(after >= start)}
    left, before = (d.mean() if d.size else np.nan for d in point_distances(truth, answer, region))
    if np.isnan(left):
        return {"registration_score": None}
    return {"registration_score": float(max(0.0, 1 - left / before)) if before > 0 else float(left == 0)}


THIS = Metric(
    input_kind="field",
    compute=compute,
    figures={
        "registration_score": Figure(
            "higher",
            "Of the distance between corresponding points before registration, the share that is gone after it, at "
            "least 0; where the truth is a pair of label maps, the mean Dice of the moved labels; where nothing is "
            "known but the images, the share of what their correlation lacks of 1 that is gone: alike is not right.",
        )
    },
)
