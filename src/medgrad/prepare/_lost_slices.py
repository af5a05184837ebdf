"""Fill lost slices between known ones: motion-compensated kriging, whose settings are fitted on the image itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from ._image_step import Values

Lags = dict[tuple[int, ...], float]
Offsets = tuple[int, ...]

PRESMOOTH, WINDOW = 0.7, 2.0
"""Deviations of the Gaussians before slopes are taken and over which a motion is shared, in the smallest spacing."""
WINDOW_SLICES = 2.0
"""Deviation, in slices, of the Gaussian by which gaps share their motion."""
STEPS = 2
"""Gauss-Newton steps a level."""
MOST_SLOPE = 2.0
"""A motion across a gap is at most so many times as long as the gap is wide."""
REACH = 2
"""Lags of the variogram within a slice, in elements."""
GAPS_FOR_VARIOGRAM = 8
PULLS = (1.0, 4.0, np.inf)
"""How strongly the motion of the whole pulls on that of each window, to choose from; by infinity nothing moves."""
LEAST_HIDDEN, HIDDEN = 3, 8
"""So many known slices are predicted to choose, at least and at most."""
BLOCK_ELEMENTS = 1 << 22


def find_lost_slices(values: NDArray[Any], unknown: NDArray[np.bool_], axis: int) -> list[int]:
    """Find the slices that hold a single value or nothing known, between slices that do not."""
    along = tuple(a for a in range(values.ndim) if a != axis)
    low = np.where(unknown, np.inf, values).min(along)
    high = np.where(unknown, -np.inf, values).max(along)
    whole = np.flatnonzero(low < high)
    if not len(whole):
        return []
    return [int(i) for i in np.flatnonzero(~(low < high)) if whole[0] < i < whole[-1]]


def interpolate_slices(stack: Values, lost: Sequence[int]) -> Values:
    """Fill slices (the first axis) linearly from the nearest known ones on both sides; at an end by the last known."""
    filled, known = stack.copy(), known_slices(stack, lost)
    for s in lost:
        before, after = known[known < s], known[known > s]
        low, high = before[-1] if len(before) else after[0], after[0] if len(after) else before[-1]
        share = (s - low) / (high - low) if high > low else 0.0
        filled[s] = (1 - share) * stack[low] + share * stack[high]
    return filled


def known_slices(stack: Values, lost: Sequence[int]) -> NDArray[np.intp]:
    """Give the numbers of the slices that are not lost."""
    return np.setdiff1d(np.arange(len(stack)), np.asarray(lost, np.intp))


def krige_slices(stack: Values, lost: Sequence[int], spacing: Sequence[float]) -> Values:
    """Fill slices (the first axis) by ordinary kriging from two known ones on each side, along the motion between.

    The motion is the least squared difference of the two sides in a window (Lucas and Kanade 1981), drawn towards
    that of the whole. How strongly, or whether nothing moves, or linear interpolation, is what predicts known slices
    best. The variogram is fitted to the differences of known elements, followed along the motion.
    """
    filled, known = interpolate_slices(stack, lost), known_slices(stack, lost)
    gaps = list_gaps(known)
    if not gaps or min(stack.shape[1:]) < 2:
        return filled
    pull = choose_pull(stack, known, spacing)
    if pull is not None:
        for place, plane in krige_gaps(stack, known, gaps, spacing, pull).items():
            filled[place] = plane
    return filled


def list_gaps(known: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Give the known slices on both sides of each gap."""
    return [(int(a), int(b)) for a, b in pairwise(known) if b - a > 1]


def choose_pull(stack: Values, known: NDArray[np.intp], spacing: Sequence[float]) -> float | None:
    """Choose the pull by which some known slices are best predicted from others as near as those of the gaps.

    None says that linear interpolation predicts them best. Where too few are as near, the middle one of the pulls.
    """
    widest = max(b - a for a, b in list_gaps(known))
    hidden: list[int] = []
    for before, place, after in zip(known, known[1:], known[2:], strict=False):
        if after - before <= widest and (not hidden or before > hidden[-1]):
            hidden.append(int(place))
    if len(hidden) < LEAST_HIDDEN:
        return PULLS[1]
    hidden = [hidden[i] for i in np.unique(np.linspace(0, len(hidden) - 1, HIDDEN).astype(int))]
    left = np.setdiff1d(known, hidden)
    gaps = [gap for gap in list_gaps(left) if any(gap[0] < h < gap[1] for h in hidden)]
    linear = interpolate_slices(stack, np.setdiff1d(np.arange(len(stack)), left).tolist())
    tries: list[tuple[float | None, dict[int, Values]]] = [(None, {h: linear[h] for h in hidden})]
    tries += [(pull, krige_gaps(stack, left, gaps, spacing, pull)) for pull in PULLS]
    errors = [sum(float(np.mean((made[h] - stack[h]) ** 2, dtype=np.float64)) for h in hidden) for _, made in tries]
    return tries[int(np.argmin(errors))][0]


