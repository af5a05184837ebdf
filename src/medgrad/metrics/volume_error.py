"""The relative volume error, and the signed difference of volumes."""

from __future__ import annotations

from ..data.grid import Grid
from ..data.types import LabelMap
from ._labels import add_mean, mask_pairs
from ._metric import Figure, Metric


def element_size(grid: Grid) -> tuple[str, float]:
    """Give the figure that a size is told in and the size of one element: ml, square mm, or pixels."""
    if not grid.has_spacing:
        return "size_bias_px", 1.0
    return (
        ("volume_bias_ml", grid.voxel_volume_mm / 1000) if grid.dims == 3 else ("area_bias_mm2", grid.voxel_volume_mm)
    )


def compute(truth: LabelMap, answer: LabelMap, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``volume_error/<label>``, relative to the truth and unsigned, and the signed difference of the sizes.

    The difference is ``volume_bias_ml``, ``area_bias_mm2`` in a flat image, or ``size_bias_px`` where the grid is not
    measured; it is positive where the answer is larger. The relative error is None where the truth is empty.
    """
    figure, one = element_size(truth.grid)
    errors: dict[str, float | None] = {}
    biases: dict[str, float | None] = {}
    for pair in mask_pairs(truth, answer, region):
        size, more = int(pair.truth.sum()), int(pair.answer.sum()) - int(pair.truth.sum())
        errors[f"volume_error/{pair.label}"] = abs(more) / size if size else None
        biases[f"{figure}/{pair.label}"] = None if pair.both_empty else more * one
    return {**add_mean("volume_error", errors), **biases}


def size_bias_figure(unit: str) -> Figure:
    """Describe a signed difference of sizes."""
    return Figure("zero", "The size of the answer minus that of the truth.", worst=None, unit=unit, bounds=None)


THIS = Metric(
    input_kind="labels",
    compute=compute,
    figures={
        "volume_error": Figure(
            "lower",
            "The difference of the sizes of answer and truth over the size of the truth, without sign. A case in which "
            "the truth is empty does not count.",
            worst=1.0,
            bounds=None,
        ),
        "volume_bias_ml": size_bias_figure("ml"),
        "area_bias_mm2": size_bias_figure("mm²"),
        "size_bias_px": size_bias_figure("px"),
    },
)
