"""Inverse consistency: whether what was moved can be moved back."""

from __future__ import annotations

import numpy as np

from ..data.transform import Transform, voxels
from ..data.types import Deformation, LabelMap
from ._field import Known
from ._metric import Figure, Metric

MOST = 20_000


def compute(truth: Known, answer: Deformation, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``inverse_mm``, over evenly picked elements, at most about twenty thousand."""
    del truth
    transform = Transform.of(answer)
    points = voxels(answer.grid)
    if region is not None and region.array.shape == answer.grid.shape:
        points = points[region.array != 0]
    points = points.reshape(-1, answer.grid.dims)
    points = points[:: max(1, len(points) // MOST)]
    back = transform.to_fixed(transform.to_moving(points))
    return {"inverse_mm": float(np.linalg.norm(back - points, axis=-1).mean()) if len(points) else None}


THIS = Metric(
    on="field",
    compute=compute,
    figures={
        "inverse_mm": Figure(
            "lower",
            "The mean distance between a point and where it returns to when it is moved by the deformation and moved "
            "back by the inverse that iteration finds.",
            worst=None,
            unit="mm",
            bounds=None,
        )
    },
)
