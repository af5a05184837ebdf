"""Ways to fill the unknown elements of an image of one channel from the known ones; spacing is in mm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, sparse

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Filler = Callable[[Array, Mask, Sequence[float]], Array]

SHALLOW = 3
"""Holes no deeper than so many elements are solved together; a deeper one by itself, with a preconditioner."""
TOLERANCE = 1e-5
MOST_STEPS = 400
WIDTHS = tuple(0.7 * 1.5**step for step in range(16))
"""Deviations of the Gaussians of ``smooth``, in the smallest spacing; each element takes the first that suffices."""
ENOUGH = 0.15
"""The share of a Gaussian's weight that must be known."""


def nearest(values: Array, unknown: Mask, spacing: Sequence[float]) -> Array:
    """Give each unknown element the value of the nearest known one."""
    index = ndimage.distance_transform_edt(unknown, sampling=spacing, return_distances=False, return_indices=True)
    filled: Array = values[tuple(index)]
    return filled


def interpolate(values: Array, unknown: Mask, spacing: Sequence[float]) -> Array:
    """Interpolate linearly along each axis, and average the axes by one over the squared gap in mm.

    An element that has known ones on both sides along no axis gets the value of the nearest known one.
    """
    total, weights = np.zeros(values.shape), np.zeros(values.shape)
    for axis, size in enumerate(spacing):
        before, after = (known_along(unknown, axis, is_reversed=b) for b in (False, True))
        is_between = unknown & (before >= 0) & (after >= 0)
        place = np.arange(values.shape[axis]).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        gap = np.where(is_between, after - before, 1)
        low, high = (np.take_along_axis(values, np.maximum(i, 0), axis) for i in (before, after))
        weight = is_between / (gap * size) ** 2
        total += weight * (low + (high - low) * ((place - before) / gap))
        weights += weight
    between = total / np.where(weights > 0, weights, 1)
    return np.where(unknown, np.where(weights > 0, between, nearest(values, unknown, spacing)), values)


def known_along(unknown: Mask, axis: int, *, is_reversed: bool) -> NDArray[np.intp]:
    """Give the index along an axis of the last known element before each, or after it; -1 where there is none."""
    n = unknown.shape[axis]
    place = np.arange(n).reshape([-1 if a == axis else 1 for a in range(unknown.ndim)])
    if is_reversed:
        found = np.where(unknown, n, place)
        after = np.flip(np.minimum.accumulate(np.flip(found, axis), axis=axis), axis)
        return np.where(after == n, -1, after)
    before: NDArray[np.intp] = np.maximum.accumulate(np.where(unknown, -1, place), axis=axis)
    return before


def smooth(values: Array, unknown: Mask, spacing: Sequence[float]) -> Array:
    """Average the known elements around by a Gaussian, as wide as is needed to see enough of them."""
    filled, left = nearest(values, unknown, spacing), unknown.copy()
    for width in WIDTHS:
        sigmas = [width * min(spacing) / size for size in spacing]
        weight = ndimage.gaussian_filter((~unknown).astype(np.float64), sigmas, mode="constant", truncate=3)
        here = left & (weight > ENOUGH)
        if here.any():
            total = ndimage.gaussian_filter(np.where(unknown, 0.0, values), sigmas, mode="constant", truncate=3)
            filled[here] = total[here] / weight[here]
            left &= ~here
        if not left.any():
            break
    return filled


def harmonic(values: Array, unknown: Mask, spacing: Sequence[float]) -> Array:
    """Solve Laplace's equation with the known values around: the least squared slope."""
    return minimise(values, unknown, spacing, power=1)


def biharmonic(values: Array, unknown: Mask, spacing: Sequence[float]) -> Array:
    """Solve the biharmonic equation: the least squared Laplacian, with the image mirrored at its edge."""
    return minimise(values, unknown, spacing, power=2)


def minimise(values: Array, unknown: Mask, spacing: Sequence[float], *, power: int) -> Array:
    """Solve for the unknown elements at which a power of the Laplacian is 0."""
    filled = np.where(unknown, nearest(values, unknown, spacing), values)
    rates = [(min(spacing) / size) ** 2 for size in spacing]
    numbers, count = ndimage.label(ndimage.binary_dilation(unknown, np.ones((3,) * values.ndim)))
    boxes = ndimage.find_objects(numbers)
    depth = ndimage.distance_transform_cdt(unknown)
    deepest = ndimage.maximum(depth, numbers, np.arange(1, count + 1))
    shallow = unknown.copy()
    for number in np.flatnonzero(np.atleast_1d(deepest) > SHALLOW) + 1:
        box = tuple(
            slice(max(0, s.start - 2), min(n, s.stop + 2)) for s, n in zip(boxes[number - 1], values.shape, strict=True)
        )
        hole = unknown[box] & (numbers[box] == number)
        solve_in_box(filled[box], hole, rates, power)
        shallow[box] &= ~hole
    if shallow.any():
        solve_scattered(filled, shallow, rates, power)
    return filled


