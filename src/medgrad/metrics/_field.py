"""Shared by the registration metrics: corresponding points, warped labels and images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.grid import Grid
from ..data.transform import Transform, identity, interpolate, jacobian, moved_labels, voxels
from ..data.types import Deformation, Image, LabelMap, Landmarks, Pair
from .dice import compute as dice_of

Known = Deformation | Pair


def distances(truth: Known, answer: Deformation, region: LabelMap | None) -> tuple[NDArray[np.float64], ...]:
    """Give the distance of each known point from its target after and before registration, in mm.

    Both are empty where the truth is a pair of label maps. A region leaves out what lies outside it.
    """
    fixed, moving = corresponding(truth)
    if region is not None and len(fixed):
        inside = interpolate(region.array, region.grid, fixed, order=0, outside=0) != 0
        fixed, moving = fixed[inside], moving[inside]
    if not len(fixed):
        return np.zeros(0), np.zeros(0)
    ends = ends_of(answer, fixed)
    return np.linalg.norm(ends - moving, axis=-1), np.linalg.norm(fixed - moving, axis=-1)


def corresponding(truth: Known) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give (n, dims) points of the fixed image and where they lie in the moving one."""
    if isinstance(truth, Deformation):
        points = voxels(truth.grid).reshape(-1, truth.grid.dims)
        return points, points + truth.field.reshape(points.shape)
    if isinstance(truth.fixed, Landmarks) and isinstance(truth.moving, Landmarks):
        if truth.fixed.points.shape != truth.moving.points.shape:
            raise ValueError(
                f"The fixed image has {len(truth.fixed.points)} landmarks and the moving one "
                f"{len(truth.moving.points)}. Give those that both have, in the same order."
            )
        return truth.fixed.points, truth.moving.points
    return np.zeros((0, 1)), np.zeros((0, 1))


def ends_of(answer: Deformation, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tell where an answer takes world points; beyond its grid its edge goes on."""
    way = [interpolate(f, answer.grid, points) for f in np.moveaxis(answer.field, -1, 0)]
    return points + np.stack(way, axis=-1)


def overlap(truth: Known, answer: Deformation, region: LabelMap | None) -> dict[str, float | None]:
    """Give the Dice of each label after warping the moving labels; empty where the truth has no labels."""
    if not isinstance(truth, Pair) or not isinstance(truth.fixed, LabelMap) or not isinstance(truth.moving, LabelMap):
        return {}
    moved = moved_labels(truth.moving, on_grid(answer, truth.fixed.grid))
    found = dice_of(
        truth.fixed, LabelMap(moved.array, truth.fixed.grid, truth.fixed.names or moved.names), region=region
    )
    return {name.replace("dice", "moved_dice"): v for name, v in found.items() if name.startswith("dice/")}


def likeness(truth: Known, answer: Deformation, region: LabelMap | None) -> tuple[float, float] | None:
    """Give the correlation of two images after and before registration; None where the truth has no images.

    Elements that the second image does not reach do not count.
    """
    if not isinstance(truth, Pair) or not isinstance(truth.fixed, Image) or not isinstance(truth.moving, Image):
        return None
    still = truth.fixed.planes[0]
    counts = np.ones(still.shape, bool) if region is None else region.array != 0
    points, image = voxels(truth.fixed.grid), truth.moving
    moved = []
    for deformation in (answer, identity(truth.fixed.grid)):
        ends = on_grid(deformation, truth.fixed.grid).to_moving(points)
        seen = interpolate(image.planes[0].astype(np.float32), image.grid, ends, outside=np.nan)
        counts &= np.isfinite(seen)
        moved.append(seen)
    after, before = (correlation(still[counts], m[counts]) for m in moved)
    return after, before


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Give Pearson's correlation; 0 where one of both is constant, or there is nothing."""
    if not a.size:
        return 0.0
    a, b = (v.astype(float) - v.mean() for v in (a, b))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0


def on_grid(answer: Deformation, grid: Grid) -> Transform:
    """Give an answer as a transform on a grid, which may be another than its own."""
    transform = exact(answer) if answer.grid.is_close(grid) else Transform.of(answer)
    return Transform(transform.matrix, grid, bend_on(transform, grid))


def exact(answer: Deformation) -> Transform:
    """Turn a deformation into a transform without a linear part."""
    n = answer.grid.dims
    return Transform(tuple(tuple(float(i == j) for j in range(n + 1)) for i in range(n + 1)), answer.grid, answer.field)


def bend_on(transform: Transform, grid: Grid) -> NDArray[np.float32] | None:
    """Give the bend of a transform on another grid."""
    if transform.bend is None or transform.grid == grid:
        return transform.bend
    return transform.bent(voxels(grid)).astype(np.float32)


def growth_inside(answer: Deformation, region: LabelMap | None) -> NDArray[np.float64]:
    """Give the Jacobian determinant of every element, or of those in a region on the same grid."""
    found = jacobian(answer.field, answer.grid)
    return found[region.array != 0] if region is not None and region.array.shape == found.shape else found.ravel()
