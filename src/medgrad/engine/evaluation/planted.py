"""Plant lesions into the images of a run that restores: what it keeps of them, removes and invents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...augment import Augmentation
from ...data import Case, Image
from ...trust.planted_lesions import PlantedFigures, judge_planted, plant, transplant
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
    if trained.task.outputs.answer == "synthetic_image":
        return transplant_and_judge(trained, cases, seed=seed)
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


def transplant_and_judge(trained: TrainedRun, cases: Sequence[PreparedCase], *, seed: int = 0) -> PlantedFigures | None:
    """Plant tissue where it does not belong into all images of each case and into the truth, and judge the answers.

    A translator that answers what usually lies there, not what is shown, is thus told. What it invents in images as
    they are is not: its answers differ from the truth everywhere. None where no tissue could be planted.
    """
    trials: list[Any] = []
    spacing: Sequence[float] = ()
    for number, ready in enumerate(cases[:MAX_CASES]):
        case = ready.original
        if not isinstance(case.truth, Image):
            continue
        images: dict[str, Image] = {f"shown {name}": image for name, image in case.images.items()}
        images["truth"] = case.truth
        if not all(image.channels == 1 and np.isfinite(image.array).all() for image in images.values()):
            continue
        spacing, rng = case.grid.spacing, np.random.default_rng((seed, number))
        arrays = {name: image.channels_first[0].astype(np.float64) for name, image in images.items()}
        planted, lesions = transplant(arrays, "truth", spacing, rng, count=LESIONS_A_CASE)
        if not lesions:
            continue
        shown = {
            name: replace(image, array=planted[f"shown {name}"].astype(np.float32).reshape(image.array.shape))
            for name, image in case.images.items()
        }
        before, after = (
            answer_case(trained, one).channels_first[0].astype(np.float64)
            for one in (case, replace(case, images=shown))
        )
        trials.append((before, planted["truth"], after, lesions))
    return judge_planted(trials, [], spacing, seed) if trials else None


def answers_about(
    trained: TrainedRun, case: Case, values: Any, degradations: Sequence[Augmentation]
) -> tuple[Any, Any]:
    """Give an image as it is shown, degraded, and the answer about it, as arrays of one channel."""
    name, image = next(iter(case.images.items()))
    whole = replace(image, array=values.astype(np.float32))
    degraded = degrade_case(replace(case, images={name: whole}), trained.prepare_steps, degradations)
    answer: Image = answer_case(trained, degraded)
    return degraded.images[name].channels_first[0].astype(np.float64), answer.channels_first[0].astype(np.float64)
