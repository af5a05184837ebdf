"""The average symmetric surface distance: how far the surfaces lie apart on average."""

from __future__ import annotations

import numpy as np

from ..data.types import LabelMap
from ._labels import MaskPair, judge_each_label
from ._metric import Figure, Metric, grid_diagonal
from ._surface import surface_distances, surfaces


def assd(pair: MaskPair) -> float | None:
    """The mean distance from either surface to the other, in mm; None if both are empty, the diagonal if one is."""
    if pair.both_empty:
        return None
    if pair.one_empty:
        return grid_diagonal(pair.grid)
    dims = pair.grid.dims
    a, b = surfaces(pair.truth, pair.answer, pair.grid.matrix[:dims, :dims])
    return float(np.mean(np.concatenate([surface_distances(a, b), surface_distances(b, a)])))


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``assd/<label>`` and ``assd/mean`` in mm, or in pixels where the grid is not measured."""
    return judge_each_label("assd", assd, truth, answer, region)


THIS = Metric(
    input_kind="labels",
    compute=compute,
    figures={
        "assd": Figure(
            "lower",
            "The mean distance of all surface elements of truth and answer from the other surface. A case in which "
            "both are empty does not count; one in which just one is empty counts as the diagonal of the image.",
            worst="diagonal",
            unit="mm",
            bounds=None,
        )
    },
)
