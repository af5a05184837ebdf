"""Thick slices: the mean of several, interpolated again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..prepare import Matrix, average_groups, spread_groups
from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation
from ._slices import apply_along, check_slices


@dataclass(frozen=True)
class ThickSlices(Degradation):
    """``p`` of the samples are averaged over ``factor`` slices along an ``axis``, and interpolated cubically again.

    How many slices the first one is the mean of is drawn.
    """

    p: float = 1.0
    factor: int = 4
    axis: int = -1

    def __post_init__(self) -> None:
        check_slices("thick_slices", "factor", self.factor, self.axis)

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied, first = rng.random() < self.p, 1 + int(rng.random() * self.factor)
        return {"first": np.int64(first if is_applied else 0)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def thicken(x: Tensor, rows: Tensor) -> Tensor:
            def there_and_back(n: int, first: int) -> Matrix:
                return thick_and_back(n, self.factor, first)

            return apply_along(x, self.axis, there_and_back, drawn["first"][rows].tolist())

        return apply_to_rows(drawn["first"] > 0, inputs, thicken), targets


def thick_and_back(n: int, factor: int, first: int) -> Matrix:
    """Give the (n, n) matrix that averages slices, of which the first group has so many, and interpolates them."""
    matrix: Matrix = spread_groups(n, factor, first) @ average_groups(n, factor, first)
    return matrix


THIS = ThickSlices
