"""Stop after so many minutes of learning."""

from __future__ import annotations

from ._rule import Line, Rule


def minutes(*, max_minutes: float = 10.0) -> Rule:
    """Learning took ``max_minutes`` minutes.

    The steps alone, without validation, summed over every time the run went on.

    Two runs under this rule need not be the same: how far they come is up to the machine.
    """
    taken = 0.0

    def rule(line: Line) -> str:
        nonlocal taken
        taken += float(line.get("seconds", 0.0)) if "loss" in line else 0.0
        return f"{max_minutes:g} minutes of learning were over" if taken >= 60 * max_minutes else ""

    return rule


THIS = minutes
