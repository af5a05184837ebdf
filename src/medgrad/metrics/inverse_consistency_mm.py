"""Inverse consistency: whether what was moved can be moved back."""

from __future__ import annotations

import numpy as np

from ..data.transform import Transform, voxel_positions
from ..data.types import Deformation, LabelMap
from ._field import RegistrationTruth
from ._metric import Figure, Metric

MAX_POINTS = 20_000


def compute(
    truth: RegistrationTruth, answer: Deformation, *, region: LabelMap | None = None
) -> dict[str, float | None]:
    """Give ``inverse_consistency_mm``, over evenly picked elements, at most about twenty thousand."""
    del truth
    transform = Transform.from_deformation(answer)
    points = voxel_positions(answer.grid)
    if region is not None and region.array.shape == answer.grid.shape:
        points = points[region.array != 0]
    points = points.reshape(-1, answer.grid.dims)
    points = points[:: max(1, len(points) // MAX_POINTS)]
    back = transform.to_fixed(transform.to_moving(points))
    return {"inverse_consistency_mm": float(np.linalg.norm(back - points, axis=-1).mean()) if len(points) else None}


THIS = Metric(
    input_kind="field",
    compute=compute,
    figures={
        "inverse_consistency_mm": Figure(
            "lower",
            "The mean distance between a point and where it returns to when it is moved by the deformation and moved "
            "back by the inverse that iteration finds.",
            worst=None,
            unit="mm",
            bounds=None,
        )
    },
)
