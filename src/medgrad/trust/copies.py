"""Copies of training patients among made images: nearer to one patient than two patients are to each other.

The nearest patient is looked for over all flips, shifts of a few elements and linear changes of intensity. What is
compared is a ratio, as Carlini and others (USENIX Security 2023) do: the distance to the nearest patient over the
median distance to the next nearest. An average of all patients is near to each of them, and is no copy of any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .nearest import Bank, Match, Numbers
from .planted_copies import plant_copy

MIN_PATIENTS = 8
MAX_NEIGHBOURS = 10
MAX_SHIFT = 3
FALSE_RATE = 1 / 40  # of images of other patients; the threshold is put where a tenth of it is expected
MIN_RECALL = 0.95
QUARTILE_EFFICIENCY = 0.37  # of the spread by quartiles against the standard deviation, for normal numbers
MIN_SPREAD = 0.05
MAX_ROUNDS = 20


@dataclass(frozen=True)
class Neighbour:
    """The nearest training patient of a made image, at which distance, and under which flip and shift.

    ``distance`` is 1 less the correlation, ``ratio`` that over the median distance to the next nearest patients.
    """

    patient: str
    distance: float
    ratio: float
    flips: tuple[int, ...]
    shift: tuple[int, ...]
    is_copy: bool


@dataclass(frozen=True)
class CopyCheck:
    """What the search for copies found; nothing but the ``reason`` where it cannot be relied on.

    An image is a copy if its ratio is below the ``threshold``, which comes from training patients alone. ``copies``
    are the places of such images, and ``chance_limit`` is the number of them that images of other patients exceed in
    one set of twenty. ``duplicates`` are training patients who are that near to another one. ``control_recall`` is the
    share of planted copies that was found.
    """

    n_images: int
    n_patients: int
    threshold: float | None = None
    control_recall: float | None = None
    n_planted: int = 0
    control_noise: float = 0.0
    nearest: tuple[Neighbour, ...] = ()
    copies: tuple[int, ...] = ()
    chance_limit: int | None = None
    duplicates: tuple[str, ...] = ()
    reason: str = ""

    @property
    def is_flagged(self) -> bool | None:
        """Whether more images are copies than chance explains; None where nothing is reported."""
        return None if self.chance_limit is None else len(self.copies) > self.chance_limit

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self) | {"is_flagged": self.is_flagged}


def find_copies(
    images: Sequence[Numbers],
    training: Sequence[Numbers],
    patients: Sequence[str],
    *,
    max_shift: int = MAX_SHIFT,
    control_noise: float = 0.25,
    n_planted: int = 60,
    seed: int = 0,
) -> CopyCheck:
    """Find the images that are copies of a training patient; ``patients`` says whose each training image is.

    All are arrays of one shape, with space alone as axes. Copies are planted by flips, shifts up to ``max_shift``, an
    exponent from 0.7 to 1.4 and noise of ``control_noise`` standard deviations; unless 95 % of them are found, nothing
    else is reported.

    >>> rng = np.random.default_rng(0)
    >>> training = [rng.normal(size=(24, 24)) for _ in range(12)]
    >>> found = find_copies([training[3][::-1]], training, [str(i) for i in range(12)])
    >>> found.nearest[0].patient, found.copies
    ('3', (0,))
    """
    check_images(images, training, patients)
    known = list(dict.fromkeys(patients))
    if len(known) < MIN_PATIENTS:
        reason = (
            f"There are {len(known)} training patients, and fewer than {MIN_PATIENTS} do not tell how near two are."
        )
        return CopyCheck(len(images), len(known), reason=reason)
    bank = Bank(training, patients, reach=max_shift)
    count = 1 + min(MAX_NEIGHBOURS, len(known) // 2)
    others = [nearest_ratio(bank, image, count, without=str(p)) for image, p in zip(training, patients, strict=True)]
    threshold = ratio_threshold(least_by_patient([ratio for _, ratio in others], patients))
    duplicates = {str(p): str(patients[m.index]) for (m, r), p in zip(others, patients, strict=True) if r < threshold}
    rng, found = np.random.default_rng(seed), 0
    for place in planted_places(len(training), n_planted, rng):
        copy = plant_copy(training[place], rng, noise=control_noise, shift=max_shift)
        match, ratio = nearest_ratio(bank, copy, count)
        found += ratio < threshold and is_same_or_duplicate(
            str(patients[match.index]), str(patients[place]), duplicates
        )
    recall = found / n_planted
    if recall < MIN_RECALL:
        reason = f"Of {n_planted} planted copies {found} were found, so that a copy among the images may be missed."
        return CopyCheck(len(images), len(known), None, recall, n_planted, control_noise, reason=reason)
    nearest = tuple(as_neighbour(*nearest_ratio(bank, i, count), patients, threshold) for i in images)
    return CopyCheck(
        n_images=len(images),
        n_patients=len(known),
        threshold=threshold,
        control_recall=recall,
        n_planted=n_planted,
        control_noise=control_noise,
        nearest=nearest,
        copies=tuple(place for place, each in enumerate(nearest) if each.is_copy),
        chance_limit=chance_limit(len(images)),
        duplicates=tuple(duplicates),
    )


def check_images(images: Sequence[Numbers], training: Sequence[Numbers], patients: Sequence[str]) -> None:
    """Raise if the images are not of one shape, or training images lack a patient."""
    if len(training) != len(patients) or not len(training):
        raise ValueError(f"Each training image needs its patient, but {len(training)} came with {len(patients)}.")
    shapes = {np.shape(image) for image in (*images, *training)}
    if len(shapes) > 1:
        raise ValueError(f"Copies are looked for among images of one shape, but these are {shapes}. Crop or pad them.")


def nearest_ratio(bank: Bank, image: Numbers, count: int, *, without: str | None = None) -> tuple[Match, float]:
    """Give the nearest patient's image, and its distance over the median of the next nearest patients'."""
    found = bank.nearest(image, count, without=without)
    beyond = float(np.median([m.distance for m in found[1:]]))
    return found[0], found[0].distance / beyond if beyond > 0 else 1.0


def least_by_patient(ratios: Sequence[float], patients: Sequence[str]) -> NDArray[np.float64]:
    """Give the least ratio of each patient's images."""
    least: dict[str, float] = {}
    for ratio, patient in zip(ratios, patients, strict=True):
        least[patient] = min(ratio, least.get(patient, np.inf))
    return np.array(list(least.values()))


