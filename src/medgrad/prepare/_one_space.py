"""Bring images of one patient to the grid of the first of them, and tell where each is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from ..data import Grid, Image
from ..errors import FormatError
from ._image_step import fill_from_nearest
from .resample import index_transform, resample_image

Mask = NDArray[np.bool_]
TOUCHING_MM = 0.05
"""Images that are nearer than this are not told how far apart they are."""


def check_comparable(images: Mapping[str, Image]) -> None:
    """Raise unless images have as many axes and channels, and their positions relate to one another."""
    one, first = next(iter(images.items()))
    for other, image in images.items():
        if first.grid.dims != image.grid.dims:
            raise FormatError(
                f"{one!r} has {first.grid.dims} axes, but {other!r} has {image.grid.dims}. "
                "Give flat images alone, or volumes alone."
            )
        if first.channels != image.channels:
            raise FormatError(
                f"{one!r} has {first.channels} channels, but {other!r} has {image.channels}. "
                "Bring both to one number first: by the step channels."
            )
        frames = [i.tags.get("frame_of_reference") for i in (first, image)]
        if all(frames) and frames[0] != frames[1]:
            raise FormatError(
                f"{one!r} lies in the frame of reference {frames[0]}, but {other!r} in {frames[1]}. "
                "Line them up first: with medgrad register."
            )
        has_places = first.grid.has_spacing and image.grid.has_spacing
        if not has_places and first.grid.shape != image.grid.shape:
            raise FormatError(
                f"{one!r} is of {first.grid.shape}, {other!r} of {image.grid.shape}, and no file says how large an "
                "element is, so nothing tells how they lie. Give pictures of one size."
            )


def place_images(images: Mapping[str, Image], order: int) -> dict[str, tuple[Image, Mask]]:
    """Give each image on the grid of the first, of finite values, and where it is known; raise if that is nowhere."""
    check_comparable(images)
    name, first = next(iter(images.items()))
    placed = {}
    for other, image in images.items():
        if not (first.grid.has_spacing and image.grid.has_spacing):
            image = replace(image, grid=first.grid)
        finite = np.isfinite(image.channels_first).all(0)
        if not nearest_elements(np.ones(image.grid.shape, bool), image.grid, first.grid).any():
            raise FormatError(describe_gap(name, other, distance_between(first.grid, image.grid)))
        inside = nearest_elements(finite, image.grid, first.grid)
        planes = [fill_from_nearest(plane, finite) for plane in image.channels_first]
        filled = replace(image, array=planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1))
        placed[other] = resample_image(filled, first.grid, order=order), inside
    return placed


def describe_gap(name: str, other: str, distance_mm: float) -> str:
    """Say that two images do not overlap, or that no middle of an element of the first lies in the other."""
    if distance_mm < TOUCHING_MM:
        return (
            f"No element of {name!r} has its middle in {other!r}, so nothing of that would be seen. "
            "Name the finer image first."
        )
    return (
        f"{name!r} and {other!r} do not overlap: {distance_mm:.1f} mm lie between them. "
        "Give images of one part of one patient, or line them up first: with medgrad register."
    )


def nearest_elements(mask: Mask, source: Grid, target: Grid) -> Mask:
    """Give a mask on another grid, by the element that each of its elements lies in; outside it is false."""
    if source.is_close(target, tolerance_mm=1e-4):
        return mask
    matrix, offset = index_transform(source, target)
    found = ndimage.affine_transform(
        mask.astype(np.uint8), matrix, offset, target.shape, order=0, mode="grid-constant", cval=0
    )
    moved: Mask = found != 0
    return moved


def sides_along(source: Grid, target: Grid) -> list[float]:
    """Give the side of an element of one grid, in mm, along each axis of another.

    >>> sides_along(Grid.from_shape((4, 4), spacing=(1, 5)), Grid.from_shape((4, 4)))
    [1.0, 5.0]
    """
    return [float(side) for side in np.abs(source.directions.T @ target.directions).T @ np.array(source.spacing)]


def distance_between(one: Grid, other: Grid) -> float:
    """Give the least distance in mm between the parts of space that two grids cover; 0 where they touch.

    >>> distance_between(Grid.from_shape((4, 4)), Grid.from_shape((4, 4), origin=(7, 0)))
    3.0
    """
    n = one.dims
    matrix = np.hstack([one.matrix[:n, :n], -other.matrix[:n, :n]])
    shift = other.matrix[:n, n] - one.matrix[:n, n]
    ends = np.array([*one.shape, *other.shape], float) - 0.5
    nearest = optimize.lsq_linear(matrix, shift, (np.full(2 * n, -0.5), ends), tol=1e-12)
    return round(float(np.linalg.norm(matrix @ nearest.x - shift)), 6)
