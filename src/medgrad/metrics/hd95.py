"""The 95th percentile of the Hausdorff distance: how far the surfaces part, but for the farthest twentieth."""

from __future__ import annotations

import numpy as np

from ..data.types import LabelMap
from ._labels import MaskPair, judge_each_label
from ._metric import Figure, Metric, grid_diagonal
from ._surface import surface_distances, surfaces


def hd95(pair: MaskPair, *, percent: float = 95) -> float | None:
    """The larger of the two directed percentiles of surface distances, in mm.

    None if both masks are empty; the diagonal of the image if one is. The surfaces and the percentile are those of
    MONAI's ``compute_hausdorff_distance(percentile=95)``.
    """
    if pair.both_empty:
        return None
    if pair.one_empty:
        return grid_diagonal(pair.grid)
    dims = pair.grid.dims
    a, b = surfaces(pair.truth, pair.answer, pair.grid.matrix[:dims, :dims])
    return max(
        float(np.percentile(surface_distances(a, b), percent)), float(np.percentile(surface_distances(b, a), percent))
    )


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``hd95/<label>`` and ``hd95/mean`` in mm, or in pixels where the grid is not measured."""
    return judge_each_label("hd95", hd95, truth, answer, region)


THIS = Metric(
    input_kind="labels",
    compute=compute,
    figures={
        "hd95": Figure(
            "lower",
            "The distance within which 95 % of each surface lies from the other surface, the larger of both "
            "directions. A case in which both are empty does not count; one in which just one is empty counts as the "
            "diagonal of the image.",
            worst="diagonal",
            unit="mm",
            bounds=None,
        )
    },
)
