"""The type of a stopping rule, which observes the log lines of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

Line = Mapping[str, Any]
"""One line of ``steps.jsonl``: a step (``loss``, ``rate``, ``seconds``, what else was seen), or a validation."""

Rule = Callable[[Line], str]
"""Hear the lines in their order; give the reason to stop, which completes "It ended because", or nothing.

What a rule remembers comes from the lines alone, so a run that is resumed tells it again what it told before.
"""


def step_loss(line: Line) -> float | None:
    """Give the loss of a step; None where the line is no step, or the step was skipped or had an empty batch.

    >>> step_loss({"step": 3, "loss": {"dice": 0.5, "entropy": 0.25}})
    0.75
    """
    if not line.get("loss") or line.get("skipped"):
        return None
    return float(sum(line["loss"].values()))


def validation_score(line: Line) -> float | None:
    """Give the validation metric of a line (larger is better); None where there is none."""
    found = next(iter(line.get("valid", {}).values()), None)
    return float(found) if isinstance(found, (int, float)) and isfinite(found) else None