def krige_gaps(
    stack: Values, known: NDArray[np.intp], gaps: Sequence[tuple[int, int]], spacing: Sequence[float], pull: float
) -> dict[int, Values]:
    """Give each slice in some gaps, kriged along the motion; linear between the sides where nothing varies."""
    motions = dict(zip(gaps, all_motions(stack, gaps, spacing, pull), strict=True))
    chosen = {gaps[i] for i in np.unique(np.linspace(0, len(gaps) - 1, GAPS_FOR_VARIOGRAM).astype(int))}
    variogram = fit_variogram([followed(stack, known, gap, gap[0] + 1, motions[gap]) for gap in sorted(chosen)])
    low, high = stack[known].min(), stack[known].max()
    kernels: dict[Offsets, Values] = {}
    made: dict[int, Values] = {}
    for gap in gaps:
        for place in range(gap[0] + 1, gap[1]):
            if variogram is None:
                share = np.float32((place - gap[0]) / (gap[1] - gap[0]))
                made[place] = (1 - share) * stack[gap[0]] + share * stack[gap[1]]
                continue
            seen = followed(stack, known, gap, place, motions[gap])
            offsets = tuple(seen)
            if offsets not in kernels:
                kernels[offsets] = kriging_weights(variogram, offsets, stack.ndim - 1)
            parts = (ndimage.correlate(seen[o], k, mode="nearest") for o, k in zip(seen, kernels[offsets], strict=True))
            made[place] = np.clip(sum(parts), low, high)
    return made


def followed(
    stack: Values, known: NDArray[np.intp], gap: tuple[int, int], place: int, motion: Values
) -> dict[int, Values]:
    """Give the two known slices on each side of a gap, moved to a slice in it, by their offset from it."""
    first = int(np.searchsorted(known, gap[0]))
    around = known[max(0, first - 1) : first + 3]
    return {int(k) - place: warp(stack[k], motion * np.float32(k - place), order=3) for k in around}


def warp(plane: Values, shift: Values, *, order: int) -> Values:
    """Give the plane at each element's place plus its shift, in elements."""
    places = np.indices(plane.shape, np.float32) + shift
    return ndimage.map_coordinates(plane, places, order=order, mode="nearest")


