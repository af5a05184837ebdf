"""Early stopping: stop when the validation metric has not improved for a while."""

from __future__ import annotations

from math import inf

from ._rule import Line, Rule, validation_score


def no_improvement(*, patience: int = 10, min_delta: float = 0.0) -> Rule:
    """``patience`` validations in a row were none better than the best by more than ``min_delta``.

    A validation without a number counts as one that was no better.
    """
    best, stale = -inf, 0

    def rule(line: Line) -> str:
        nonlocal best, stale
        if "valid" not in line:
            return ""
        found = validation_score(line)
        is_better = found is not None and found > best + min_delta
        best, stale = (found, 0) if found is not None and is_better else (best, stale + 1)
        return f"{next(iter(line['valid']))} was no better in {stale} validations" if stale >= patience else ""

    return rule


THIS = no_improvement
