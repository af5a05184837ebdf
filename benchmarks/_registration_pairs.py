"""Pairs made of real images of five kinds by a warp that is known everywhere, each by a seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from medgrad.data import Grid, Image

Array = NDArray[Any]
Rng = np.random.Generator

DATA = Path(os.environ.get("MEDGRAD_DATA", Path(__file__).parents[2] / "shared" / "data"))
FLAT = {"retina": 290, "histology": 380}  # the most pixels a side
VOXELS, APART, KNOTS = 190_000, 1.7, 32
LEAST_JACOBIAN, MOST_JACOBIAN, IN_VIEW = 0.2, 5.0, 0.75
DEGREES, SCALE, SHIFT = 10.0, 0.1, 0.05
DISPLACEMENT = (0.02, 0.30)  # the largest, as a share of the mean side
NOISE, BIAS, GAMMA = (0.01, 0.04), 0.2, (0.6, 1.6)


@dataclass(frozen=True)
class Original:
    """An image from 0 to 1, where it lies, which elements show the body, and what is seen beside the image.

    Where ``beside`` is None, the edge of the image goes on.
    """

    array: Array
    grid: Grid
    body: Array
    beside: float | None


def pair(kind: str, seed: int) -> tuple[Image, Image, Array, Array]:
    """Give the fixed and the moving image, the truth, and the elements of the fixed image on which an error counts.

    The truth (*shape, dims) is where each point of the fixed image lies in the moving one, as a displacement in world
    mm; it is exact, since the fixed image was sampled there. What counts is the body, where the truth lies inside the
    moving image.
    """
    from medgrad.data import Image

    rng = np.random.default_rng((list(KINDS).index(kind), seed))
    seen = KINDS[kind](rng, seed)
    grid = seen.grid
    way = warp(rng, grid.shape, grid.spacing, seen.body)
    ends = indices(grid.shape) + way / np.array(grid.spacing)
    fixed = sampled(seen, ends)
    inside = looked_up(seen.body.astype(np.uint8), ends, order=0, beside=0.0) > 0
    moving = (rescanned(rng, seen) if seed % 2 else rescanned(rng, seen, monotone=True)).astype(np.float32)
    truth = (way @ grid.directions.T).astype(np.float32)
    return Image(fixed.astype(np.float32), grid), Image(moving, grid), truth, inside & within(ends, grid.shape)


def hippocampus(rng: Rng, _: int) -> Original:
    """Read a crop of the brain about a hippocampus, all of which counts."""
    import nibabel

    from medgrad.data.grid import Grid, matrix_to_tuples

    found = nibabel.load(picked(rng, "seg3d_hippocampus/images/*.nii.gz"))
    array = stretched(np.asarray(found.dataobj, float))
    return Original(array, Grid(array.shape, matrix_to_tuples(found.affine)), np.ones(array.shape, bool), None)


def flair(rng: Rng, _: int) -> Original:
    """Read a head in large voxels, whose slices lie further apart than its columns and rows."""
    import nibabel

    from medgrad.data.grid import Grid, matrix_to_tuples

    found = nibabel.load(picked(rng, "longitudinal_ms/patient*/study*_FLAIR.nii.gz"))
    whole = stretched(np.asarray(found.dataobj, float))
    box = boxed(largest(ndimage.gaussian_filter(whole, (3, 3, 0)) > 0.1), (8, 8, 0))
    array = whole[box]
    mm = np.array(found.header.get_zooms()[:3], float)
    wide = (array.size * mm.prod() / VOXELS / APART) ** (1 / 3)
    step = np.array([wide, wide, APART * wide]) / mm
    array = ndimage.gaussian_filter(array, 0.45 * (step - 1))
    shape = tuple(int((s - 1) / t) + 1 for s, t in zip(array.shape, step, strict=True))
    array = stretched(ndimage.affine_transform(array, step, output_shape=shape, order=1))
    affine = found.affine @ moved_to([b.start for b in box]) @ np.diag([*step, 1.0])
    body = largest(ndimage.gaussian_filter(array, (1, 1, 0)) > 0.1)
    return Original(array, Grid(shape, matrix_to_tuples(affine)), body, 0.0)


def retina(rng: Rng, _: int) -> Original:
    """Read the green of a photograph of a retina, or all its colours as grey."""
    path = picked(rng, "seg2d_drive/images/*.png")
    view = narrowed(path.parents[1] / "fov" / path.name, FLAT["retina"])[..., 0] > 127
    colours = narrowed(path, FLAT["retina"])
    array = colours[..., 1] if rng.random() < 0.5 else colours.mean(axis=-1)
    return flat(np.where(view, array / array[view].max(), 0.0), view, 0.0)


def histology(rng: Rng, _: int) -> Original:
    """Read a stained slice of a lung, as grey."""
    path = picked(rng, "registration/histology_lesion/*.jpg")
    array = stretched(narrowed(path, FLAT["histology"]).mean(axis=-1))
    glass = float(np.quantile(array, 0.95))
    body = largest(ndimage.gaussian_filter(array, 3.0) < glass - 0.06)
    return flat(array, ndimage.binary_dilation(body, iterations=2), glass)


def phantom(_: Rng, seed: int) -> Original:
    """Scan a synthetic chest in large voxels."""
    from medgrad.data.cohorts.phantom import Phantom, make_patient

    made = Phantom(seed=11, dates=(1, 1), shape=(64, 64, 44), spacing_mm=(3.75, 3.75, 4.36))
    image = make_patient(made, seed).studies[0].image
    body = largest(image.array > -500)
    return Original(np.clip((image.array + 1000.0) / 1500.0, 0.0, 1.0), image.grid, body, 0.0)


KINDS: dict[str, Callable[[Rng, int], Original]] = {
    "hippocampus": hippocampus,
    "flair": flair,
    "retina": retina,
    "histology": histology,
    "phantom": phantom,
}


def warp(rng: Rng, shape: tuple[int, ...], spacing: tuple[float, ...], body: Array) -> Array:
    """Draw a displacement (*shape, dims) in mm along the axes: smooth, no fold, and most of the body stays in view.

    Its largest displacement in the body is drawn first. A turn, a scaling and a shift are a part of it, as large as it
    allows; the rest is smooth noise, as fine as it can be without squeezing or swelling a place more than five times.
    """
    side = float(np.mean(np.array(shape) * spacing))
    most = rng.uniform(*DISPLACEMENT) * side
    while True:
        straight = linear_way(rng, shape, spacing)
        straight *= min(1.0, 0.5 * most / longest(straight[body]))
        white = rng.normal(size=(2, *[min(s, KNOTS) for s in shape], len(shape)))
        for width in rng.uniform(0.1, 0.2) * side * 1.3 ** np.arange(6):
            way = reaching(straight, bend(white, width, shape, spacing), body, most)
            grown = jacobian(way, spacing)
            if grown.min() > LEAST_JACOBIAN and grown.max() < MOST_JACOBIAN:
                ends = indices(shape) + way / np.array(spacing)
                shown = looked_up(body.astype(np.uint8), ends, order=0, beside=0.0) * grown
                if shown.sum() > IN_VIEW * body.sum() and within(ends, shape).mean() > IN_VIEW:
                    return way
                break


def linear_way(rng: Rng, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Array:
    """Draw a turn about the middle, a scaling of each axis and a shift, as a displacement in mm."""
    n, size = len(shape), np.array(shape) * spacing
    matrix = np.eye(n)
    for i, j in [(0, 1), (1, 2), (0, 2)][: 1 if n == 2 else 3]:
        angle = np.deg2rad(rng.uniform(-DEGREES, DEGREES)) / (1 if n == 2 else np.sqrt(3))
        turn = np.eye(n)
        turn[np.ix_([i, j], [i, j])] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = turn @ matrix
    matrix = matrix @ np.diag(1 + rng.uniform(-SCALE, SCALE, n))
    about = (indices(shape) - (np.array(shape) - 1) / 2) * spacing
    found: Array = about @ (matrix - np.eye(n)).T + rng.uniform(-SHIFT, SHIFT, n) * size.mean()
    return found


def bend(white: Array, width: float, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Array:
    """Give noise smoothed by ``width`` mm, with a third as much of what is half as wide; its longest vector is 1.

    The noise is given at a few knots an axis, and looked up between them.
    """
    knots = np.array(white.shape[1:-1])
    apart = (np.array(shape) - 1) * spacing / (knots - 1)
    found = np.zeros(white.shape[1:])
    for noise, share, wide in zip(white, (1.0, 0.33), (width, width / 2), strict=True):
        one = ndimage.gaussian_filter(noise, [*(wide / apart), 0.0], mode="wrap")
        found += share * one / longest(one)
    at = np.moveaxis(indices(shape) * (knots - 1) / (np.array(shape) - 1), -1, 0)
    found = np.stack([ndimage.map_coordinates(f, at, mode="nearest") for f in np.moveaxis(found, -1, 0)], axis=-1)
    return found / longest(found)


def reaching(straight: Array, bent: Array, body: Array, most: float) -> Array:
    """Add as much of a bend that the largest displacement of the body is ``most``."""
    low, high, line, curve = 0.0, 4 * most, straight[body], bent[body]
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if longest(line + middle * curve) < most else (low, middle)
    return straight + low * bent


def rescanned(rng: Rng, seen: Original, *, monotone: bool = False) -> Array:
    """Give an image in another contrast, with a bias field and noise; what is dark about a body stays so."""
    array = seen.array
    if monotone:
        array = array ** rng.uniform(*GAMMA)
    elif rng.random() < 0.5:
        array = (1 - 0.85 * array) * (np.clip(array / 0.12, 0, 1) if seen.beside == 0 else 1.0)
    else:
        array = np.interp(array, [0.0, rng.uniform(0.35, 0.65), 1.0], [0.0, 1.0, rng.uniform(0.1, 0.4)])
    shape, spacing = array.shape, seen.grid.spacing
    side = float(np.mean(np.array(shape) * spacing))
    field = bend(rng.normal(size=(2, *[min(s, KNOTS) for s in shape], 1)), 0.25 * side, shape, spacing)[..., 0]
    return array * (1 + BIAS * field) + rng.normal(0, rng.uniform(*NOISE), array.shape)


def sampled(seen: Original, ends: Array) -> Array:
    """Look an image up by cubic splines at (..., dims) indices."""
    if seen.beside is None:
        found = ndimage.map_coordinates(seen.array, np.moveaxis(ends, -1, 0), order=3, mode="nearest")
    else:
        found = looked_up(seen.array, ends, order=3, beside=seen.beside)
    return np.clip(found, 0.0, 1.0)


def looked_up(array: Array, ends: Array, *, order: int, beside: float) -> Array:
    """Look an array up at (..., dims) indices; beside it there is one value."""
    return ndimage.map_coordinates(array, np.moveaxis(ends, -1, 0), order=order, mode="constant", cval=beside)


def indices(shape: tuple[int, ...]) -> Array:
    """Give the index of every element: (*shape, dims)."""
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(float)


def within(ends: Array, shape: tuple[int, ...]) -> Array:
    """Tell which indices lie in an array of a shape."""
    return ((ends >= 0) & (ends <= np.array(shape) - 1)).all(axis=-1)


def longest(way: Array) -> float:
    """Give the length of the longest vector."""
    return float(np.linalg.norm(way, axis=-1).max())


def jacobian(way: Array, spacing: tuple[float, ...]) -> Array:
    """Give how many times larger each element becomes."""
    n = len(spacing)
    slopes = np.stack([np.stack(np.gradient(way[..., i], *spacing), axis=-1) for i in range(n)], axis=-2)
    return np.linalg.det(np.eye(n) + slopes)


def picked(rng: Rng, pattern: str) -> Path:
    """Pick a file."""
    paths = sorted(DATA.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"There is no {pattern} under {str(DATA)!r}. Set MEDGRAD_DATA to where the data lie.")
    return paths[int(rng.integers(len(paths)))]


def narrowed(path: Path, most: int) -> Array:
    """Read a picture (rows, columns, channels) of at most so many pixels a side, from 0 to 255."""
    from PIL import Image as Picture

    with Picture.open(path) as picture:
        share = min(1.0, most / max(picture.size))
        size = (round(picture.width * share), round(picture.height * share))
        return np.asarray(picture.convert("RGB").resize(size, Picture.Resampling.BOX), float)


def flat(array: Array, body: Array, beside: float) -> Original:
    """Give a picture on a grid of pixels."""
    from medgrad.data import Grid

    return Original(array, Grid.from_shape(array.shape, has_spacing=False), body, beside)


def stretched(array: Array) -> Array:
    """Bring intensities between 0 and 1; a few in a thousand beyond either end are cut."""
    low, high = np.quantile(array, (0.002, 0.998))
    return np.clip((array - low) / (high - low), 0.0, 1.0)


def largest(mask: Array) -> Array:
    """Give the largest component, without holes within a slice."""
    found, count = ndimage.label(mask)
    if count > 1:
        found = found == 1 + int(np.argmax(ndimage.sum_labels(mask, found, np.arange(1, count + 1))))
    found = found > 0
    if found.ndim == 2:
        return np.asarray(ndimage.binary_fill_holes(found))
    return np.stack([ndimage.binary_fill_holes(found[..., k]) for k in range(found.shape[-1])], axis=-1)


def boxed(mask: Array, margin: tuple[int, ...]) -> tuple[slice, ...]:
    """Give the box about a mask, with a margin of elements."""
    (box,) = ndimage.find_objects(mask.astype(int))
    return tuple(
        slice(max(0, b.start - m), min(s, b.stop + m)) for b, m, s in zip(box, margin, mask.shape, strict=True)
    )


def moved_to(start: list[int]) -> Array:
    """Give the matrix from the indices of a box to those of the whole."""
    matrix = np.eye(4)
    matrix[:3, 3] = start
    return matrix
