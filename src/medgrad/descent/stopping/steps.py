"""Stop after so many steps."""

from __future__ import annotations

from ._rule import Line, Rule


def steps(*, max_steps: int = 1000) -> Rule:
    """``max_steps`` steps were taken, those that were skipped among them."""

    def rule(line: Line) -> str:
        return f"{max_steps} steps were done" if "loss" in line and line["step"] + 1 >= max_steps else ""

    return rule


THIS = steps
