"""The metric interface; each file of this folder ends in ``THIS = Metric(...)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data.grid import Grid

Row = Mapping[str, float | str | None]


@dataclass(frozen=True)
class Figure:
    """What one number means: ``dice`` tells it for ``dice/liver``, ``dice/tumour`` and ``dice/mean``.

    ``better`` is the direction; ``zero`` is for a signed number that is best at 0. ``unit`` is empty for a share.
    ``worst`` is what a failed case gets: a number, ``"diagonal"`` for the longest way through the image, or None where
    nothing is worst, so that a failed case does not count. ``definition`` is the definition, for the report.
    ``rank_only`` tells that of the scores just their order counts.
    """

    better: Literal["higher", "lower", "zero"]
    definition: str
    worst: float | Literal["diagonal"] | None = 0.0
    unit: str = ""
    bounds: tuple[float, float] | None = (0.0, 1.0)
    rank_only: bool = False


@dataclass(frozen=True)
class Metric:
    """How an answer is judged, and what its figures mean.

    On labels, ``compute(truth, answer, *, region=None)`` takes two label maps and gives one row for one case. On
    scores, ``compute(truth, probabilities, *, names, exclusive)`` takes (n, k) arrays of a whole set and gives its
    figures. On boxes, ``compute(truth, answer, *, region=None)`` gives one row of counts and short texts, which
    ``pool`` turns into figures. On a field, ``compute(truth, answer)`` takes a deformation as the answer. On an image,
    ``compute(truth, answer, *, region=None)`` takes two images and gives one row; on a set of images it gives
    features, from which ``pool`` makes the figures of the set. On an anomaly it takes two maps. A figure that is not
    defined is None and never counts.

    Both are also made for resampling, where ``weights`` (b, n) says how often each of n rows counts in each of b
    resamples, and arrays (b,) come back that hold nan where a figure is not defined. ``pool(rows, weights)`` turns the
    rows of a set on labels into figures of the set; None means that each figure is averaged over the rows.
    ``compute_many`` is ``compute`` on scores with ``weights``.
    """

    input_kind: Literal["labels", "scores", "boxes", "field", "image", "image_set", "anomaly_map"]
    compute: Callable[..., dict[str, Any]]
    figures: Mapping[str, Figure]
    pool: Callable[[Sequence[Row], NDArray[np.float64]], dict[str, NDArray[np.float64]]] | None = None
    compute_many: Callable[..., dict[str, NDArray[np.float64]]] | None = None


def grid_diagonal(grid: Grid) -> float:
    """Give the longest distance between two elements of a grid.

    >>> grid_diagonal(Grid.from_shape((4, 5), spacing=(1, 1)))
    5.0
    """
    steps = [[(s - 1) * sign for sign in ((1,) if axis == 0 else (1, -1))] for axis, s in enumerate(grid.shape)]
    points = grid.to_world(list(product(*steps))) - grid.to_world([0] * grid.dims)
    return float((points**2).sum(axis=1).max() ** 0.5)


F1 = Figure(
    "higher",
    "The harmonic mean of precision and sensitivity. In segmentation it is counted over the pixels of all cases "
    "together, inside the region that counts; in classification it is the mean over the classes.",
)
SPECIFICITY = Figure("higher", "Of what is not of the class in the truth, the share that the answer leaves out.")
