"""The kernel inception distance, on features of our own instead of a network's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data.types import Image, LabelMap
from ._images import channel_pairs
from ._metric import Figure, Metric, Row

Numbers = NDArray[np.float64]
SCALES = (0.7, 1.5, 3.0)
"""The widths of the Gaussians, in elements, between which the details of an image are measured."""
FARTHEST = 10.0
"""A feature counts as so many standard deviations of the true images at most."""
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)


def image_features(values: Numbers, inside: NDArray[np.bool_]) -> Numbers:
    """Give 24 numbers that tell what an image looks like: intensities, details at each scale, and edges.

    Quantiles; the logarithm of the deviation of each band of details, along each axis of the edges; and how heavy the
    tails of both are.
    """
    counted = values[inside] if inside.any() else values.ravel()
    found = [*np.quantile(counted, QUANTILES), float(counted.std())]
    before = values
    for scale in SCALES:
        smooth = ndimage.gaussian_filter(values, scale, mode="nearest")
        found += moments((before - smooth)[inside])
        slopes = [np.gradient(smooth, axis=axis) for axis in range(values.ndim) if values.shape[axis] > 1]
        found += moments(np.sqrt(np.sum(np.square(slopes), axis=0))[inside]) if slopes else [0.0, 0.0]
        before = smooth
    found += moments((before - before.mean())[inside])
    return np.array([*found, *[0.0] * (24 - len(found))][:24])


def moments(values: Numbers) -> list[float]:
    """Give the logarithm of the root mean square, and how heavy the tails are: that of the fourth moment beside it."""
    size = 0.5 * float(np.log((values**2).mean() + 1e-12))
    return [size, 0.25 * float(np.log((values**4).mean() + 1e-24)) - size]


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, str | float | None]:
    """Give the features of both as texts, from which ``pool`` makes ``kid`` and ``likeness``."""
    pair = channel_pairs(truth, answer, region)[0]
    return {
        "features/truth": as_text(image_features(pair.truth, pair.inside)),
        "features/answer": as_text(image_features(pair.answer, pair.inside)),
    }


def as_text(features: Numbers) -> str:
    """Write features as a short text.

    >>> as_text(np.array([1.0, 0.25]))
    '1 0.25'
    """
    return " ".join(f"{v:.7g}" for v in features)


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give the distance of the two sets of features in each resample; nan where fewer than two cases are left."""
    known = [row for row in rows if row.get("features/truth") and row.get("features/answer")]
    kept = [bool(row.get("features/truth") and row.get("features/answer")) for row in rows]
    if not known:
        return {}
    truth, answer = (
        np.array([str(r[f"features/{side}"]).split() for r in known], float) for side in ("truth", "answer")
    )
    middle, spread = truth.mean(0), truth.std(0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    truth, answer = (np.clip((side - middle) / spread, -FARTHEST, FARTHEST) for side in (truth, answer))
    within, between, other = kernel(truth, truth), kernel(truth, answer), kernel(answer, answer)
    unbiased, biased = [], []
    for w in weights[:, kept]:
        unbiased.append(squared_discrepancy(within, between, other, w, is_biased=False))
        biased.append(squared_discrepancy(within, between, other, w, is_biased=True))
    distance = np.array(biased)
    return {"kid": np.array(unbiased), "likeness": 1 / (1 + np.maximum(distance, 0))}


def kernel(a: Numbers, b: Numbers) -> Numbers:
    """Give the polynomial kernel of the third degree of Binkowski and others (2018)."""
    values: Numbers = (a @ b.T / a.shape[1] + 1) ** 3
    return values


def squared_discrepancy(within: Numbers, between: Numbers, other: Numbers, w: Numbers, *, is_biased: bool) -> float:
    """Give the squared maximum mean discrepancy, where ``w`` says how often each case counts.

    Unbiased, pairs of a case and itself do not count, nor its truth beside its own answer.
    """
    total = w.sum()
    if total < (1 if is_biased else 2):
        return float("nan")
    if is_biased:
        return float((w @ within @ w - 2 * w @ between @ w + w @ other @ w) / total**2)
    pairs = total**2 - (w**2).sum()
    if pairs <= 0:
        return float("nan")
    off = [w @ k @ w - (w**2 * np.diag(k)).sum() for k in (within, between, other)]
    return float((off[0] - 2 * off[1] + off[2]) / pairs)


THIS = Metric(
    input_kind="image_set",
    compute=compute,
    pool=pool,
    figures={
        "kid": Figure(
            "lower",
            "The kernel inception distance (Binkowski and others, 2018) of answers and true images, on 24 features of "
            "intensities, details and edges instead of those of a network; 0 or below where they cannot be told apart.",
            worst=None,
            bounds=None,
        ),
        "likeness": Figure(
            "higher",
            "How alike the set of answers and that of the true images are: 1 over 1 and the squared discrepancy of "
            "their features; 1 where all are the same.",
        ),
        "features": Figure(
            "zero", "Features of an image, from which the figures of the set are made.", worst=None, bounds=None
        ),
    },
)
