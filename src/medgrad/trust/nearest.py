"""Nearest patients of an image by correlation, over all flips and small shifts: coarse first, then in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Numbers = NDArray[np.floating[Any]]
Floats = NDArray[np.float32]
Flips = tuple[int, ...]
Shift = tuple[int, ...]

SMOOTHING = 1.0  # elements; noise that is independent from element to element mostly goes
MAX_ELEMENTS = 2**19  # of an image; larger ones are halved along each axis
COARSE_ELEMENTS = 800  # at which all flips and shifts are tried
SPARE_PATIENTS = 5  # that are looked at in full beyond the neighbours asked for


@dataclass(frozen=True)
class Match:
    """How near an image comes to one of the bank: 1 less their correlation, after a flip and a shift of the image.

    ``shift`` is in elements: what lies at ``i`` in the image of the bank lies at ``i + shift`` in the flipped one.
    """

    index: int
    distance: float
    flips: Flips
    shift: Shift


class Bank:
    """Images of one shape whose nearest ones are asked for; ``patients`` says whose each is.

    Every image is compared where it lies at least ``reach`` elements within its border, so that a shifted one has a
    value for each of its elements. It holds them smoothed, in float32.
    """

    def __init__(self, images: Sequence[Numbers], patients: Sequence[str], *, reach: int) -> None:
        shape = np.asarray(images[0]).shape
        self.halvings = 0
        while np.prod(shape) / 2 ** (len(shape) * self.halvings) > MAX_ELEMENTS:
            self.halvings += 1
        self.shape = tuple(size // 2**self.halvings for size in shape)
        self.reach = min(-(-reach // 2**self.halvings), (min(self.shape) - 2) // 2)
        if self.reach < 0:
            raise ValueError(f"An image has at least 2 elements along each axis, but these are {shape}.")
        self.patients = np.asarray(patients)
        inner = np.prod([size - 2 * self.reach for size in self.shape])
        self.stride = max(1, int((inner / COARSE_ELEMENTS) ** (1 / len(shape))))
        start = (0,) * len(shape)
        whole = [self.smoothed(image) for image in images]
        self.full = np.stack([normalised(self.compared_values(image, start)) for image in whole])
        self.coarse = np.stack([normalised(self.compared_values(image, start, self.stride)) for image in whole])

    def smoothed(self, image: Numbers) -> Floats:
        """Give an image halved as often as the bank and smoothed; what is not finite gets the mean."""
        values = np.asarray(image, np.float32)
        known = np.isfinite(values)
        if not known.all():
            values = np.where(known, values, values[known].mean() if known.any() else 0).astype(np.float32)
        for _ in range(self.halvings):
            for axis, size in enumerate(values.shape):
                values = np.take(values, range(size // 2 * 2), axis)
                pairs = (*values.shape[:axis], size // 2, 2, *values.shape[axis + 1 :])
                values = values.reshape(pairs).mean(axis=axis + 1)
        low, high = float(values.min()), float(values.max())
        values = (values - low) / max(high - low, 1e-30)  # squares of large values leave float32
        return np.asarray(ndimage.gaussian_filter(values, SMOOTHING, mode="nearest"), np.float32)

    def compared_values(self, image: Floats, shift: Shift, stride: int = 1) -> Floats:
        """Give the elements of a shifted image that are compared, in one row."""
        r = self.reach
        return image[tuple(slice(r + s, n - r + s, stride) for s, n in zip(shift, image.shape, strict=True))].ravel()

    @cached_property
    def places(self) -> list[tuple[Flips, Shift]]:
        """Every flip and shift that is tried."""
        axes = len(self.shape)
        return list(product(product((0, 1), repeat=axes), product(range(-self.reach, self.reach + 1), repeat=axes)))

    def nearest(self, image: Numbers, count: int, *, without: str | None = None) -> list[Match]:
        """Give the nearest image of each of the ``count`` nearest patients, the nearest first.

        ``without`` names a patient who does not count.
        """
        whole = self.smoothed(image)
        turned = {flips: np.flip(whole, tuple(a for a, f in enumerate(flips) if f)) for flips, _ in self.places}
        shown = np.stack([self.compared_values(turned[flips], shift, self.stride) for flips, shift in self.places])
        correlation = normalised(shown) @ self.coarse.T  # (places, images)
        place = correlation.argmax(axis=0)
        best = correlation[place, np.arange(len(place))]
        chosen: dict[str, int] = {}
        for index in np.argsort(-best, kind="stable"):
            patient = str(self.patients[index])
            if patient != without and len(chosen) < count + SPARE_PATIENTS:
                chosen.setdefault(patient, int(index))
        rows: dict[tuple[Flips, Shift], Floats] = {}
        found = [self.refine(turned, index, self.places[place[index]], rows) for index in chosen.values()]
        factor = 2**self.halvings
        ordered = sorted(found, key=lambda m: m.distance)[:count]
        return [Match(m.index, m.distance, m.flips, tuple(s * factor for s in m.shift)) for m in ordered]

    def refine(
        self, turned: dict[Flips, Floats], index: int, start: tuple[Flips, Shift], rows: dict[Any, Floats]
    ) -> Match:
        """Move the shift by one element at a time while the correlation in full grows."""
        flips, shift = start

        def correlation(at: Shift) -> float:
            if (flips, at) not in rows:
                rows[flips, at] = normalised(self.compared_values(turned[flips], at))
            return float(rows[flips, at] @ self.full[index])

        best, moves = correlation(shift), True
        while moves:
            moves = False
            for axis, step in product(range(len(shift)), (-1, 1)):
                there = tuple(s + step * (a == axis) for a, s in enumerate(shift))
                if abs(there[axis]) <= self.reach and (value := correlation(there)) > best:
                    best, shift, moves = value, there, True
        return Match(index, max(0.0, 1 - best), flips, shift)


def normalised(rows: Floats) -> Floats:
    """Give rows with mean 0 and length 1; a constant row is 0."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    length = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    return np.where(length > 1e-6, rows / np.maximum(length, 1e-6), 0).astype(np.float32)
