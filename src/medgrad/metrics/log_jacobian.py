"""The standard deviation of the log Jacobian determinant of a deformation."""

from __future__ import annotations

import numpy as np

from ..data.types import Deformation, LabelMap
from ._field import RegistrationTruth, jacobian_inside
from ._metric import Figure, Metric

MIN_JACOBIAN = 1e-3


def compute(
    truth: RegistrationTruth, answer: Deformation, *, region: LabelMap | None = None
) -> dict[str, float | None]:
    """Give ``log_jacobian``, the standard deviation; what folds counts as shrunk a thousand times."""
    del truth
    return {"log_jacobian": float(np.log(np.maximum(jacobian_inside(answer, region), MIN_JACOBIAN)).std())}


THIS = Metric(
    input_kind="field",
    compute=compute,
    figures={
        "log_jacobian": Figure(
            "lower",
            "The standard deviation of the logarithm of the deformation's Jacobian determinant over the elements: 0 "
            "where everything swells or shrinks alike.",
            worst=None,
            bounds=None,
        )
    },
)