def all_motions(
    stack: Values, gaps: Sequence[tuple[int, int]], spacing: Sequence[float], pull: float
) -> Iterator[Values]:
    """Give the motion of each gap, in blocks of gaps that see their neighbours."""
    if pull == np.inf:
        yield from np.zeros((len(gaps), stack.ndim - 1, *[1] * (stack.ndim - 1)), np.float32)
        return
    size = max(1, BLOCK_ELEMENTS // max(1, stack[0].size))
    margin = int(2 * WINDOW_SLICES)
    for start in range(0, len(gaps), size):
        low, high = max(0, start - margin), min(len(gaps), start + size + margin)
        found = motions_in_block(stack, gaps[low:high], spacing, pull)
        yield from found[start - low : start - low + size]


def motions_in_block(stack: Values, gaps: Sequence[tuple[int, int]], spacing: Sequence[float], pull: float) -> Values:
    """Give the motion across gaps in elements a slice: (gaps, axes, *plane), from coarse to fine."""
    ends = np.array(gaps, np.float32)
    widths = (ends[:, 1] - ends[:, 0]).reshape([-1] + [1] * (stack.ndim - 1))
    centres = ends.mean(1)
    nearness = np.exp(-(((centres[:, None] - centres) / WINDOW_SLICES) ** 2) / 2)
    nearness = (nearness / nearness.sum(1, keepdims=True)).astype(np.float32)
    units = [min(spacing[1:]) / size for size in spacing[1:]]
    most = [MOST_SLOPE * spacing[0] / size for size in spacing[1:]]
    steepness = float(widths.max()) * spacing[0] / (2 * min(spacing[1:]))
    motion = np.zeros((len(gaps), stack.ndim - 1, *stack.shape[1:]), np.float32)
    for level in range(max(0, min(4, int(np.log2(max(1.0, steepness))))), -1, -1):
        sides = [
            ndimage.gaussian_filter(stack[list(side)], [0.0, *(PRESMOOTH * 2**level * u for u in units)])
            for side in zip(*gaps, strict=True)
        ]
        window = [0.0, *(WINDOW * 2**level * u for u in units)]
        for _ in range(STEPS):
            motion = improve_motion(sides, widths * np.float32(0.5), motion, window, (nearness, pull))
            motion = np.clip(motion, *(np.reshape([s * m for m in most], [-1] + [1] * len(most)) for s in (-1, 1)))
    return motion


def improve_motion(
    sides: Sequence[Values], halves: Values, motion: Values, window: Sequence[float], sharing: tuple[Values, float]
) -> Values:
    """Give the motion after one Gauss-Newton step on the windowed squared difference of both sides.

    ``sharing`` is how near the gaps are to one another, and how strongly the motion of the whole pulls.
    """
    nearness, strength = sharing
    before, after = (
        np.stack([warp(p, s, order=1) for p, s in zip(side, sign * halves[:, None] * motion, strict=True)])
        for side, sign in zip(sides, (-1, 1), strict=True)
    )
    axes = range(motion.shape[1])
    slopes = [halves * np.gradient(before + after, axis=axis + 1) for axis in axes]
    rest = after - before - sum(slopes[a] * motion[:, a] for a in axes)

    def average(values: Values) -> Values:
        made: Values = np.tensordot(nearness, ndimage.gaussian_filter(values, window), 1).astype(np.float32)
        return made

    normal = {(i, j): average(slopes[i] * slopes[j]) for i, j in combinations_with_replacement(axes, 2)}
    side = [-average(slopes[a] * rest) for a in axes]
    pull = np.float32(strength * np.mean([normal[a, a].mean() for a in axes]))
    if pull <= 0:
        return motion
    whole = np.array([[normal[min(i, j), max(i, j)].mean(dtype=np.float64) for j in axes] for i in axes])
    common = np.linalg.lstsq(whole, np.array([s.mean(dtype=np.float64) for s in side]), rcond=None)[0]
    side = [s + pull * np.float32(c) for s, c in zip(side, common, strict=True)]
    if len(side) == 1:
        return (side[0] / (normal[0, 0] + pull))[:, None]
    (xx, xy, yy), (x, y) = (normal[0, 0] + pull, normal[0, 1], normal[1, 1] + pull), side
    return np.stack([yy * x - xy * y, xx * y - xy * x], 1) / (xx * yy - xy * xy)[:, None]


def fit_variogram(samples: Sequence[Mapping[int, Values]]) -> NDArray[np.float64] | None:
    """Fit a stable model with a nugget to half the mean squared difference at each lag; None where nothing varies."""
    found = measure_variogram(samples)
    lags, values = np.array(list(found)), np.array(list(found.values()))
    if len(values) < 2 or not values.max() > 0:
        return None
    values = np.maximum(values / values.max(), 1e-9)
    nearness = 1 / np.sqrt((lags**2).sum(1))

    def misfit(settings: NDArray[np.float64]) -> NDArray[np.float64]:
        misfits: NDArray[np.float64] = (np.log(model_variogram(settings, lags)) - np.log(values)) * nearness
        return misfits

    start = np.array([1.0, -4.0, 0.0, *[-1.0] * lags.shape[1]])
    limits = np.array([6.0, 12.0, 6.0, *[6.0] * lags.shape[1]])
    fitted: NDArray[np.float64] = optimize.least_squares(misfit, start, bounds=(-limits, limits), max_nfev=200).x
    return fitted


def measure_variogram(samples: Sequence[Mapping[int, Values]]) -> Lags:
    """Give half the mean squared difference of elements at each lag: slices apart, then elements along each axis."""
    found: dict[tuple[int, ...], list[float]] = {}
    for seen in samples:
        for first, second in combinations_with_replacement(seen, 2):
            one, two = seen[first], seen[second]
            reach = [min(REACH, n - 1) for n in one.shape]
            for shift in product(*[range(-r, r + 1) for r in reach]):
                if first == second and shift <= (0,) * len(shift):
                    continue
                here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, one.shape, strict=True))
                there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, one.shape, strict=True))
                difference = (one[here] - two[there]).ravel()
                half = float(np.mean(difference**2, dtype=np.float64)) / 2
                found.setdefault((second - first, *shift), []).append(half)
    return {lag: float(np.mean(halves)) for lag, halves in found.items()}


def model_variogram(settings: NDArray[np.float64], lags: NDArray[np.intp]) -> NDArray[np.float64]:
    """Give a nugget plus a stable variogram, 1 - exp(-r^a), of lags that are scaled axis by axis."""
    power = 2 / (1 + np.exp(-settings[0]))
    distance = np.sqrt((lags**2 * np.exp(2 * settings[3:])).sum(-1))
    made: NDArray[np.float64] = np.exp(settings[1]) - np.exp(settings[2]) * np.expm1(-(distance**power))
    return np.where(distance > 0, made, 0.0)


def kriging_weights(variogram: NDArray[np.float64], offsets: Offsets, plane_axes: int) -> NDArray[np.float32]:
    """Give the weights, summing to 1, of the elements within 1 of the same place in each slice: (slices, 3[, 3])."""
    around = np.array(list(product(offsets, *[(-1, 0, 1)] * plane_axes)))
    n = len(around)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = model_variogram(variogram, around[:, None] - around)
    system[n, n] = 0
    side = np.append(model_variogram(variogram, around), 1.0)
    weights = np.linalg.lstsq(system, side, rcond=None)[0][:n]
    return weights.reshape([len(offsets), *[3] * plane_axes]).astype(np.float32)
