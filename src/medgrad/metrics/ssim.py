"""The structural similarity index."""

from __future__ import annotations

from scipy import ndimage

from ..data.types import Image, LabelMap
from ._images import ChannelPair, Values, mean_over_channels
from ._metric import Figure, Metric

SIGMA, TRUNCATE = 1.5, 3.5
"""The Gaussian window of Wang and others (2004), in elements: 11 along each axis."""
RADIUS = round(SIGMA * TRUNCATE)
K1, K2 = 0.01, 0.03


def ssim(pair: ChannelPair) -> float | None:
    """Give the mean of the index of Wang and others (2004), equation 13; None where the truth is flat.

    Elements whose window reaches over the border do not count, along axes that are longer than a window.
    """
    if pair.span == 0:
        return None
    a, b = pair.truth, pair.answer
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, both = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = (K1 * pair.span) ** 2, (K2 * pair.span) ** 2
    index = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    inner = tuple(slice(RADIUS, -RADIUS) if n > 2 * RADIUS else slice(None) for n in a.shape)
    counted = index[inner][pair.inside[inner]]
    return float(counted.mean()) if counted.size else float(index[pair.inside].mean())


def blur(values: Values) -> Values:
    """Average over the window."""
    blurred: Values = ndimage.gaussian_filter(values, SIGMA, truncate=TRUNCATE)
    return blurred


def compute(truth: Image, answer: Image, *, region: LabelMap | None = None) -> dict[str, float | None]:
    """Give ``ssim``."""
    return {"ssim": mean_over_channels(ssim, truth, answer, region)}


THIS = Metric(
    input_kind="image",
    compute=compute,
    figures={
        "ssim": Figure(
            "higher",
            "The structural similarity of the true image and the answer, in Gaussian windows of 1.5 elements; the "
            "range is the highest less the lowest value of the true image, where it counts.",
            worst=0.0,
            bounds=(-1.0, 1.0),
        ),
        "ssim_before": Figure(
            "higher",
            "The structural similarity of the image that was shown and the true one.",
            worst=None,
            bounds=(-1.0, 1.0),
        ),
    },
)
