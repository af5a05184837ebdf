"""The relative volume error, and the signed difference of volumes."""

from __future__ import annotations

from ..data.grid import Grid
from ..data.types import LabelMap
from ._labels import pairs, with_mean
from ._metric import Figure, Metric


def size_of_one(grid: Grid) -> tuple[str, float]:
    """Give the figure that a size is told in and the size of one element: ml, square mm, or pixels."""
    if not grid.measured:
        return "size_bias_px", 1.0
    return ("volume_bias_ml", grid.voxel_mm / 1000) if grid.dims == 3 else ("area_bias_mm2", grid.voxel_mm)


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``volume_error/<label>``, relative to the truth and unsigned, and the signed difference of the sizes.

    The difference is ``volume_bias_ml``, ``area_bias_mm2`` in a flat image, or ``size_bias_px`` where the grid is not
    measured; it is positive where the answer is larger. The relative error is None where the truth is empty.
    """
    figure, one = size_of_one(truth.grid)
    errors: dict[str, float | None] = {}
    biases: dict[str, float | None] = {}
    for pair in pairs(truth, answer, region):
        size, more = int(pair.truth.sum()), int(pair.answer.sum()) - int(pair.truth.sum())
        errors[f"volume_error/{pair.label}"] = abs(more) / size if size else None
        biases[f"{figure}/{pair.label}"] = None if pair.both_empty else more * one
    return {**with_mean("volume_error", errors), **biases}


def bias(unit: str) -> Figure:
    """Describe a signed difference of sizes."""
    return Figure("zero", "The size of the answer minus that of the truth.", worst=None, unit=unit, bounds=None)


THIS = Metric(
    on="labels",
    compute=compute,
    figures={
        "volume_error": Figure(
            "lower",
            "The difference of the sizes of answer and truth over the size of the truth, without sign. A case in which "
            "the truth is empty does not count.",
            worst=1.0,
            bounds=None,
        ),
        "volume_bias_ml": bias("ml"),
        "area_bias_mm2": bias("mm²"),
        "size_bias_px": bias("px"),
    },
)
