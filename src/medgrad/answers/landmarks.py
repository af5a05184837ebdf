"""Landmarks: named points in the patient's space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Grid, Landmarks
from ..data.formats import write_landmarks
from ._kind import Agreement, AnswerKind, Destination, Settings


class LandmarksKind(AnswerKind):
    """Decoded from one heat map a point, (points, *shape): each point is where its map is highest."""

    type = Landmarks
    outputs = ("heat_maps",)
    formats = ("csv",)
    tolerance = {"float32": 0.01, "int8": 1.0}

    def example(self, grid: Grid, seed: int = 0) -> Landmarks:
        places = np.random.default_rng(seed).uniform(0, np.array(grid.shape) - 1, (3, grid.dims))
        return Landmarks(grid.to_world(places), ("apex", "base", "tip"))

    def join(self, values: Sequence[Landmarks], windows: Sequence[Grid], grid: Grid, settings: Settings) -> Landmarks:
        del windows, grid, settings
        return Landmarks(np.mean([v.points for v in values], axis=0), values[0].names)

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> Landmarks:
        maps = np.asarray(outputs[0])
        places = [np.unravel_index(int(heat.argmax()), heat.shape) for heat in maps]
        return Landmarks(
            grid.to_world(np.array(places, float).reshape(-1, grid.dims)), tuple(settings.get("labels", ()))
        )

    def write(self, value: Landmarks, to: Destination) -> list[Path]:
        return [write_landmarks(to.path(".csv"), value, to.load_image().grid)]

    def needs_image(self, file_format: str) -> bool:
        return True

    def summary(self, value: Landmarks) -> dict[str, Any]:
        names = value.names or tuple(str(i) for i in range(1, len(value.points) + 1))
        return {name: [round(float(v), 3) for v in point] for name, point in zip(names, value.points, strict=True)}

    def compare(self, pairs: Sequence[tuple[Landmarks, Landmarks]]) -> Agreement:
        """Give the largest distance between two places of one point, in mm."""
        largest = max(float(np.linalg.norm(a.points - b.points, axis=-1).max(initial=0)) for a, b in pairs)
        return Agreement(largest, len(pairs), {"largest_distance_mm": largest})


THIS = LandmarksKind()
