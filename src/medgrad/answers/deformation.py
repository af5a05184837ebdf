"""Deformations: where each point of the fixed image lies in the moving one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Deformation, Grid, Image, Source, concatenate_answers
from ..data.display import Plane, upright
from ..errors import MedgradError
from ._kind import Agreement, AnswerKind, Destination, Settings, largest_difference

HOW = "A run that registers answers about two images: medgrad register FIXED MOVING --run RUN."


class Deformations(AnswerKind):
    """Decoded from displacements (dims, *shape) in elements."""

    type = Deformation
    outputs = ("displacement",)

    def example(self, grid: Grid, seed: int = 0) -> Deformation:
        return Deformation(np.random.default_rng(seed).normal(0, 2, (*grid.shape, grid.dims)).astype(np.float32), grid)

    def join(
        self, values: Sequence[Deformation], windows: Sequence[Grid], grid: Grid, settings: Settings
    ) -> Deformation:
        del windows, settings
        whole: Deformation = concatenate_answers(values, grid)
        return whole

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> Deformation:
        del settings
        steps = np.moveaxis(np.asarray(outputs[0], np.float32), 0, -1)
        n = grid.dims
        return Deformation((steps @ grid.matrix[:n, :n].T).astype(np.float32), grid)

    def check_format(self, file_format: str, source: Source) -> None:
        raise MedgradError(HOW)

    def write(self, value: Deformation, to: Destination) -> list[Path]:
        raise MedgradError(HOW)

    def summary(self, value: Deformation) -> dict[str, Any]:
        length = np.linalg.norm(value.field, axis=-1)
        return {"mean_mm": float(length.mean()), "largest_mm": float(length.max())}

    def drawn(self, value: Deformation, image: Image, plane: Plane) -> Mapping[str, NDArray[Any]]:
        return {"displacement": upright(np.linalg.norm(value.field[plane], axis=-1), image.grid).astype(np.float32)}

    def compare(self, pairs: Sequence[tuple[Deformation, Deformation]]) -> Agreement:
        largest = largest_difference([(a.field, b.field) for a, b in pairs])
        return Agreement(largest, len(pairs), {"largest_difference_mm": largest})


THIS = Deformations()
