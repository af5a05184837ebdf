"""Quantities: one number with its unit, such as an ejection fraction in percent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Grid
from ..data.atomic_files import write_text
from ._kind import Agreement, AnswerKind, Destination, Settings


@dataclass(frozen=True)
class Quantity:
    """A number and its unit."""

    value: float
    unit: str = ""


class Quantities(AnswerKind):
    """Decoded from one number; several windows of one image say their mean."""

    type = Quantity
    outputs = ("value",)
    formats = ("json",)
    settings = ("unit",)

    def example(self, grid: Grid, seed: int = 0) -> Quantity:
        return Quantity(float(len(grid.shape) * 20 + seed), "%")

    def join(self, values: Sequence[Quantity], windows: Sequence[Grid], grid: Grid, settings: Settings) -> Quantity:
        del windows, grid, settings
        return Quantity(float(np.mean([v.value for v in values])), values[0].unit)

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> Quantity:
        del grid
        return Quantity(float(np.asarray(outputs[0]).reshape(())), str(settings.get("unit", "")))

    def write(self, value: Quantity, to: Destination) -> list[Path]:
        write_text(to.path(".json"), json.dumps(self.summary(value)) + "\n")
        return [to.path(".json")]

    def summary(self, value: Quantity) -> dict[str, Any]:
        return {"value": value.value, "unit": value.unit}

    def compare(self, pairs: Sequence[tuple[Quantity, Quantity]]) -> Agreement:
        largest = max(abs(a.value - b.value) for a, b in pairs)
        return Agreement(largest, len(pairs), {"largest_difference": largest})


THIS = Quantities()
