"""Stop when the gradient norm is small."""

from __future__ import annotations

from ...errors import SettingError
from ._rule import Line, Rule, step_loss


def small_gradient(*, norm: float = 1e-4, steps: int = 5) -> Rule:
    """The gradient's norm was at most ``norm`` for so many ``steps`` on end.

    A drawn batch's gradient never vanishes, so this is for the gradient of the whole set. What tells the norm must be
    among the gradients: ``clipped`` or ``normalised``.
    """
    flat = 0

    def rule(line: Line) -> str:
        nonlocal flat
        if step_loss(line) is None:
            return ""
        if "gradient/norm" not in line:
            raise SettingError("small_gradient needs the norm. Add 'clipped' to [[gradients]].")
        flat = flat + 1 if line["gradient/norm"] <= norm else 0
        return f"the gradient's norm was at most {norm:g} for {steps} steps" if flat >= steps else ""

    return rule


THIS = small_gradient
