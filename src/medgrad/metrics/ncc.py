"""Normalised cross-correlation of the fixed and the warped image, where there is no other truth."""

from __future__ import annotations

from ..data.types import Deformation, LabelMap
from ._field import RegistrationTruth, image_correlation
from ._metric import Figure, Metric


def compute(
    truth: RegistrationTruth, answer: Deformation, *, region: LabelMap | None = None
) -> dict[str, float | None]:
    """Give ``image_correlation`` and ``ncc_before``; nothing where something better is known than the images."""
    found = image_correlation(truth, answer, region)
    return {} if found is None else {"ncc": found[0], "ncc_before": found[1]}


DEFINITION = (
    "The correlation of the values of the fixed image and of the moving one, {}, over the elements of the fixed one "
    "that the other reaches. Images can be alike and yet wrongly lined up."
)
THIS = Metric(
    input_kind="field",
    compute=compute,
    figures={
        "ncc": Figure("higher", DEFINITION.format("moved onto it"), worst=-1.0, bounds=(-1.0, 1.0)),
        "ncc_before": Figure("higher", DEFINITION.format("before it is moved"), worst=None, bounds=(-1.0, 1.0)),
    },
)
