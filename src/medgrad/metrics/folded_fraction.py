"""The folded fraction: the share of elements with a Jacobian determinant of 0 or less."""

from __future__ import annotations

from ..data.types import Deformation, LabelMap
from ._field import RegistrationTruth, jacobian_inside
from ._metric import Figure, Metric


def compute(
    truth: RegistrationTruth, answer: Deformation, *, region: LabelMap | None = None
) -> dict[str, float | None]:
    """Give ``folded_fraction``: no body does it, so that any share of it is an error."""
    del truth
    return {"folded_fraction": float((jacobian_inside(answer, region) <= 0).mean())}


THIS = Metric(
    input_kind="field",
    compute=compute,
    figures={
        "folded_fraction": Figure(
            "lower",
            "The share of the elements at which the determinant of the deformation's Jacobian is not above 0.",
            worst=1.0,
        )
    },
)
