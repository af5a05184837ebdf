"""What a run that answers images changes, on some of its validation images: by frequency and by region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...data import Image
from ...trust.residuals import REGIONS, mean_power, region_figures
from ..loading.cache import PreparedCase
from ..runs.run import TrainedRun
from .infer import answer_case

MAX_CASES = 6
IMAGE_ANSWERS = ("image", "synthetic_image")


@dataclass(frozen=True)
class Residuals:
    """Power by frequency (from 0 to half a cycle an element) as shares of the truth's variance, and figures by region.

    ``power`` names what each line is of. ``regions`` are means and deviations in flat regions, over the cases, and
    empty where an image is not answered from one of its own kind.
    """

    cases: int
    power: Mapping[str, Sequence[float | None]]
    regions: Mapping[str, Mapping[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self)


def measure_residuals(trained: TrainedRun, cases: Sequence[PreparedCase]) -> Residuals | None:
    """Answer some cases and measure what is changed; None where answers are no images of one channel."""
    kind = trained.task.outputs.answer
    if kind not in IMAGE_ANSWERS:
        return None
    triples = []
    for ready in cases[:MAX_CASES]:
        truth, shown = ready.original.truth, next(iter(ready.original.images.values()))
        if not isinstance(truth, Image) or truth.channels != 1 or shown.grid.shape != truth.grid.shape:
            continue
        answer: Image = answer_case(trained, ready.original)
        planes = [image.channels_first[0].astype(np.float64) for image in (truth, shown, answer)]
        if all(np.isfinite(plane).all() for plane in planes) and planes[0].std() > 0:
            triples.append(planes)
    if not triples:
        return None
    truths, shown_images, answers = map(list, zip(*triples, strict=True))
    scales = [float(truth.std()) for truth in truths]
    if kind == "synthetic_image":
        lines = {"truth": truths, "answer": answers}
        return Residuals(len(triples), {name: mean_power(images, scales) for name, images in lines.items()}, {})
    lines = {
        "shown less truth": differences(shown_images, truths),
        "shown less answer": differences(shown_images, answers),
        "answer less truth": differences(answers, truths),
    }
    power = {name: mean_power(images, scales) for name, images in lines.items()}
    each = [region_figures(truth, {"shown": shown, "answer": answer}) for truth, shown, answer in triples]
    return Residuals(len(triples), power, mean_over_cases(each))


def differences(images: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Give each image less the other one."""
    return [image - other for image, other in zip(images, others, strict=True)]


def mean_over_cases(each: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Give the mean of every figure of every region over the cases that have it."""
    found = {}
    for region in REGIONS:
        rows = [figures[region] for figures in each if region in figures]
        if rows:
            found[region] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return found
