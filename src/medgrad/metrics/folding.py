"""The folded fraction: the share of elements with a Jacobian determinant of 0 or less."""

from __future__ import annotations

from ..data.types import Deformation, LabelMap
from ._field import Known, growth_inside
from ._metric import Figure, Metric


def compute(truth: Known, answer: Deformation, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``folding``: no body does it, so that any share of it is an error."""
    del truth
    return {"folding": float((growth_inside(answer, region) <= 0).mean())}


THIS = Metric(
    on="field",
    compute=compute,
    figures={
        "folding": Figure(
            "lower",
            "The share of the elements at which the determinant of the deformation's Jacobian is not above 0.",
            worst=1.0,
        )
    },
)
