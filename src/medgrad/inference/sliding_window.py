"""Sliding-window inference: window positions, cropping, and blending of outputs with Gaussian weights.

It works for numpy and torch alike: ``ArrayOps`` lists the four operations that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np

from ..answers import known_kind
from ..data import Case, Grid, LabelMap, concatenate_answers
from ..machine.allocator import trim_heap
from ..prepare.crop import crop_box
from .array_ops import NUMPY, ArrayOps

WHOLE_IMAGE_FACTOR = 1.5
"""An image whose answer is made of boxes is shown whole up to so many times the length of a patch."""

MAX_DECODED_ELEMENTS = 1 << 24
"""So many numbers of an output are decoded at a time: the largest of several is found in a copy of them."""

INDEX_BYTES = 8
"""So many bytes has the place of the largest of an element's sums."""


WindowStart = Sequence[int]
"""Where a window begins, in the case with what is added around it if it is smaller than a window."""


def sliding_window(
    predict_window: Callable[[Case], Any],
    decode: Callable[[Any, Grid], Any],
    case: Case,
    *,
    patch: Sequence[int],
    overlap: float,
    ops: ArrayOps = NUMPY,
    only_starts: Sequence[WindowStart] | None = None,
    n_blocks: int = 1,
) -> Any:
    """Predict by sliding window. Only one slab of the output is in memory at a time; each is decoded when complete.

    ``predict_window`` predicts the output (channels, *patch) of a part of the case, ``decode`` turns outputs into an
    answer. A case smaller than a window is centred in it. ``only_starts`` are the windows to compute; elements that
    none of them covers get the first class, with certainty. Several ``n_blocks`` along the last axis need less
    memory, but windows that reach over the edge of a block are computed twice.
    """
    size = [max(p, 1) for p in patch]
    shape = case.grid.shape
    padded_shape = [max(s, p) for s, p in zip(shape, size, strict=True)]
    padding_before = [(r - s) // 2 for r, s in zip(padded_shape, shape, strict=True)]
    starts = [window_starts(s, p, overlap) for s, p in zip(padded_shape, size, strict=True)]

    def predict_at(start: Sequence[int]) -> Any:
        return predict_window(crop_case(case, [a - b for a, b in zip(start, padding_before, strict=True)], size))

    block_answers = []
    for low, high, seen in split_axis(starts[-1], shape[-1], padding_before[-1], size[-1], n_blocks):
        if n_blocks > 1:  # memory is short
            trim_heap()
        inner = [slice(b, b + s) for b, s in zip(padding_before[1:-1], shape[1:-1], strict=True)]
        span = (padding_before[-1] + low, padding_before[-1] + high) if len(shape) > 1 else None
        pieces = []
        starts_in_block = (
            only_starts
            if only_starts is None or span is None
            else [s for s in only_starts if overlaps_span(s[-1], size[-1], span)]
        )
        for first, slab in blend_slabs(
            predict_at, padded_shape, size, ops=ops, only_starts=starts_in_block, starts=[*starts[:-1], seen], span=span
        ):
            top, end = max(first, padding_before[0]), min(first + slab.shape[1], padding_before[0] + shape[0])
            planes = max(1, MAX_DECODED_ELEMENTS // max(1, prod(slab[:, 0].shape)))
            for at_plane in range(top, end, planes):
                kept = slab[(slice(None), slice(at_plane - first, min(end, at_plane + planes) - first), *inner)]
                begin = [at_plane - padding_before[0], *[0] * (len(shape) - 2), low]
                pieces.append(decode(kept, case.grid.crop(begin, kept.shape[1:])))
        block = case.grid.crop([*[0] * (len(shape) - 1), low], [*shape[:-1], high - low])
        block_answers.append(pieces[0] if len(pieces) == 1 else concatenate_answers(pieces, block))
    return (
        block_answers[0]
        if len(block_answers) == 1
        else concatenate_answers(block_answers, case.grid, axis=len(shape) - 1)
    )


def split_axis(
    starts: Sequence[int], size: int, padding_before: int, patch: int, n_blocks: int
) -> Iterator[tuple[int, int, list[int]]]:
    """Split an axis into blocks: yield the start and end of each, and the starts of the windows that overlap it.

    >>> list(split_axis([0, 4, 8], 12, 0, 4, 3))
    [(0, 4, [0]), (4, 8, [4]), (8, 12, [8])]
    """
    edges = np.linspace(0, size, max(1, min(n_blocks, size)) + 1).round().astype(int).tolist()
    for low, high in pairwise(edges):
        yield low, high, [s for s in starts if overlaps_span(s, patch, (padding_before + low, padding_before + high))]


def overlaps_span(start: int, size: int, span: tuple[int, int]) -> bool:
    """Tell whether a window overlaps a span."""
    return start < span[1] and start + size > span[0]


def count_sum_bytes(shape: Sequence[int], patch: Sequence[int], channels: int, n_blocks: int = 1) -> int:
    """Count the bytes of the sums over a slab, with their weights, the argmax and its copy."""
    room = [max(s, p) for s, p in zip(shape, patch, strict=True)]
    widest = max(high - low for low, high, _ in split_axis([], shape[-1], 0, patch[-1], n_blocks))
    return patch[0] * int(np.prod(room[1:-1])) * widest * (4 * (2 * channels + 1) + INDEX_BYTES)


def choose_block_count(shape: Sequence[int], patch: Sequence[int], channels: int, max_bytes: int) -> int:
    """Choose the fewest blocks whose sums fit into ``max_bytes`` bytes, or as many as are useful; 0 is no limit.

    >>> choose_block_count((64, 64, 640), (32, 32, 32), 3, 1 << 23), choose_block_count((9, 9), (4, 4), 3, 0)
    (6, 1)
    """
    if max_bytes <= 0 or len(shape) < 2:
        return 1
    many = max_useful_blocks(shape, patch)
    return next((b for b in range(1, many) if count_sum_bytes(shape, patch, channels, b) <= max_bytes), many)


def max_useful_blocks(shape: Sequence[int], patch: Sequence[int]) -> int:
    """Return the largest useful number of blocks: a block is at least a quarter of a window wide."""
    return max(1, -(-4 * shape[-1] // patch[-1])) if len(shape) > 1 else 1


def answer_each_window(
    answer_window: Callable[[Case], Any], case: Case, *, patch: Sequence[int], overlap: float
) -> tuple[list[Any], list[Grid]]:
    """Predict each window separately; an axis only a little longer than a window is not split."""
    shape = case.grid.shape
    size = [s if s <= WHOLE_IMAGE_FACTOR * p else p for s, p in zip(shape, patch, strict=True)]
    starts = product(*[window_starts(s, p, overlap) for s, p in zip(shape, size, strict=True)])
    parts = [crop_case(case, start, size) for start in starts]
    return [answer_window(box) for box in parts], [box.grid for box in parts]


def blend_slabs(
    predict_window: Any,
    shape: Sequence[int],
    patch: Sequence[int],
    *,
    overlap: float = 0.5,
    ops: ArrayOps = NUMPY,
    only_starts: Sequence[WindowStart] | None = None,
    starts: Sequence[Sequence[int]] | None = None,
    span: tuple[int, int] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Blend the outputs of overlapping windows, and yield each slab along the first axis as soon as it is complete.

    ``look(start)`` returns the output (channels, *patch) of the window at that start. Windows are weighted by a
    Gaussian, so that their centres count more than their edges. Yields the start of the slab, and the slab; its
    memory is reused for the next one. ``starts`` are the window starts along each axis, if not evenly spaced;
    or only the windows of ``only_starts`` are computed. Along the last axis a slab covers only the ``span``, where one
    is given.
    """
    starts = starts or [window_starts(s, p, overlap) for s, p in zip(shape, patch, strict=True)]
    ends = [s[-1] + p for s, p in zip(starts, patch, strict=True)] if only_starts is None else shape
    low, high = span or (0, ends[-1])
    if only_starts is None and all(len(s) == 1 for s in starts):
        output = predict_window([s[0] for s in starts])
        last = (slice(low - starts[-1][0], high - starts[-1][0]),)
        yield 0, output[(*[slice(None)] * len(patch), *last)] if span else output
        return
    corner = [*[0] * (len(patch) - 1), low]
    shape = [*ends[:-1], high - low]
    rows = group_into_rows([*product(*starts)] if only_starts is None else only_starts, shape[0], patch[0])
    local_starts = [[a - c for a in axis] for axis, c in zip(starts, corner, strict=True)]
    sums: Any = None

    def make_sums(said: Any) -> tuple[Any, Any, WeightSums]:
        """Allocate the sums, once the shape of an output is known."""
        total = WeightSums(local_starts, patch, shape, ops, said, on_grid=only_starts is None)
        return (
            ops.zeros(len(said), patch[0], *shape[1:], like=said),
            ops.to_device_of(gaussian_weights(patch, ops), said),
            total,
        )

    for (first, row), after in zip(rows, [*[first for first, _ in rows[1:]], shape[0]], strict=True):
        for start in row:
            output = predict_window(start)
            if sums is None:
                sums, weight, total = make_sums(output)
            target_slices, window_slices = clip_window(start, corner, patch, shape)
            ops.add_weighted(
                sums[(slice(None), *target_slices)], output[(slice(None), *window_slices)], weight[window_slices]
            )
            total.add(target_slices, weight[window_slices])
            del output  # before the next one is made
        if sums is None:  # nothing is looked at so far, but how many channels there are must be known
            sums, weight, total = make_sums(predict_window([s[0] for s in starts]))
        for at in range(first, after):
            total.normalise_plane(sums[:, at - first], at, at - first)
        yield first, sums[:, : after - first]
        shift_planes(sums, after - first)
        total.shift(after - first)


def group_into_rows(starts: Sequence[WindowStart], length: int, patch: int) -> list[tuple[int, list[WindowStart]]]:
    """Group windows by their start along the first axis; gaps between groups are filled with empty ones.

    >>> group_into_rows([(9, 1), (0, 0), (9, 0)], 14, 4)
    [(0, [(0, 0)]), (4, []), (8, []), (9, [(9, 1), (9, 0)]), (13, [])]
    """
    rows: dict[int, list[WindowStart]] = {}
    for start in starts:
        rows.setdefault(start[0], []).append(start)
    ends = [*sorted({0, *rows}), length]
    return [(first, rows.get(first, [])) for a, b in pairwise(ends) for first in range(a, b, patch)]


def clip_window(
    start: Sequence[int], corner: Sequence[int], patch: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Clip a window to the sums: return its slices in the sums, and the slices of the window itself."""
    target_slices, source_slices = [slice(None)], [slice(None)]
    for a, c, p, n in zip(start[1:], corner[1:], patch[1:], shape[1:], strict=True):
        low, high = max(0, a - c), min(n, a - c + p)
        target_slices.append(slice(low, high))
        source_slices.append(slice(low - a + c, high - a + c))
    return tuple(target_slices), tuple(source_slices)


class WeightSums:
    """The summed weights of the windows over each element: a product over the axes on a regular grid, else added up."""

    def __init__(
        self,
        starts: Sequence[Sequence[int]],
        patch: Sequence[int],
        shape: Sequence[int],
        ops: ArrayOps,
        like: Any,
        *,
        on_grid: bool,
    ) -> None:
        self.ops, self.like = ops, like
        self.line = self.plane = self.sums = None
        if on_grid:
            self.plane = sum_window_weights(starts[1:], patch[1:], shape[1:], ops)
            self.line = sum_window_weights(starts[:1], patch[:1], shape[:1], ops)
        else:
            self.sums = ops.zeros(1, patch[0], *shape[1:], like=like)

    def add(self, target_slices: tuple[slice, ...], weight: Any) -> None:
        """Add the weights of a window, or of a part of one."""
        if self.sums is not None:
            self.sums[(0, *target_slices)] += weight

    def normalise_plane(self, plane: Any, position: int, row: int) -> None:
        """Divide a plane (channels, ...) by the weights, in place; elements without a window get the first class."""
        if self.sums is None:
            assert self.line is not None
            plane /= self.ops.to_device_of(self.line[position] * self.plane, self.like)
            return
        weights = self.sums[0, row]
        bare = weights == 0
        weights[bare] = 1
        plane /= weights
        plane[0][bare] = 1

    def shift(self, n_planes: int) -> None:
        """Shift the planes together with those of the sums."""
        if self.sums is not None:
            shift_planes(self.sums, n_planes)


def shift_planes(sums: Any, n_planes: int) -> None:
    """Shift planes (channels, planes, ...) towards the first, in place, and fill the last ones with zero."""
    for plane in range(sums.shape[1]):
        sums[:, plane] = sums[:, plane + n_planes] if plane + n_planes < sums.shape[1] else 0


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


def sum_window_weights(
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


def crop_case(case: Case, start: Sequence[int], shape: Sequence[int]) -> Case:
    """Crop a case and everything in it, padded where it exceeds the case; a region marks what is inside."""
    exceeds_case = any(s < 0 or s + n > whole for s, n, whole in zip(start, shape, case.grid.shape, strict=True))
    region = case.roi
    if exceeds_case and region is None:
        region = LabelMap(np.ones(case.grid.shape, np.uint8), case.grid)
    kind = known_kind(case.truth)
    truth = kind.crop(case.truth, start, shape) if kind else case.truth
    return replace(
        case,
        images={k: crop_box(v, start, shape) for k, v in case.images.items()},
        truth=truth,
        roi=crop_box(region, start, shape) if region is not None else None,
    )


def without_truth(case: Case) -> Case:
    """Return the case without its truth and its region."""
    return replace(case, truth=None, roi=None)
