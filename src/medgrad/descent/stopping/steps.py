"""Stop after so many steps."""

from __future__ import annotations

from ._rule import Line, Rule


def steps(*, most: int = 1000) -> Rule:
    """``most`` steps were taken, those that were skipped among them."""

    def rule(line: Line) -> str:
        return f"{most} steps were done" if "loss" in line and line["step"] + 1 >= most else ""

    return rule


THIS = steps