def laplacian(values: Array, rates: Sequence[float]) -> Array:
    """Give the negated Laplacian by second differences, with the array mirrored at its edge."""
    made = np.zeros_like(values)
    for axis, rate in enumerate(rates):
        flow = rate * np.diff(values, axis=axis)
        head, tail = (*(slice(None),) * axis, slice(None, -1)), (*(slice(None),) * axis, slice(1, None))
        made[head] -= flow
        made[tail] += flow
    return made


def solve_in_box(values: Array, unknown: Mask, rates: Sequence[float], power: int) -> None:
    """Solve for one hole, in place, by conjugate gradients preconditioned by a cosine transform of its box."""
    whole, gains = np.zeros(values.shape), np.zeros((1,) * values.ndim)
    for axis, (n, rate) in enumerate(zip(values.shape, rates, strict=True)):
        along = 4 * rate * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2
        gains = gains + along.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    gains = (gains + gains[gains > 0].min()) ** power

    def apply(x: Array) -> Array:
        whole[unknown] = x
        made = laplacian(whole, rates)
        return (laplacian(made, rates) if power == 2 else made)[unknown]

    def precondition(x: Array) -> Array:
        whole[unknown] = x
        made: Array = fft.idctn(fft.dctn(whole, norm="ortho") / gains, norm="ortho")[unknown]
        return made

    known = laplacian(np.where(unknown, 0.0, values), rates)
    side = -(laplacian(known, rates) if power == 2 else known)[unknown]
    values[unknown] = conjugate_gradients(apply, precondition, side, values[unknown])


def solve_scattered(values: Array, unknown: Mask, rates: Sequence[float], power: int) -> None:
    """Solve for many shallow holes, in place, by conjugate gradients on a sparse matrix."""
    rows = ndimage.binary_dilation(unknown) if power == 2 else unknown
    matrix = laplacian_matrix(rows, unknown, rates)
    known = -laplacian(np.where(unknown, 0.0, values), rates)[rows]
    side = matrix.T @ known if power == 2 else known
    matrix = matrix.T @ matrix if power == 2 else matrix
    scale = 1 / matrix.diagonal()
    values[unknown] = conjugate_gradients(lambda x: matrix @ x, lambda x: scale * x, side, values[unknown])


def laplacian_matrix(rows: Mask, columns: Mask, rates: Sequence[float]) -> sparse.csr_array:
    """Give the rows and columns of ``laplacian`` at two sets of elements, the first of which holds the second."""
    row, column = np.full(rows.shape, -1), np.full(rows.shape, -1)
    row[rows] = np.arange(np.count_nonzero(rows))
    column[columns] = np.arange(np.count_nonzero(columns))
    entries = []
    for axis, rate in enumerate(rates):
        ends = (*(slice(None),) * axis, slice(None, -1)), (*(slice(None),) * axis, slice(1, None))
        for here, there in (ends, ends[::-1]):
            for other, sign in ((here, rate), (there, -rate)):
                r, c = row[here], column[other]
                both = (r >= 0) & (c >= 0)
                entries.append((r[both], c[both], np.full(np.count_nonzero(both), sign)))
    r, c, weight = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    shape = (np.count_nonzero(rows), np.count_nonzero(columns))
    return sparse.csr_array((weight, (r, c)), shape=shape)


def conjugate_gradients(
    apply: Callable[[Array], Array], precondition: Callable[[Array], Array], side: Array, start: Array
) -> Array:
    """Solve a symmetric system from a start, until the preconditioned residual has fallen by ``TOLERANCE``."""
    found, rest = start.copy(), side - apply(start)
    better = precondition(rest)
    along, size = better.copy(), float(rest @ better)
    enough = TOLERANCE**2 * size
    for _ in range(MOST_STEPS):
        if size <= enough or size <= 0:
            break
        pushed = apply(along)
        step = size / float(along @ pushed)
        found += step * along
        rest -= step * pushed
        better = precondition(rest)
        following = float(rest @ better)
        along *= following / size
        along += better
        size = following
    return found


FILLERS: Mapping[str, Filler] = {
    "interpolate": interpolate,
    "biharmonic": biharmonic,
    "harmonic": harmonic,
    "smooth": smooth,
    "nearest": nearest,
}
