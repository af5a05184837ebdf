"""What is abnormal in a case, by its truth or because a lesion was planted into it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data import AnomalyMap, Case, Grid, Image, LabelMap, Scores
from ..errors import SettingError
from ..trust.planted_lesions import Lesion, plant, profile_of

TRIES = 40
LEAST_BRIGHTNESS = 0.1
"""A lesion is planted where the image is brighter than this share of its range: not into air."""
PLANTED = "+lesion"


def known_anomaly(case: Case, abnormal: Sequence[str]) -> AnomalyMap:
    """Give where a case is abnormal: its labels or its class of these names; nowhere if none was named."""
    truth = case.truth
    if isinstance(truth, AnomalyMap):
        return truth
    found = np.zeros(case.grid.shape, np.float32)
    if abnormal and isinstance(truth, LabelMap):
        check_names(abnormal, truth.names.values())
        found[np.isin(truth.array, [value for value, name in truth.names.items() if name in abnormal])] = 1
    elif abnormal and isinstance(truth, Scores):
        check_names(abnormal, truth.names)
        found[...] = any(v > 0.5 for name, v in zip(truth.names, truth.values, strict=True) if name in abnormal)
    elif abnormal:
        raise SettingError(
            f"'abnormal' of anomaly names {', '.join(abnormal)}, but case {case.id!r} has neither a mask nor a class. "
            "Take it out, and lesions are planted to judge by."
        )
    return AnomalyMap(found, case.grid)


def anomaly_of(truth: Any, abnormal: Sequence[str], dims: int) -> AnomalyMap:
    """Give where a truth says that something is abnormal, where its image could not be read."""
    grid = truth.grid if isinstance(truth, LabelMap | Image) else Grid.from_shape((1,) * dims)
    return known_anomaly(Case("", {"image": Image(np.zeros(grid.shape, np.float32), grid)}, truth), abnormal)


def check_names(abnormal: Sequence[str], known: Iterable[str]) -> None:
    """Raise if a name is not known."""
    names = list(known)
    for name in abnormal:
        if name not in names:
            raise SettingError(
                f"'abnormal' of anomaly names {name!r}, but the set has {', '.join(names)}. Name some of these."
            )


def with_planted_lesion(
    case: Case, *, diameters_mm: tuple[float, float], contrasts: tuple[float, float]
) -> tuple[Case, ...]:
    """Give the case with one lesion in all its images, by a seed that its id gives; nothing where none has room.

    It is lighter or darker than what is around, by so many standard deviations of each channel of each image.
    """
    first = next(iter(case.images.values()))
    if not all(image.grid.shape == first.grid.shape for image in case.images.values()):
        return ()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(case.id.encode()).digest()[:6], "big"))
    contrast = float(rng.uniform(*contrasts))
    values = np.nan_to_num(first.channels_first[0].astype(np.float64))
    low, high = np.percentile(values, [1, 99])
    inside = values > low + LEAST_BRIGHTNESS * (high - low)
    inside &= np.ones(values.shape, bool) if case.roi is None else case.roi.array != 0
    for _ in range(TRIES):
        _, lesions = plant(values, case.grid.spacing, rng, count=1, contrast=1.0, diameters_mm=diameters_mm)
        if lesions and inside[lesions[0].centre]:
            return (planted_case(case, lesions[0], contrast),)
    return ()


def planted_case(case: Case, lesion: Lesion, contrast: float) -> Case:
    """Give the case with a lesion of contrast 1 or -1 added, so many deviations strong."""
    profile = profile_of(lesion, case.grid.shape, case.grid.spacing)

    def planted(image: Image) -> Image:
        planes = [
            plane + contrast * float(np.nanstd(plane.astype(np.float64))) * profile for plane in image.channels_first
        ]
        array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
        return replace(image, array=array.astype(np.float32))

    truth = AnomalyMap((np.abs(profile) > 0.5).astype(np.float32), case.grid)
    images = {name: planted(image) for name, image in case.images.items()}
    return replace(case, id=f"{case.id}{PLANTED}", images=images, truth=truth, patient=case.patient or case.id)
