"""The average symmetric surface distance: how far the surfaces lie apart on average."""

from __future__ import annotations

import numpy as np

from ..data.types import LabelMap
from ._labels import Pair, each_label
from ._metric import Figure, Metric, diagonal
from ._surface import distances, surfaces


def assd(pair: Pair) -> float | None:
    """The mean distance from either surface to the other, in mm; None if both are empty, the diagonal if one is."""
    if pair.both_empty:
        return None
    if pair.one_empty:
        return diagonal(pair.grid)
    dims = pair.grid.dims
    a, b = surfaces(pair.truth, pair.answer, pair.grid.matrix[:dims, :dims])
    return float(np.mean(np.concatenate([distances(a, b), distances(b, a)])))


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``assd/<label>`` and ``assd/mean`` in mm, or in pixels where the grid is not measured."""
    return each_label("assd", assd, truth, answer, region)


THIS = Metric(
    on="labels",
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
