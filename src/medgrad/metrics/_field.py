"""Shared by the registration metrics: corresponding points, warped labels and images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.grid import Grid
from ..data.transform import (
    Transform,
    identity_deformation,
    interpolate,
    jacobian_determinant,
    voxel_positions,
    warp_labels,
)
from ..data.types import Deformation, Image, LabelMap, Landmarks, Pair
from .dice import compute as dice_of

RegistrationTruth = Deformation | Pair


def point_distances(
    truth: RegistrationTruth, answer: Deformation, region: LabelMap | None
) -> tuple[NDArray[np.float64], ...]:
    """Give the distance of each known point from its target after and before registration, in mm.

    Both are empty where the truth is a pair of label maps. A region leaves out what lies outside it.
    """
    fixed, moving = corresponding_points(truth)
    if region is not None and len(fixed):
        inside = interpolate(region.array, region.grid, fixed, order=0, fill_value=0) != 0
        fixed, moving = fixed[inside], moving[inside]
    if not len(fixed):
        return np.zeros(0), np.zeros(0)
    ends = move_points(answer, fixed)
    return np.linalg.norm(ends - moving, axis=-1), np.linalg.norm(fixed - moving, axis=-1)


def corresponding_points(truth: RegistrationTruth) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give (n, dims) points of the fixed image and where they lie in the moving one."""
    if isinstance(truth, Deformation):
        points = voxel_positions(truth.grid).reshape(-1, truth.grid.dims)
        return points, points + truth.field.reshape(points.shape)
    if isinstance(truth.fixed, Landmarks) and isinstance(truth.moving, Landmarks):
        if truth.fixed.points.shape != truth.moving.points.shape:
            raise ValueError(
                f"The fixed image has {len(truth.fixed.points)} landmarks and the moving one "
                f"{len(truth.moving.points)}. Give those that both have, in the same order."
            )
        return truth.fixed.points, truth.moving.points
    return np.zeros((0, 1)), np.zeros((0, 1))


def move_points(answer: Deformation, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tell where an answer takes world points; beyond its grid its edge goes on."""
    way = [interpolate(f, answer.grid, points) for f in np.moveaxis(answer.field, -1, 0)]
    return points + np.stack(way, axis=-1)


def warped_label_dice(
    truth: RegistrationTruth, answer: Deformation, region: LabelMap | None
) -> dict[str, float | None]:
    """Give the Dice of each label after warping the moving labels; empty where the truth has no labels."""
    if not isinstance(truth, Pair) or not isinstance(truth.fixed, LabelMap) or not isinstance(truth.moving, LabelMap):
        return {}
    moved = warp_labels(truth.moving, deformation_on_grid(answer, truth.fixed.grid))
    found = dice_of(
        truth.fixed, LabelMap(moved.array, truth.fixed.grid, truth.fixed.names or moved.names), region=region
    )
    return {name.replace("dice", "warped_dice"): v for name, v in found.items() if name.startswith("dice/")}


def image_correlation(
    truth: RegistrationTruth, answer: Deformation, region: LabelMap | None
) -> tuple[float, float] | None:
    """Give the correlation of two images after and before registration; None where the truth has no images.

    Elements that the second image does not reach do not count.
    """
    if not isinstance(truth, Pair) or not isinstance(truth.fixed, Image) or not isinstance(truth.moving, Image):
        return None
    still = truth.fixed.channels_first[0]
    counts = np.ones(still.shape, bool) if region is None else region.array != 0
    points, image = voxel_positions(truth.fixed.grid), truth.moving
    moved = []
    for deformation in (answer, identity_deformation(truth.fixed.grid)):
        ends = deformation_on_grid(deformation, truth.fixed.grid).to_moving(points)
        seen = interpolate(image.channels_first[0].astype(np.float32), image.grid, ends, fill_value=np.nan)
        counts &= np.isfinite(seen)
        moved.append(seen)
    after, before = (pearson_correlation(still[counts], m[counts]) for m in moved)
    return after, before


def pearson_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Give Pearson's correlation; 0 where one of both is constant, or there is nothing."""
    if not a.size:
        return 0.0
    a, b = (v.astype(float) - v.mean() for v in (a, b))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0


def deformation_on_grid(answer: Deformation, grid: Grid) -> Transform:
    """Give an answer as a transform on a grid, which may be another than its own."""
    transform = as_transform(answer) if answer.grid.is_close(grid) else Transform.from_deformation(answer)
    return Transform(transform.matrix, grid, displacement_on_grid(transform, grid))


def as_transform(answer: Deformation) -> Transform:
    """Turn a deformation into a transform without a linear part."""
    n = answer.grid.dims
    return Transform(tuple(tuple(float(i == j) for j in range(n + 1)) for i in range(n + 1)), answer.grid, answer.field)


def displacement_on_grid(transform: Transform, grid: Grid) -> NDArray[np.float32] | None:
    """Give the bend of a transform on another grid."""
    if transform.displacement is None or transform.grid == grid:
        return transform.displacement
    return transform.displacement_at(voxel_positions(grid)).astype(np.float32)


def jacobian_inside(answer: Deformation, region: LabelMap | None) -> NDArray[np.float64]:
    """Give the Jacobian determinant of every element, or of those in a region on the same grid."""
    found = jacobian_determinant(answer.field, answer.grid)
    return found[region.array != 0] if region is not None and region.array.shape == found.shape else found.ravel()
