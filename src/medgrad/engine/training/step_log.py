"""The step log ``steps.jsonl``: one JSON line per training step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ...data.atomic_files import write_text
from ..compute.distributed import Team
from .loop import Step
from .trackers import Track


@dataclass(frozen=True)
class Log:
    """Writes ``steps.jsonl``; only rank 0 writes."""

    path: Path
    team: Team
    trackers: tuple[Track, ...] = ()

    def begin(self, done: int) -> list[dict[str, Any]]:
        """Drop the lines of steps that are trained again, and return the others to every process."""
        kept: list[dict[str, Any]] = []
        if self.team.leads:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in read_lines(self.path) if line["step"] < done]
            if self.path.exists():
                write_text(self.path, "".join(f"{json.dumps(line)}\n" for line in kept))
        return self.team.share(kept) if done else []

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line to the file at once, and pass its figures to the trackers."""
        if not self.team.leads:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        for track in self.trackers:
            track(line["step"], figures_of(line))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the lines of ``steps.jsonl``; one that was cut off in the middle is left out."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "step" in line:
            found.append(line)
    return found


def figures_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Flatten a line's numbers: ``loss/dice``, ``valid/dice/mean``, ``rate``."""
    flat: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}/{k}": v for k, v in value.items() if isinstance(v, (int, float))}
        elif isinstance(value, (int, float)) and key != "step":
            flat[key] = float(value)
    return flat


def line_of(step: Step, health: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Convert a step and the statistics of the layers to plain values for JSON."""
    loss = {k: v for k, v in step.told.items() if "/" not in k}
    seen = {k: v for k, v in step.told.items() if "/" in k}
    line: dict[str, Any] = {
        "step": step.number,
        "seconds": round(step.seconds, 4),
        "rate": step.rate,
        "loss": loss,
        **seen,
    }
    if step.skipped:
        line["skipped"] = True
    found: dict[str, Any] = plain(line if not health else line | {"health": health})
    return found


def plain(value: Any) -> Any:
    """Convert numbers that JSON lacks (inf, nan) to strings.

    >>> plain({"loss": {"dice": float("nan")}})
    {'loss': {'dice': 'nan'}}
    """
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return str(value) if isinstance(value, float) and not isfinite(value) else value