def is_same_or_duplicate(found: str, owner: str, duplicates: Mapping[str, str]) -> bool:
    """Whether the patient that was found for a copy is its owner, or one whose image is as good as the owner's."""
    known = {owner, duplicates.get(owner, owner)}
    return found in known or duplicates.get(found) in known


def ratio_threshold(ratios: NDArray[np.float64]) -> float:
    """Give the ratio below which one patient in 400 comes, from the ratios of training patients to each other.

    The log odds of the ratio are near normal. Patients below the threshold, who have a duplicate, are left out until
    none is; the first threshold is that of the upper half, which fewer than half of duplicates leave alone.

    >>> round(ratio_threshold(np.linspace(0.6, 0.9, 100)), 2)
    0.37
    """
    logs = np.sort(special.logit(np.clip(ratios, 1e-6, 1 - 1e-6)))
    middle, upper = np.quantile(logs, (0.5, 0.75))
    limit = lower_limit(middle, upper - middle, len(logs))
    for _ in range(MAX_ROUNDS):
        kept = logs[logs >= limit]
        lower, middle = np.quantile(kept, (0.25, 0.5))
        limit = lower_limit(middle, middle - lower, len(kept))
        if (logs >= limit).sum() == len(kept):
            break
    return float(special.expit(limit))


def lower_limit(middle: float, quartile: float, n: int) -> float:
    """Give the limit that one value yet to come in 400 falls below, if values are normal.

    Their spread is that of a quartile, ``quartile`` from the middle. The limit is Student's, with as many degrees of
    freedom as a spread by quartiles is worth.
    """
    spread = max(float(quartile) / float(special.ndtri(0.75)), MIN_SPREAD)
    reach = -special.stdtrit(max(1.0, QUARTILE_EFFICIENCY * (n - 1)), FALSE_RATE / 10) * np.sqrt(1 + 1 / n)
    return float(middle - reach * spread)


def planted_places(n_training: int, n_planted: int, rng: np.random.Generator) -> list[int]:
    """Choose the training images that copies are made of, each as often as any other."""
    turns = -(-n_planted // n_training)
    return [int(i) for i in np.concatenate([rng.permutation(n_training) for _ in range(turns)])[:n_planted]]


def chance_limit(n_images: int) -> int:
    """Give the number of false copies that is exceeded in at most one set of twenty.

    >>> chance_limit(40), chance_limit(64)
    (3, 4)
    """
    return next(k for k in range(n_images + 1) if special.bdtr(k, n_images, FALSE_RATE) >= MIN_RECALL)


def as_neighbour(match: Match, ratio: float, patients: Sequence[str], threshold: float) -> Neighbour:
    """Name the patient of a match, and say whether it is a copy."""
    name = str(patients[match.index])
    return Neighbour(name, match.distance, ratio, match.flips, match.shift, ratio < threshold)
