"""The area under the receiver operating characteristic of images: how well scores rank abnormal ones above others."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ..data.types import Image, LabelMap
from ._anomaly import counted_elements, figures_beside
from ._metric import Figure, Metric, Row
from ._rows import Numbers, rows_to_table
from .auroc import auroc

TOP_SHARE = 0.001
"""The score of an image is the mean over so many of its elements, the most unlike; over one at least."""


def image_score(values: NDArray[np.floating]) -> float:
    """Give the mean of the largest thousandth of a map; 0 of nothing.

    >>> image_score(np.array([1.0, 4.0, 2.0]))
    4.0
    """
    count = ceil(TOP_SHARE * values.size)
    return float(np.partition(values.ravel(), values.size - count)[-count:].mean()) if count else 0.0


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``abnormal`` (1 or 0) and ``score``, from which ``pool`` makes the figure of a set."""
    is_abnormal, said = counted_elements(truth, answer, region)
    return {"abnormal": float(is_abnormal.any()), "score": image_score(said)}


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give ``image_auroc``, beside that of the z-score where all rows have one; nan where images are of one kind."""
    truth, score, zscore = rows_to_table(rows, ("abnormal", "score", "score_zscore")).T
    found = {"image_auroc": auroc(score, truth, weights)}
    known = zscore == zscore
    if not known.any():
        return found
    beside = auroc(zscore[known], truth[known], weights[:, known])
    gain = auroc(score[known], truth[known], weights[:, known]) - beside
    return found | {"image_auroc_zscore": beside, "image_auroc_gain": gain}


THIS = Metric(
    input_kind="anomaly_map",
    compute=compute,
    pool=pool,
    figures={
        **figures_beside(
            "image_auroc",
            "The chance that an image with an anomaly has a higher score than one without, ties by half; the score is "
            "the mean over the thousandth of its elements that are called the most unlike",
            worst=None,
        ),
        "abnormal": Figure("zero", "Whether anything in an image is abnormal: 1 or 0.", worst=None),
        "score": Figure(
            "zero", "The score of an image, in standard deviations of what is normal.", worst=None, bounds=None
        ),
        "score_zscore": Figure("zero", "The score of an image by the plain z-score.", worst=None, bounds=None),
    },
)
