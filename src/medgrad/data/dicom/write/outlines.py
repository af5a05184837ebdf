"""The outlines of a mask: closed polygons along the edges of its elements, with holes tied to what surrounds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Point = tuple[int, int]
Loop = list[Point]
TURNS: dict[Point, tuple[Point, Point, Point]] = {
    (0, 1): ((1, 0), (0, 1), (-1, 0)),
    (1, 0): ((0, -1), (1, 0), (0, 1)),
    (0, -1): ((-1, 0), (0, -1), (1, 0)),
    (-1, 0): ((0, 1), (-1, 0), (0, -1)),
}
"""Where an edge may go on, by its direction: to its right first, which keeps elements that touch at a corner apart."""


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Give one closed polygon (n, 2) for each piece of a mask, in indices, along the outer edges of its elements.

    It encloses the very area of the elements. A hole is joined to the outline around it by a cut without width, there
    and back, so that one polygon says it all.

    >>> outlines(np.array([[False, True]]))[0].tolist()
    [[-0.5, 0.5], [-0.5, 1.5], [0.5, 1.5], [0.5, 0.5]]
    """
    pieces, count = ndimage.label(mask)
    gathered: list[list[Loop]] = [[] for _ in range(count)]
    for loop in loops(mask):
        gathered[pieces[beside(loop)] - 1].append(loop)
    return [np.array(straightened(tied(piece)), float) - 0.5 for piece in gathered]


def loops(mask: NDArray[np.bool_]) -> list[Loop]:
    """Give every boundary of a mask as the corners that it passes, the mask to its right.

    The corner (r, c) is that of the element (r, c) where both indices are least.
    """
    onward = edges(mask)
    found = []
    while onward:
        start = next(iter(onward))
        here, ways = start, onward[start]
        heading = ways[0]
        loop: Loop = []
        while True:
            loop.append(here)
            take(onward, here, heading)
            here = (here[0] + heading[0], here[1] + heading[1])
            if here not in onward:
                break
            heading = next(t for t in TURNS[heading] if t in onward[here])
        found += apart(loop)
    return found


def apart(loop: Loop) -> list[Loop]:
    """Cut a walk that comes back to a corner into walks that do so only at their end."""
    found: list[Loop] = []
    path: Loop = []
    at: dict[Point, int] = {}
    for point in loop:
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


def edges(mask: NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Give the directions in which boundaries leave each corner."""
    padded = np.pad(mask, 1)
    onward: dict[Point, list[Point]] = {}

    def add(starts: NDArray[np.int64], shift: Point, heading: Point) -> None:
        for r, c in starts.tolist():
            onward.setdefault((r + shift[0], c + shift[1]), []).append(heading)

    inside = padded[1:-1, 1:-1]
    add(np.argwhere(inside & ~padded[:-2, 1:-1]), (0, 0), (0, 1))
    add(np.argwhere(inside & ~padded[1:-1, 2:]), (0, 1), (1, 0))
    add(np.argwhere(inside & ~padded[2:, 1:-1]), (1, 1), (0, -1))
    add(np.argwhere(inside & ~padded[1:-1, :-2]), (1, 0), (-1, 0))
    return onward


def take(onward: dict[Point, list[Point]], here: Point, heading: Point) -> None:
    """Strike out a boundary's edge."""
    onward[here].remove(heading)
    if not onward[here]:
        del onward[here]


def beside(loop: Loop) -> Point:
    """Give the element that lies to the right of a boundary's first edge."""
    (r, c), (to_r, to_c) = loop[0], loop[1]
    heading = (to_r - r, to_c - c)
    shift = {(0, 1): (0, 0), (1, 0): (0, -1), (0, -1): (-1, -1), (-1, 0): (-1, 0)}[heading]
    return r + shift[0], c + shift[1]


def area(loop: Sequence[Point]) -> float:
    """Give the area within a boundary, below zero if it goes around a hole."""
    r, c = np.array(loop, float).T
    return float((c * np.roll(r, -1) - r * np.roll(c, -1)).sum() / 2)


def tied(piece: list[Loop]) -> Loop:
    """Join the holes of a piece to its outline: from the highest corner of each straight up to what lies there.

    What lies above a hole is the outline, or a hole whose highest corner is higher still and that is joined already.
    """
    ring = list(next(loop for loop in piece if area(loop) > 0))
    onward = [*range(1, len(ring)), 0]  # the place in the ring that follows each place
    at = {point: place for place, point in enumerate(ring)}
    for hole in sorted((loop for loop in piece if area(loop) < 0), key=min):
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


def straightened(loop: Loop) -> Loop:
    """Leave out the corners at which nothing turns."""
    points = np.array(loop)
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = (before != after).any(axis=1)
    return [tuple(p) for p in points[turns].tolist()]
