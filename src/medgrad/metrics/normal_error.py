"""The error in normal images: how far from 1 a map is where nothing is abnormal."""

from __future__ import annotations

from ..data.types import Image, LabelMap
from ._anomaly import counted_elements
from ._metric import Figure, Metric


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``normal_error``; None where something is abnormal."""
    is_abnormal, said = counted_elements(truth, answer, region)
    return {"normal_error": float((said**2).mean()) ** 0.5 if said.size and not is_abnormal.any() else None}


THIS = Metric(
    input_kind="anomaly_map",
    compute=compute,
    figures={
        "normal_error": Figure(
            "lower",
            "The root mean square of the map in images without an anomaly; 1 in those that it was calibrated on, and "
            "more in images that are unlike them as a whole.",
            worst=None,
            bounds=None,
        ),
        "normal_error_zscore": Figure("lower", "The same of the plain z-score.", worst=None, bounds=None),
    },
)
