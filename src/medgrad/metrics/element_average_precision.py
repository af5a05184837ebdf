"""The average precision of elements: how pure what a map ranks first is, over all thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.types import Image, LabelMap
from ._anomaly import counted_elements, figures_beside, means_beside
from ._metric import Metric, Row
from ._rows import Numbers
from ._scores import none_for_nan
from .average_precision import average_precision


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``element_average_precision``; None where all elements are of one kind."""
    is_abnormal, said = counted_elements(truth, answer, region)
    if is_abnormal.all() or not is_abnormal.any():
        return {"element_average_precision": None}
    found = average_precision(said, is_abnormal.astype(float), np.ones((1, len(said))))
    return none_for_nan({"element_average_precision": float(found[0])})


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Average it over the images, beside that of the z-score."""
    return means_beside("element_average_precision", rows, weights)


THIS = Metric(
    input_kind="anomaly_map",
    compute=compute,
    pool=pool,
    figures=figures_beside(
        "element_average_precision",
        "Of the elements of an image, precision over all thresholds, each weighted by the recall that it adds; the "
        "mean over the images that have abnormal elements and others",
    ),
)
