"""Contrast enhancement: CLAHE, unsharp masking, gamma or window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import SettingError, suggest_name
from ._image_step import Chosen, ImageStep, Values

METHODS = ("clahe", "unsharp", "gamma", "window")
BINS = 256
MIN_TILE = 8
"""A tile has at least so many elements along each axis."""
PERCENTILES = (0.5, 99.5)
SLAB_ELEMENTS = 1 << 20
"""So many elements are equalised at a time."""


@dataclass(frozen=True)
class Enhance(ImageStep):
    """Change the contrast by a ``method``.

    ``clahe``: contrast-limited adaptive histogram equalisation in 2D and 3D, in ``tiles`` tiles an axis, with linear
    interpolation between them; ``clip_limit`` is the largest slope, and 1 changes nothing. ``gamma``: a power law.
    ``window``: the range becomes 0 to 1, and what is outside is cut. All use ``range``, its low and high end in the
    values' own unit; where none is given, the percentiles 0.5 and 99.5. ``clahe`` and ``gamma`` keep both ends, and
    what is outside. ``unsharp``: adds ``amount`` times the difference to a Gaussian of ``sigma`` mm; keeps the unit.
    """

    method: str = "clahe"
    range: tuple[float, ...] = ()
    clip_limit: float = 2.0
    tiles: int = 8
    gamma: float = 0.7
    sigma: float = 1.0
    amount: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingError(
                f"'method' of enhance is one of {', '.join(METHODS)}, not {self.method!r}."
                + suggest_name(str(self.method), METHODS)
            )
        if self.range and not (is_pair(self.range) and self.range[0] < self.range[1]):
            raise SettingError(f"'range' of enhance is a low and a higher number, but it is {list(self.range)}.")
        for name, low, high in (
            ("clip_limit", 1, BINS),
            ("tiles", 1, 256),
            ("gamma", 0.01, 100),
            ("sigma", 0, 100),
            ("amount", 0, 100),
        ):
            if not low <= getattr(self, name) <= high:
                raise SettingError(f"{name!r} of enhance is from {low} to {high}, but it is {getattr(self, name)}.")

    @property
    def unit(self) -> str | None:
        return {"unsharp": None, "window": "1"}.get(self.method, "arbitrary")

    @property
    def keeps_type(self) -> bool:
        return self.method != "window"

    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        if self.method == "unsharp":
            smooth = ndimage.gaussian_filter(values, [self.sigma / size for size in spacing], mode="nearest")
            return values + np.float32(self.amount) * (values - smooth), {}
        low, high = map(float, self.range or np.percentile(values, PERCENTILES))
        chosen: Chosen = {"low": low, "high": high}
        if high <= low:
            return (np.zeros_like(values) if self.method == "window" else values), chosen
        share: Values = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
        if self.method == "window":
            return share, chosen
        made = share**self.gamma if self.method == "gamma" else equalise(share, self.tiles, self.clip_limit)
        is_inside = (values > low) & (values < high)
        return np.where(is_inside, made * np.float32(high - low) + np.float32(low), values), chosen


def is_pair(values: Sequence[object]) -> bool:
    """Tell whether these are two finite numbers."""
    return len(values) == 2 and all(isinstance(v, (int, float)) and np.isfinite(v) for v in values)


def equalise(share: Values, tiles: int, clip_limit: float) -> Values:
    """Equalise the histograms of values from 0 to 1 tile by tile, and interpolate linearly between their middles."""
    counts = [max(1, min(tiles, n // MIN_TILE)) for n in share.shape]
    bins = np.minimum((share * BINS).astype(np.intp), BINS - 1)
    owner = np.zeros((1,) * share.ndim, np.intp)
    for n, count, grid in zip(share.shape, counts, np.ogrid[tuple(slice(n) for n in share.shape)], strict=True):
        owner = owner * count + grid * count // n
    cells = np.bincount((owner * BINS + bins).ravel(), minlength=int(np.prod(counts)) * BINS).reshape(-1, BINS)
    curves = np.pad(np.cumsum(clip_histograms(cells, clip_limit), axis=1), ((0, 0), (1, 0)))
    made = np.empty_like(share)
    thick = max(1, SLAB_ELEMENTS // max(1, share[:1].size))
    for start in range(0, len(share), thick):
        slab = slice(start, start + thick)
        made[slab] = between_tiles(share[slab], bins[slab], curves, counts, (start, *share.shape))
    return made


def clip_histograms(cells: NDArray[np.intp], clip_limit: float) -> NDArray[np.float64]:
    """Give the share of each bin, none above ``clip_limit`` times the mean: what is cut is spread over the others."""
    shares = cells / cells.sum(axis=1, keepdims=True)
    most = clip_limit / BINS
    low, high = np.zeros((len(cells), 1)), np.full((len(cells), 1), most)
    for _ in range(40):
        added = (low + high) / 2
        is_short = np.minimum(shares + added, most).sum(axis=1, keepdims=True) < 1
        low, high = np.where(is_short, added, low), np.where(is_short, high, added)
    spread = shares.max(axis=1, keepdims=True) > most
    clipped: NDArray[np.float64] = np.where(spread, np.minimum(shares + high, most), shares)
    return clipped / clipped.sum(axis=1, keepdims=True)


def between_tiles(
    share: Values, bins: NDArray[np.intp], curves: NDArray[np.float64], counts: Sequence[int], place: Sequence[int]
) -> Values:
    """Map a slab by the curves of the tiles around each element; ``place``: where it begins, and the whole's shape."""
    start, *shape = place
    rest = share * BINS - bins
    corners = []
    for axis, (n, count) in enumerate(zip(shape, counts, strict=True)):
        first = start if axis == 0 else 0
        at = (np.arange(first, first + share.shape[axis]) + 0.5) * count / n - 0.5
        below = np.clip(np.floor(at).astype(np.intp), 0, max(0, count - 2))
        weight = np.clip(at - below, 0, 1)
        lie = [-1 if a == axis else 1 for a in range(share.ndim)]
        corners.append(
            [((below + s).clip(0, count - 1).reshape(lie), (weight if s else 1 - weight).reshape(lie)) for s in (0, 1)]
        )
    made = np.zeros(share.shape)
    for corner in product(*corners):
        tile, weight = np.zeros((1,) * share.ndim, np.intp), np.ones((1,) * share.ndim)
        for count, (index, part) in zip(counts, corner, strict=True):
            tile, weight = tile * count + index, weight * part
        left, right = curves[tile, bins], curves[tile, bins + 1]
        made += weight * (left + rest * (right - left))
    return made.astype(np.float32)


THIS = Enhance
