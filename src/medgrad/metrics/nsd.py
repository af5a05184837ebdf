"""The normalised surface distance: which share of the surfaces is right within a tolerance."""

from __future__ import annotations

import numpy as np

from ..data.types import LabelMap
from ._labels import MaskPair, judge_each_label
from ._metric import Figure, Metric
from ._surface import surface_distances, surfaces

TOLERANCE = 1.0


def nsd(pair: MaskPair, *, tolerance: float = TOLERANCE) -> float | None:
    """The share of the surface elements within ``tolerance`` of the other; None if both are empty, 0 if one is."""
    if pair.both_empty:
        return None
    if pair.one_empty:
        return 0.0
    dims = pair.grid.dims
    a, b = surfaces(pair.truth, pair.answer, pair.grid.matrix[:dims, :dims])
    return float(np.mean(np.concatenate([surface_distances(a, b), surface_distances(b, a)]) <= tolerance * (1 + 1e-9)))


def compute(
    truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None, tolerance: float = TOLERANCE
) -> dict[str, float | None]:
    """Give ``nsd/<label>`` and ``nsd/mean``; the tolerance is in mm, or in pixels where the grid is not measured.

    Elements are counted, not weighted by area, as in MONAI's ``compute_surface_dice`` without subvoxels.
    """
    return judge_each_label("nsd", lambda pair: nsd(pair, tolerance=tolerance), truth, answer, region)


THIS = Metric(
    input_kind="labels",
    compute=compute,
    figures={
        "nsd": Figure(
            "higher",
            f"The share of the surface elements of truth and answer that lie within {TOLERANCE:g} mm (or pixels) of "
            "the other surface. A case in which both are empty does not count; one in which just one is empty counts "
            "as 0.",
        )
    },
)
