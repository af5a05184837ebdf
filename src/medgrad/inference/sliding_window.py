"""Sliding-window inference: window positions, cropping, and blending of outputs with Gaussian weights.

It works for numpy and torch alike: ``Arrays`` lists the four operations that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np

from ..answers import known_kind
from ..data import Case, Grid, LabelMap, join
from ..machine.allocator import give_back
from ..prepare.crop import cut
from .array_ops import NUMPY, ArrayOps

WHOLE = 1.5
"""An image whose answer is made of boxes is shown whole up to so many times the length of a patch."""

AT_ONCE = 1 << 24
"""So many numbers of an output are decoded at a time: the largest of several is found in a copy of them."""

WORD = 8
"""So many bytes has the place of the largest of an element's sums."""


Start = Sequence[int]
"""Where a window begins, in the case with what is added around it if it is smaller than a window."""


def sliding_window(
    look: Callable[[Case], Any],
    decode: Callable[[Any, Grid], Any],
    case: Case,
    *,
    patch: Sequence[int],
    overlap: float,
    ops: ArrayOps = NUMPY,
    only: Sequence[Start] | None = None,
    blocks: int = 1,
) -> Any:
    """Predict by sliding window. Only one slab of the output is in memory at a time; each is decoded when complete.

    ``look`` predicts the output (channels, *patch) of a part of the case, ``decode`` turns outputs into an
    answer. A case smaller than a window is centred in it. ``only`` are the windows to compute; elements that
    none of them covers get the first class, with certainty. Several ``blocks`` along the last axis need less
    memory, but windows that reach over the edge of a block are computed twice.
    """
    size = [max(p, 1) for p in patch]
    shape = case.grid.shape
    room = [max(s, p) for s, p in zip(shape, size, strict=True)]
    before = [(r - s) // 2 for r, s in zip(room, shape, strict=True)]
    starts = [window_starts(s, p, overlap) for s, p in zip(room, size, strict=True)]

    def at(start: Sequence[int]) -> Any:
        return look(part(case, [a - b for a, b in zip(start, before, strict=True)], size))

    found = []
    for low, high, seen in cuts(starts[-1], shape[-1], before[-1], size[-1], blocks):
        if blocks > 1:  # memory is short
            give_back()
        inner = [slice(b, b + s) for b, s in zip(before[1:-1], shape[1:-1], strict=True)]
        span = (before[-1] + low, before[-1] + high) if len(shape) > 1 else None
        pieces = []
        here = only if only is None or span is None else [s for s in only if reaches(s[-1], size[-1], span)]
        for first, slab in slabs(at, room, size, ops=ops, only=here, starts=[*starts[:-1], seen], span=span):
            top, end = max(first, before[0]), min(first + slab.shape[1], before[0] + shape[0])
            planes = max(1, AT_ONCE // max(1, prod(slab[:, 0].shape)))
            for at_plane in range(top, end, planes):
                kept = slab[(slice(None), slice(at_plane - first, min(end, at_plane + planes) - first), *inner)]
                begin = [at_plane - before[0], *[0] * (len(shape) - 2), low]
                pieces.append(decode(kept, case.grid.crop(begin, kept.shape[1:])))
        block = case.grid.crop([*[0] * (len(shape) - 1), low], [*shape[:-1], high - low])
        found.append(pieces[0] if len(pieces) == 1 else join(pieces, block))
    return found[0] if len(found) == 1 else join(found, case.grid, axis=len(shape) - 1)


def cuts(
    starts: Sequence[int], size: int, before: int, patch: int, blocks: int
) -> Iterator[tuple[int, int, list[int]]]:
    """Split an axis into blocks: yield the start and end of each, and the starts of the windows that overlap it.

    >>> list(cuts([0, 4, 8], 12, 0, 4, 3))
    [(0, 4, [0]), (4, 8, [4]), (8, 12, [8])]
    """
    edges = np.linspace(0, size, max(1, min(blocks, size)) + 1).round().astype(int).tolist()
    for low, high in pairwise(edges):
        yield low, high, [s for s in starts if reaches(s, patch, (before + low, before + high))]


def reaches(start: int, size: int, span: tuple[int, int]) -> bool:
    """Tell whether a window overlaps a span."""
    return start < span[1] and start + size > span[0]


def size_of_sums(shape: Sequence[int], patch: Sequence[int], channels: int, blocks: int = 1) -> int:
    """Count the bytes of the sums over a slab, with their weights, the argmax and its copy."""
    room = [max(s, p) for s, p in zip(shape, patch, strict=True)]
    widest = max(high - low for low, high, _ in cuts([], shape[-1], 0, patch[-1], blocks))
    return patch[0] * int(np.prod(room[1:-1])) * widest * (4 * (2 * channels + 1) + WORD)


def blocks_within(shape: Sequence[int], patch: Sequence[int], channels: int, most: int) -> int:
    """Choose the fewest blocks whose sums fit into ``most`` bytes, or as many as are useful; 0 is no limit.

    >>> blocks_within((64, 64, 640), (32, 32, 32), 3, 1 << 23), blocks_within((9, 9), (4, 4), 3, 0)
    (6, 1)
    """
    if most <= 0 or len(shape) < 2:
        return 1
    many = most_blocks(shape, patch)
    return next((b for b in range(1, many) if size_of_sums(shape, patch, channels, b) <= most), many)


def most_blocks(shape: Sequence[int], patch: Sequence[int]) -> int:
    """Return the largest useful number of blocks: a block is at least a quarter of a window wide."""
    return max(1, -(-4 * shape[-1] // patch[-1])) if len(shape) > 1 else 1


def each_window(
    say: Callable[[Case], Any], case: Case, *, patch: Sequence[int], overlap: float
) -> tuple[list[Any], list[Grid]]:
    """Predict each window separately; an axis only a little longer than a window is not split."""
    shape = case.grid.shape
    size = [s if s <= WHOLE * p else p for s, p in zip(shape, patch, strict=True)]
    starts = product(*[window_starts(s, p, overlap) for s, p in zip(shape, size, strict=True)])
    parts = [part(case, start, size) for start in starts]
    return [say(box) for box in parts], [box.grid for box in parts]


def slabs(
    look: Any,
    shape: Sequence[int],
    patch: Sequence[int],
    *,
    overlap: float = 0.5,
    ops: ArrayOps = NUMPY,
    only: Sequence[Start] | None = None,
    starts: Sequence[Sequence[int]] | None = None,
    span: tuple[int, int] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Blend the outputs of overlapping windows, and yield each slab along the first axis as soon as it is complete.

    ``look(start)`` returns the output (channels, *patch) of the window at that start. Windows are weighted by a
    Gaussian, so that their centres count more than their edges. Yields the start of the slab, and the slab; its
    memory is reused for the next one. ``starts`` are the window starts along each axis, if not evenly spaced;
    or only the windows of ``only`` are computed. Along the last axis a slab covers only the ``span``, where one
    is given.
    """
    starts = starts or [window_starts(s, p, overlap) for s, p in zip(shape, patch, strict=True)]
    ends = [s[-1] + p for s, p in zip(starts, patch, strict=True)] if only is None else shape
    low, high = span or (0, ends[-1])
    if only is None and all(len(s) == 1 for s in starts):
        said = look([s[0] for s in starts])
        last = (slice(low - starts[-1][0], high - starts[-1][0]),)
        yield 0, said[(*[slice(None)] * len(patch), *last)] if span else said
        return
    corner = [*[0] * (len(patch) - 1), low]
    shape = [*ends[:-1], high - low]
    rows = rows_of([*product(*starts)] if only is None else only, shape[0], patch[0])
    near = [[a - c for a in axis] for axis, c in zip(starts, corner, strict=True)]
    sums: Any = None

    def begun(said: Any) -> tuple[Any, Any, Weights]:
        """Allocate the sums, once the shape of an output is known."""
        total = Weights(near, patch, shape, ops, said, evenly=only is None)
        return (
            ops.zeros(len(said), patch[0], *shape[1:], like=said),
            ops.to_device_of(gaussian_weights(patch, ops), said),
            total,
        )

    for (first, row), after in zip(rows, [*[first for first, _ in rows[1:]], shape[0]], strict=True):
        for start in row:
            said = look(start)
            if sums is None:
                sums, weight, total = begun(said)
            where, within = overlap_of(start, corner, patch, shape)
            ops.add_weighted(sums[(slice(None), *where)], said[(slice(None), *within)], weight[within])
            total.add(where, weight[within])
            del said  # before the next one is made
        if sums is None:  # nothing is looked at so far, but how many channels there are must be known
            sums, weight, total = begun(look([s[0] for s in starts]))
        for at in range(first, after):
            total.divide(sums[:, at - first], at, at - first)
        yield first, sums[:, : after - first]
        slide(sums, after - first)
        total.slide(after - first)


def rows_of(windows: Sequence[Start], length: int, patch: int) -> list[tuple[int, list[Start]]]:
    """Group windows by their start along the first axis; gaps between groups are filled with empty ones.

    >>> rows_of([(9, 1), (0, 0), (9, 0)], 14, 4)
    [(0, [(0, 0)]), (4, []), (8, []), (9, [(9, 1), (9, 0)]), (13, [])]
    """
    rows: dict[int, list[Start]] = {}
    for start in windows:
        rows.setdefault(start[0], []).append(start)
    ends = [*sorted({0, *rows}), length]
    return [(first, rows.get(first, [])) for a, b in pairwise(ends) for first in range(a, b, patch)]


def overlap_of(
    start: Sequence[int], corner: Sequence[int], patch: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Clip a window to the sums: return its slices in the sums, and the slices of the window itself."""
    where, within = [slice(None)], [slice(None)]
    for a, c, p, n in zip(start[1:], corner[1:], patch[1:], shape[1:], strict=True):
        low, high = max(0, a - c), min(n, a - c + p)
        where.append(slice(low, high))
        within.append(slice(low - a + c, high - a + c))
    return tuple(where), tuple(within)


class Weights:
    """The summed weights of the windows over each element: a product over the axes on a regular grid, else added up."""

    def __init__(
        self,
        starts: Sequence[Sequence[int]],
        patch: Sequence[int],
        shape: Sequence[int],
        ops: ArrayOps,
        like: Any,
        *,
        evenly: bool,
    ) -> None:
        self.ops, self.like = ops, like
        self.line = self.plane = self.sums = None
        if evenly:
            self.plane = total_weight(starts[1:], patch[1:], shape[1:], ops)
            self.line = total_weight(starts[:1], patch[:1], shape[:1], ops)
        else:
            self.sums = ops.zeros(1, patch[0], *shape[1:], like=like)

    def add(self, where: tuple[slice, ...], weight: Any) -> None:
        """Add the weights of a window, or of a part of one."""
        if self.sums is not None:
            self.sums[(0, *where)] += weight

    def divide(self, plane: Any, at: int, row: int) -> None:
        """Divide a plane (channels, ...) by the weights, in place; elements without a window get the first class."""
        if self.sums is None:
            assert self.line is not None
            plane /= self.ops.to_device_of(self.line[at] * self.plane, self.like)
            return
        weights = self.sums[0, row]
        bare = weights == 0
        weights[bare] = 1
        plane /= weights
        plane[0][bare] = 1

    def slide(self, by: int) -> None:
        """Shift the planes together with those of the sums."""
        if self.sums is not None:
            slide(self.sums, by)


def slide(sums: Any, by: int) -> None:
    """Shift planes (channels, planes, ...) towards the first, in place, and fill the last ones with zero."""
    for plane in range(sums.shape[1]):
        sums[:, plane] = sums[:, plane + by] if plane + by < sums.shape[1] else 0


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Space windows evenly along an axis, overlapping by at least a share.

    >>> window_starts(10, 4, 0.5)
    [0, 2, 4, 6]
    """
    if size <= patch:
        return [0]
    step = max(1, round(patch * (1 - overlap)))
    count = -(-(size - patch) // step) + 1
    return [round(i * (size - patch) / (count - 1)) for i in range(count)]


def gaussian_weights(patch: Sequence[int], ops: ArrayOps = NUMPY) -> Any:
    """Return a Gaussian weight for each element of a window: a product over the axes."""
    weight: Any = None
    for size in patch:
        line = ops.gaussian(size)
        weight = line if weight is None else weight[..., None] * line
    return weight


def total_weight(
    starts: Sequence[Sequence[int]], patch: Sequence[int], shape: Sequence[int], ops: ArrayOps = NUMPY
) -> Any:
    """Sum the weights of all windows over a plane: a product over its axes, like the weights themselves."""
    total: Any = None
    for begins, size, whole in zip(starts, patch, shape, strict=True):
        line = ops.zeros(whole)
        for begin in begins:
            low, high = max(0, begin), min(whole, begin + size)
            line[low:high] += ops.gaussian(size)[low - begin : high - begin]
        total = line if total is None else total[..., None] * line
    return 1.0 if total is None else total


def part(case: Case, start: Sequence[int], shape: Sequence[int]) -> Case:
    """Crop a case and everything in it, padded where it exceeds the case; a region marks what is inside."""
    reaches_out = any(s < 0 or s + n > whole for s, n, whole in zip(start, shape, case.grid.shape, strict=True))
    region = case.region
    if reaches_out and region is None:
        region = LabelMap(np.ones(case.grid.shape, np.uint8), case.grid)
    kind = known_kind(case.truth)
    truth = kind.crop(case.truth, start, shape) if kind else case.truth
    return replace(
        case,
        images={k: cut(v, start, shape) for k, v in case.images.items()},
        truth=truth,
        region=cut(region, start, shape) if region is not None else None,
    )


def without_truth(case: Case) -> Case:
    """Return the case without its truth and its region."""
    return Case(case.id, case.images, None, case.patient, None, case.notes)
