"""Target registration error: how far known points end from where they belong."""

from __future__ import annotations

import numpy as np

from ..data.types import Deformation, LabelMap
from ._field import RegistrationTruth, point_distances
from ._metric import Figure, Metric


def compute(
    truth: RegistrationTruth, answer: Deformation, *, region: LabelMap | None = None
) -> dict[str, float | None]:
    """Give ``tre_mm`` (the mean), ``tre_mm/median``, ``tre_mm/95`` and ``tre_mm/before``; nothing for label maps."""
    left, before = point_distances(truth, answer, region)
    if not left.size:
        return {}
    return {
        "tre_mm": float(left.mean()),
        "tre_mm/median": float(np.median(left)),
        "tre_mm/95": float(np.quantile(left, 0.95)),
        "tre_before_mm": float(before.mean()),
    }


THIS = Metric(
    input_kind="field",
    compute=compute,
    figures={
        "tre_mm": Figure(
            "lower",
            "The distance between where the answer takes a known point of the fixed image and where that point lies in "
            "the moving one: the mean over the points, their median, and their 95th percentile.",
            worst="diagonal",
            unit="mm",
            bounds=None,
        ),
        "tre_before_mm": Figure(
            "lower",
            "The mean distance between corresponding points before anything is moved.",
            worst=None,
            unit="mm",
            bounds=None,
        ),
    },
)
