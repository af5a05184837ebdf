"""One schedule a file: ``THIS(**settings)(done) -> factor`` of the rate, ``done`` from 0 to 1 of the budget.

A schedule that follows how learning goes has ``hear(line)`` as well: it is told every line of ``steps.jsonl``, and told
them again when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ... import registry

Schedule = Callable[[float], float]


def build_schedule(table: Mapping[str, Any]) -> Schedule:
    """Make the schedule that a recipe names."""
    settings = {k: v for k, v in table.items() if k != "name"}
    made: Schedule = registry.find("descent.schedules", table["name"])(**settings)
    return made
