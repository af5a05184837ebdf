"""The step log ``steps.jsonl``: one JSON line per training step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ...data.atomic_files import write_text
from ...data.run_files import read_steps
from ..compute.distributed import ProcessGroup
from .loop import TrainingStep
from .trackers import LogFigures


@dataclass(frozen=True)
class StepLog:
    """Writes ``steps.jsonl``; only rank 0 writes."""

    path: Path
    processes: ProcessGroup
    trackers: tuple[LogFigures, ...] = ()

    def resume(self, steps_done: int) -> list[dict[str, Any]]:
        """Drop the lines of steps that are trained again, and return the others to every process."""
        kept: list[dict[str, Any]] = []
        if self.processes.is_main:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in read_steps(self.path) if line["step"] < steps_done]
            if self.path.exists():
                write_text(self.path, "".join(f"{json.dumps(line)}\n" for line in kept))
        return self.processes.broadcast(kept) if steps_done else []

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line to the file at once, and pass its figures to the trackers."""
        if not self.processes.is_main:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        for track in self.trackers:
            track(line["step"], flatten_figures(line))


def flatten_figures(line: Mapping[str, Any]) -> dict[str, float]:
    """Flatten a line's numbers: ``loss/dice``, ``valid/dice/mean``, ``rate``."""
    flat: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}/{k}": v for k, v in value.items() if isinstance(v, (int, float))}
        elif isinstance(value, (int, float)) and key != "step":
            flat[key] = float(value)
    return flat


def step_to_line(step: TrainingStep, layer_stats: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Convert a step and the statistics of the layers to plain values for JSON."""
    loss = {k: v for k, v in step.terms.items() if "/" not in k}
    seen = {k: v for k, v in step.terms.items() if "/" in k}
    line: dict[str, Any] = {
        "step": step.number,
        "seconds": round(step.seconds, 4),
        "rate": step.rate,
        "loss": loss,
        **seen,
    }
    if step.is_skipped:
        line["skipped"] = True
    found: dict[str, Any] = json_safe(line if not layer_stats else line | {"health": layer_stats})
    return found


def json_safe(value: Any) -> Any:
    """Convert numbers that JSON lacks (inf, nan) to strings.

    >>> json_safe({"loss": {"dice": float("nan")}})
    {'loss': {'dice': 'nan'}}
    """
    if isinstance(value, Mapping):
        return {k: json_safe(v) for k, v in value.items()}
    return str(value) if isinstance(value, float) and not isfinite(value) else value
