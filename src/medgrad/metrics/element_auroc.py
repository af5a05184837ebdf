"""The area under the receiver operating characteristic of elements: how well a map ranks abnormal ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.types import Image, LabelMap
from ._anomaly import counted_elements, figures_beside, means_beside
from ._metric import Metric, Row
from ._rows import Numbers
from ._scores import none_for_nan
from .auroc import auroc


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``element_auroc``; None where all elements are of one kind."""
    is_abnormal, said = counted_elements(truth, answer, region)
    if is_abnormal.all() or not is_abnormal.any():
        return {"element_auroc": None}
    found = auroc(said, is_abnormal.astype(float), np.ones((1, len(said))))
    return none_for_nan({"element_auroc": float(found[0])})


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Average it over the images, beside that of the z-score."""
    return means_beside("element_auroc", rows, weights)


THIS = Metric(
    input_kind="anomaly_map",
    compute=compute,
    pool=pool,
    figures=figures_beside(
        "element_auroc",
        "The chance that an abnormal element of an image is called more unlike than one that is not, ties by half; "
        "the mean over the images that have both",
    ),
)
