"""Trace the outlines of a mask: closed polygons along pixel edges, with holes joined to the outline around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Point = tuple[int, int]
Boundary = list[Point]
NEXT_DIRECTIONS: dict[Point, tuple[Point, Point, Point]] = {
    (0, 1): ((1, 0), (0, 1), (-1, 0)),
    (1, 0): ((0, -1), (1, 0), (0, 1)),
    (0, -1): ((-1, 0), (0, -1), (1, 0)),
    (-1, 0): ((0, 1), (-1, 0), (0, -1)),
}
"""Where an edge may go on, by its direction: to its right first, which keeps elements that touch at a corner apart."""


def trace_outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Give one closed polygon (n, 2) for each component of a mask, in indices, along the outer pixel edges.

    It encloses exactly the area of the pixels. A hole is joined to the outline around it by a cut of zero width,
    so that one polygon describes the component.

    >>> trace_outlines(np.array([[False, True]]))[0].tolist()
    [[-0.5, 0.5], [-0.5, 1.5], [0.5, 1.5], [0.5, 0.5]]
    """
    pieces, count = ndimage.label(mask)
    gathered: list[list[Boundary]] = [[] for _ in range(count)]
    for loop in trace_boundaries(mask):
        gathered[pieces[element_inside(loop)] - 1].append(loop)
    return [np.array(drop_collinear_corners(join_holes(piece)), float) - 0.5 for piece in gathered]


def trace_boundaries(mask: NDArray[np.bool_]) -> list[Boundary]:
    """Trace every boundary of a mask as a list of corners, with the mask on its right.

    The corner (r, c) is the one of element (r, c) with the lowest indices.
    """
    onward = list_edge_directions(mask)
    found = []
    while onward:
        start = next(iter(onward))
        here, ways = start, onward[start]
        heading = ways[0]
        loop: Boundary = []
        while True:
            loop.append(here)
            remove_edge(onward, here, heading)
            here = (here[0] + heading[0], here[1] + heading[1])
            if here not in onward:
                break
            heading = next(t for t in NEXT_DIRECTIONS[heading] if t in onward[here])
        found += split_at_crossings(loop)
    return found


def split_at_crossings(boundary: Boundary) -> list[Boundary]:
    """Split a boundary that passes a corner twice into boundaries that pass each corner once."""
    found: list[Boundary] = []
    path: Boundary = []
    at: dict[Point, int] = {}
    for point in boundary:
        if point in at:
            first = at[point]
            found.append(path[first:])
            for gone in path[first + 1 :]:
                del at[gone]
            path = path[: first + 1]
        else:
            at[point] = len(path)
            path.append(point)
    return [*found, path]


def list_edge_directions(mask: NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Give the directions in which boundaries leave each corner."""
    padded = np.pad(mask, 1)
    onward: dict[Point, list[Point]] = {}

    def add_edges(starts: NDArray[np.int64], shift: Point, heading: Point) -> None:
        for r, c in starts.tolist():
            onward.setdefault((r + shift[0], c + shift[1]), []).append(heading)

    inside = padded[1:-1, 1:-1]
    add_edges(np.argwhere(inside & ~padded[:-2, 1:-1]), (0, 0), (0, 1))
    add_edges(np.argwhere(inside & ~padded[1:-1, 2:]), (0, 1), (1, 0))
    add_edges(np.argwhere(inside & ~padded[2:, 1:-1]), (1, 1), (0, -1))
    add_edges(np.argwhere(inside & ~padded[1:-1, :-2]), (1, 0), (-1, 0))
    return onward


def remove_edge(directions_at: dict[Point, list[Point]], corner: Point, direction: Point) -> None:
    """Remove an edge from the edges that are still to be traced."""
    directions_at[corner].remove(direction)
    if not directions_at[corner]:
        del directions_at[corner]


def element_inside(boundary: Boundary) -> Point:
    """Give the element to the right of a boundary's first edge, which is inside the mask."""
    (r, c), (to_r, to_c) = boundary[0], boundary[1]
    heading = (to_r - r, to_c - c)
    shift = {(0, 1): (0, 0), (1, 0): (0, -1), (0, -1): (-1, -1), (-1, 0): (-1, 0)}[heading]
    return r + shift[0], c + shift[1]


def signed_area(boundary: Sequence[Point]) -> float:
    """Give the signed area within a boundary; negative for a hole."""
    r, c = np.array(boundary, float).T
    return float((c * np.roll(r, -1) - r * np.roll(c, -1)).sum() / 2)


def join_holes(boundaries: list[Boundary]) -> Boundary:
    """Join the holes of a component to its outline by a vertical cut from each hole's topmost corner.

    The cut ends at the outline, or at a hole that is higher and is joined already.
    """
    ring = list(next(loop for loop in boundaries if signed_area(loop) > 0))
    onward = [*range(1, len(ring)), 0]  # the place in the ring that follows each place
    at = {point: place for place, point in enumerate(ring)}
    for hole in sorted((loop for loop in boundaries if signed_area(loop) < 0), key=min):
        r, c = min(hole)
        top, above = hole.index((r, c)), r
        while (above, c) not in at:
            above -= 1
        cut = [(row, c) for row in range(above + 1, r)]
        there, first = at[above, c], len(ring)
        ring += [*cut, *hole[top:], *hole[: top + 1], *cut[::-1], (above, c)]
        onward += [*range(first + 1, len(ring)), onward[there]]
        onward[there] = first
        for place in range(first, len(ring)):
            at.setdefault(ring[place], place)
    found, place = [ring[0]], onward[0]
    while place:
        found.append(ring[place])
        place = onward[place]
    return found


def drop_collinear_corners(boundary: Boundary) -> Boundary:
    """Drop collinear corners."""
    points = np.array(boundary)
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = (before != after).any(axis=1)
    return [tuple(p) for p in points[turns].tolist()]
