"""Normalised cross-correlation of the fixed and the warped image, where there is no other truth."""

from __future__ import annotations

from ..data.types import Deformation, LabelMap
from ._field import Known, likeness
from ._metric import Figure, Metric


def compute(truth: Known, answer: Deformation, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``likeness`` and ``likeness_before``; nothing where something better is known than the images."""
    found = likeness(truth, answer, region)
    return {} if found is None else {"likeness": found[0], "likeness_before": found[1]}


ABOUT = (
    "The correlation of the values of the fixed image and of the moving one, {}, over the elements of the fixed one "
    "that the other reaches. Images can be alike and yet wrongly lined up."
)
THIS = Metric(
    on="field",
    compute=compute,
    figures={
        "likeness": Figure("higher", ABOUT.format("moved onto it"), worst=-1.0, bounds=(-1.0, 1.0)),
        "likeness_before": Figure("higher", ABOUT.format("before it is moved"), worst=None, bounds=(-1.0, 1.0)),
    },
)
