"""When to stop: one rule a file, ``THIS(**settings) -> Rule``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import registry
from ._rule import Line, Rule, step_loss, validation_score

__all__ = ["Line", "Rule", "build_rules", "step_loss", "validation_score"]


def build_rules(tables: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Make the rules that a recipe names; any of them may end a run."""
    return [registry.find("descent.stopping", t["name"])(**{k: v for k, v in t.items() if k != "name"}) for t in tables]
