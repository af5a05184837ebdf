"""Lost slices: some are kept, and the others interpolated between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..prepare import Matrix, interpolate_kept
from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation
from ._slices import apply_along, check_slices


@dataclass(frozen=True)
class DroppedSlices(Degradation):
    """``p`` of the samples keep one slice of ``every`` along an ``axis``; the others are interpolated linearly.

    With which slice it begins is drawn.
    """

    p: float = 1.0
    every: int = 2
    axis: int = -1

    def __post_init__(self) -> None:
        check_slices("dropped_slices", "every", self.every, self.axis)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        is_applied, first = rng.random() < self.p, int(rng.random() * min(self.every, shape[self.axis % len(shape)]))
        return {"first": np.int64(first if is_applied else -1)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def drop(x: Tensor, rows: Tensor) -> Tensor:
            def keep_some(n: int, first: int) -> Matrix:
                return interpolate_kept(n, range(first, n, self.every))

            return apply_along(x, self.axis, keep_some, drawn["first"][rows].tolist())

        return apply_to_rows(drawn["first"] >= 0, inputs, drop), targets


THIS = DroppedSlices
