"""Distances between the surfaces of two masks, in the units of the grid, exact and quick.

The surface of a mask is the mask minus its erosion by its nearest neighbours; beyond the array there is nothing, so a
mask that touches the edge of the image has surface there. These are the surfaces of MONAI's metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

SWEEP_REACHES = (4, 11, 40)  # 11 is the farthest that fits in 8 bits, where a sweep costs least
TREE_COST = 10_000  # searching the tree for one element takes about as long as one step over this many


@dataclass(frozen=True)
class Surface:
    """The surface elements of a mask: ``mask`` marks them in a box, ``flat`` are their places in its raveled form.

    ``matrix`` turns index steps into lengths.
    """

    mask: Mask
    flat: Places
    matrix: Numbers

    def points(self, flat: Places) -> Numbers:
        """Give the (n, dims) positions of the elements at raveled places."""
        return np.stack(np.unravel_index(flat, self.mask.shape), axis=1) @ self.matrix.T


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Give the smallest box that holds all that is set, empty if nothing is.

    >>> bounding_box(np.array([[0, 0, 0], [0, 1, 1]], bool))
    (slice(1, 2, None), slice(1, 3, None))
    """
    box: list[slice] = []
    for axis in range(mask.ndim):
        inner = mask[tuple(box)]
        hit = np.flatnonzero(inner.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0))
    return tuple(box)


def surface_mask(mask: Mask) -> Mask:
    """Give the surface of a mask: elements with a neighbour outside it, or at the edge of the array."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        along, inner = mask.swapaxes(0, axis), inside.swapaxes(0, axis)
        inner[1:] &= along[:-1]
        inner[:-1] &= along[1:]
        inner[0] = inner[-1] = False
    return mask & ~inside


def surfaces(a: Mask, b: Mask, matrix: Numbers) -> tuple[Surface, Surface]:
    """Give the surfaces of two masks in the smallest box that holds both; ``matrix`` turns index steps into lengths."""
    box = bounding_box(a | b)
    order, matrix = sweep_order(matrix)
    edges = [np.ascontiguousarray(surface_mask(np.ascontiguousarray(m[box])).transpose(order)) for m in (a, b)]
    first, second = (Surface(e, np.flatnonzero(e), matrix) for e in edges)
    return first, second


def surface_distances(source: Surface, target: Surface) -> Numbers:
    """Give the distance of each element of ``source`` to its nearest one of ``target``, in no order that matters.

    Sweeps over the box find every distance up to some elements exactly, for all at once, and are quicker than a tree
    where much of the box is surface. A tree is searched for the rest, and for grids that cannot be swept.
    """
    left, found = source.flat, []
    for reach in SWEEP_REACHES if can_sweep(target.matrix) else ():
        if len(left) * TREE_COST < target.mask.size * reach:
            break
        near, known = sweep_distances(left, target, reach)
        found.append(known)
        left = left[~near]
    if len(left):
        points = target.points(target.flat)
        tree = cKDTree(points, leafsize=32, balanced_tree=False, compact_nodes=False)
        found.append(tree.query(source.points(left))[0])
    return np.concatenate(found)


def sweep_order(matrix: Numbers) -> tuple[tuple[int, ...], Numbers]:
    """Give the order of axes in which all but the last have the same spacing, where there is one, and its matrix."""
    spacing = np.linalg.norm(matrix, axis=0)
    dims = len(spacing)
    for odd in reversed(range(dims)):
        rest = [a for a in range(dims) if a != odd]
        if all(isclose(spacing[a], spacing[rest[0]]) for a in rest):
            return (*rest, odd), matrix[:, [*rest, odd]]
    return tuple(range(dims)), matrix


def can_sweep(matrix: Numbers) -> bool:
    """Tell whether the axes stand at right angles and all but the last have the same spacing."""
    square = matrix.T @ matrix
    even = np.diag(square)
    sheared = np.abs(square - np.diag(even)).max() > 1e-9 * even.min()
    return not sheared and all(isclose(v, even[0]) for v in even[:-1])


def sweep_distances(flat: Places, target: Surface, reach: int) -> tuple[Mask, Numbers]:
    """Give which elements lie within ``reach`` of ``target``, and their distance: a separable distance transform.

    The squared distance is the least sum of a square along each axis, so one axis is done after another
    (Felzenszwalb and Huttenlocher 2012, eq. 6), in whole squared steps; along the last axis only at the places
    asked for. What begins as ``far`` stays above ``reach`` squared, and none of the sums overflows.
    """
    kind = np.uint8 if reach <= 11 else np.uint16
    far = np.iinfo(kind).max - reach * reach
    field = np.where(target.mask, kind(0), kind(far))
    for axis in range(target.mask.ndim - 1):
        field = axis_distance_transform(field, axis, reach)
    step, last = (float(v) for v in np.linalg.norm(target.matrix, axis=0)[[0, -1]])
    width = target.mask.shape[-1]
    lookup, place = field.ravel(), flat % width
    line = flat - place
    best = lookup[flat] * step**2
    for k in range(1, min(int(reach * step / last + 1e-9), width - 1) + 1):
        # where a step would leave the box it stops at its wall: that is nearer than said, so never too short
        for stop in (np.maximum(place - k, 0), np.minimum(place + k, width - 1)):
            there = line + stop
            np.minimum(best, lookup[there] * step**2 + (k * last) ** 2, out=best)
    near = best <= (reach * step) ** 2 * (1 + 1e-9)
    return near, np.sqrt(best[near])


def axis_distance_transform(field: NDArray[Any], axis: int, reach: int) -> NDArray[Any]:
    """Give the lower envelope of the squared distance within ``reach`` along one axis."""
    least = field.copy()
    along, inner = field.swapaxes(0, axis), least.swapaxes(0, axis)
    for k in range(1, min(reach, len(along) - 1) + 1):
        raised = along + field.dtype.type(k * k)
        np.minimum(inner[k:], raised[:-k], out=inner[k:])
        np.minimum(inner[:-k], raised[k:], out=inner[:-k])
    return least
