"""Plant lesions into the images of a run that restores: what it keeps of them, removes and invents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...augment import Augmentation
from ...data import Case, Image
from ...trust.planted_lesions import PlantedFigures, judge_planted, plant
from ..loading.cache import PreparedCase
from ..loading.degrade import degrade_case
from ..runs.run import TrainedRun
from .infer import answer_case

MAX_CASES = 12
LESIONS_A_CASE = 4
CONTRAST_SHARE = 0.25
"""The contrast of planted lesions, as a share of the range between the percentiles 1 and 99 of their image."""


def plant_and_judge(
    trained: TrainedRun, cases: Sequence[PreparedCase], degradations: Sequence[Augmentation], *, seed: int = 0
) -> PlantedFigures | None:
    """Plant lesions into clean images, degrade these as validation images are, and judge the answers.

    Each case serves with lesions and without. None where no case is its own truth, or none has room for a lesion.
    """
    if trained.task.makes_images():  # of noise, in which no lesion can be planted
        return None
    trials: list[Any] = []
    clean_trials: list[Any] = []
    spacing: Sequence[float] = ()
    for number, ready in enumerate(cases[:MAX_CASES]):
        truth = ready.original.truth
        if not degradations or not isinstance(truth, Image) or truth.channels != 1:
            continue
        clean = truth.channels_first[0].astype(np.float64)
        low, high = np.percentile(clean, [1, 99])
        spacing, rng = truth.grid.spacing, np.random.default_rng((seed, number))
        planted, lesions = plant(clean, spacing, rng, count=LESIONS_A_CASE, contrast=CONTRAST_SHARE * float(high - low))
        if not lesions or high <= low:
            continue
        shown, answer = answers_about(trained, ready.original, planted, degradations)
        trials.append((clean, shown, answer, lesions))
        clean_trials.append((clean, answers_about(trained, ready.original, clean, degradations)[1]))
    return judge_planted(trials, clean_trials, spacing, seed) if trials else None


def answers_about(
    trained: TrainedRun, case: Case, values: Any, degradations: Sequence[Augmentation]
) -> tuple[Any, Any]:
    """Give an image as it is shown, degraded, and the answer about it, as arrays of one channel."""
    name, image = next(iter(case.images.items()))
    whole = replace(image, array=values.astype(np.float32))
    degraded = degrade_case(replace(case, images={name: whole}), trained.prepare_steps, degradations)
    answer: Image = answer_case(trained, degraded)
    return degraded.images[name].channels_first[0].astype(np.float64), answer.channels_first[0].astype(np.float64)
