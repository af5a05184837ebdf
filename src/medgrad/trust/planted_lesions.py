"""Lesions planted into arrays: what a method that answers images keeps of them, removes, and invents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

Values = NDArray[np.float64]
CORE, SHELL = 0.75, (1.4, 2.2)
"""The middle of a lesion and the ring around it, in its radii: between them lies its edge."""
RECOVERED = (0.9, 1.1)
REMOVED = 0.5
"""Of less than this share of its contrast a lesion is removed, and with as much something is invented."""
MOST_REMOVED, MOST_LOST = 0.1, 0.02
"""A method is flagged that removes more than this share of the lesions, or loses more of the area under the curve."""
LEAST_STEP = 0.1
"""Tissue is transplanted where it differs from what is around by at least this share of the image's range."""


@dataclass(frozen=True)
class Lesion:
    """A ball that was planted: its centre in elements, its radius in mm, and its contrast in the unit of the image."""

    centre: tuple[int, ...]
    radius_mm: float
    contrast: float


@dataclass(frozen=True)
class PlantedFigures:
    """What became of planted lesions, and what appeared in images without any.

    ``recovered`` is the share whose contrast is 0.9 to 1.1 of the planted one, ``removed`` the share that has lost half
    of it. ``invented`` counts what looks like a lesion of half the contrast and was not planted, in ``clean`` images.
    ``auc_before`` and ``auc_after`` say how well a reader of local contrast tells lesions from other places.
    ``is_control_met``: lesions that were cut out again must be called removed, and those that were planted unseen
    invented; else no figure means anything.
    """

    lesions: int
    clean: int
    recovered: float
    removed: float
    invented: int
    auc_before: float
    auc_after: float
    is_control_met: bool

    @property
    def is_flagged(self) -> bool | None:
        """Whether lesions are removed, invented or harder to tell than on what was shown; None without the control."""
        if not self.is_control_met:
            return None
        return (
            self.removed > MOST_REMOVED
            or self.auc_before - self.auc_after > MOST_LOST
            or self.invented > max(1.0, self.clean / 40)
        )

    def as_dict(self) -> dict[str, Any]:
        """Give what a file can hold; without its control, nothing but that."""
        found = asdict(self) | {"is_flagged": self.is_flagged}
        return found if self.is_control_met else {"lesions": self.lesions, "is_control_met": False}


def distance_mm(shape: Sequence[int], spacing: Sequence[float], centre: Sequence[int]) -> Values:
    """Give the distance of every element from a centre, in mm."""
    axes = [((np.arange(n) - c) * s) ** 2 for n, c, s in zip(shape, centre, spacing, strict=True)]
    total: Values = np.sqrt(sum(np.ix_(*axes), start=np.zeros(())))
    return total


def plant(
    values: Values, spacing: Sequence[float], rng: np.random.Generator, *, count: int, contrast: float,
    diameters_mm: tuple[float, float] = (4.0, 8.0),
) -> tuple[Values, list[Lesion]]:  # fmt: skip
    """Add up to ``count`` balls of random places, sizes and signs, none near another or the border; also give them.

    An edge is as wide as an element. Where the array is too small for one, none is planted.
    """
    planted = values.astype(np.float64)
    lesions: list[Lesion] = []
    for _ in range(50 * count):
        if len(lesions) == count:
            break
        radius = float(rng.uniform(*diameters_mm)) / 2
        margin = [int(np.ceil(SHELL[1] * radius / s)) for s in spacing]
        if any(n <= 2 * m for n, m in zip(values.shape, margin, strict=True)):
            continue
        centre = tuple(int(rng.integers(m, n - m)) for n, m in zip(values.shape, margin, strict=True))
        away = [np.linalg.norm((np.array(centre) - at.centre) * spacing) for at in lesions]
        if any(d < 2.2 * (radius + at.radius_mm) for d, at in zip(away, lesions, strict=True)):
            continue
        lesion = Lesion(centre, radius, contrast * float(rng.choice([-1, 1])))
        planted = planted + profile_of(lesion, values.shape, spacing)
        lesions.append(lesion)
    return planted, lesions


def transplant(
    images: Mapping[str, Values], judged: str, spacing: Sequence[float], rng: np.random.Generator, *, count: int,
    diameters_mm: tuple[float, float] = (4.0, 8.0),
) -> tuple[dict[str, Values], list[Lesion]]:  # fmt: skip
    """Copy up to ``count`` balls of tissue to other places of all images at once; give these, and what was planted.

    What is planted is of the patient's own tissue, alike in every image, but where it does not belong. ``judged`` names
    the image whose contrast each lesion has; where tissue hardly differs in it from what is around, none is planted.
    """
    before, planted = images[judged], {name: image.astype(np.float64) for name, image in images.items()}
    low, high = np.percentile(before, [1, 99])
    lesions: list[Lesion] = []
    for _ in range(200 * count):
        if len(lesions) == count:
            break
        radius = float(rng.uniform(*diameters_mm)) / 2
        margin = [int(np.ceil(SHELL[1] * radius / s)) for s in spacing]
        if any(n <= 2 * m for n, m in zip(before.shape, margin, strict=True)):
            continue
        source, centre = (
            tuple(int(rng.integers(m, n - m)) for n, m in zip(before.shape, margin, strict=True)) for _ in range(2)
        )
        away = [np.linalg.norm((np.array(centre) - at.centre) * spacing) for at in lesions]
        if any(d < 2.2 * (radius + at.radius_mm) for d, at in zip(away, lesions, strict=True)):
            continue
        unit = Lesion(centre, radius, 1.0)
        moved = moved_ball(before, source, unit, spacing) - before
        contrast = contrast_of(moved, unit, spacing) / planted_contrast(unit, before.shape, spacing)
        if abs(contrast) <= LEAST_STEP * (high - low):
            continue
        planted = {name: moved_ball(image, source, unit, spacing) for name, image in planted.items()}
        lesions.append(Lesion(centre, radius, contrast))
    return planted, lesions


def moved_ball(values: Values, source: Sequence[int], unit: Lesion, spacing: Sequence[float]) -> Values:
    """Give an image in which the tissue around a source stands in place of a ball of contrast 1; edges are blended."""
    share = profile_of(unit, values.shape, spacing)
    shift = [c - s for c, s in zip(unit.centre, source, strict=True)]
    return values * (1 - share) + np.roll(values, shift, range(values.ndim)) * share


def profile_of(lesion: Lesion, shape: Sequence[int], spacing: Sequence[float]) -> Values:
    """Give what a lesion adds to each element; its edge is as wide as an element."""
    depth = (lesion.radius_mm - distance_mm(shape, spacing, lesion.centre)) / float(np.min(spacing))
    profile: Values = lesion.contrast * np.clip(depth + 0.5, 0, 1)
    return profile


def contrast_of(values: Values, lesion: Lesion, spacing: Sequence[float]) -> float:
    """Give the mean in the middle of a lesion less that of the ring around it."""
    away = distance_mm(values.shape, spacing, lesion.centre) / lesion.radius_mm
    core, shell = away <= CORE, (away >= SHELL[0]) & (away <= SHELL[1])
    return float(values[core].mean() - values[shell].mean())


def count_invented(apart: Values, spacing: Sequence[float], contrast: float, radius_mm: float = 3.0) -> int:
    """Count the balls that stand out of a difference image by at least half a contrast, in both directions."""
    widths = [radius_mm * 0.6 / s for s in spacing]
    local = ndimage.gaussian_filter(apart, widths) - ndimage.gaussian_filter(apart, [2.5 * w for w in widths])
    unit = template_response(apart.shape, spacing, radius_mm, widths)
    return int(ndimage.label(np.abs(local) >= REMOVED * contrast * unit)[1])


def template_response(
    shape: Sequence[int], spacing: Sequence[float], radius_mm: float, widths: Sequence[float]
) -> float:
    """Give what the difference of two Gaussians answers in the middle of a ball of contrast 1."""
    size = [min(n, 2 * int(np.ceil(4 * radius_mm / s)) + 1) for n, s in zip(shape, spacing, strict=True)]
    middle = [n // 2 for n in size]
    ball = (distance_mm(size, spacing, middle) <= radius_mm).astype(np.float64)
    local = ndimage.gaussian_filter(ball, widths) - ndimage.gaussian_filter(ball, [2.5 * w for w in widths])
    return float(local[tuple(middle)])


def judge_planted(
    trials: Sequence[tuple[Values, Values, Values, Sequence[Lesion]]],
    clean_trials: Sequence[tuple[Values, Values]],
    spacing: Sequence[float],
    seed: int = 0,
) -> PlantedFigures:
    """Judge a method by trials with lesions (clean, shown, answer, lesions) and without (clean, answer).

    ``clean`` is the image before lesions and noise, ``shown`` what the method got.
    """
    rng = np.random.default_rng(seed)
    ratios: list[float] = []
    before: dict[bool, list[float]] = {True: [], False: []}
    after: dict[bool, list[float]] = {True: [], False: []}
    for clean, shown, answer, lesions in trials:
        for lesion in lesions:
            ratios.append(contrast_of(answer - clean, lesion, spacing) / planted_contrast(lesion, clean.shape, spacing))
            other = elsewhere(lesion, lesions, clean.shape, spacing, rng)
            for holds, at in ((True, lesion), (False, other)):
                before[holds].append(abs(contrast_of(shown, at, spacing)))
                after[holds].append(abs(contrast_of(answer, at, spacing)))
    found, contrast = np.array(ratios), min(abs(lesion.contrast) for lesion in trials[0][3])
    invented = sum(count_invented(answer - clean, spacing, contrast) for clean, answer in clean_trials)
    return PlantedFigures(
        len(found),
        len(clean_trials),
        float(((found >= RECOVERED[0]) & (found <= RECOVERED[1])).mean()),
        float((found < REMOVED).mean()),
        invented,
        rank_auc(before[True], before[False]),
        rank_auc(after[True], after[False]),
        is_control_met(trials, spacing, contrast),
    )


def planted_contrast(lesion: Lesion, shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Give what ``contrast_of`` measures of a lesion by itself, whose edge has a width."""
    return contrast_of(profile_of(lesion, shape, spacing), lesion, spacing)


def elsewhere(
    lesion: Lesion, lesions: Sequence[Lesion], shape: Sequence[int], spacing: Sequence[float], rng: np.random.Generator
) -> Lesion:
    """Give a place of the same size that holds no lesion, if one is found in a hundred draws."""
    margin = [int(np.ceil(SHELL[1] * lesion.radius_mm / s)) for s in spacing]
    centre = lesion.centre
    for _ in range(100):
        centre = tuple(int(rng.integers(m, n - m)) for n, m in zip(shape, margin, strict=True))
        away = [np.linalg.norm((np.array(centre) - at.centre) * spacing) for at in lesions]
        if min(away) > 2 * SHELL[1] * lesion.radius_mm:
            break
    return Lesion(centre, lesion.radius_mm, lesion.contrast)


def rank_auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Give the share of pairs in which the positive number is the larger one; ties count half.

    >>> rank_auc([2, 3], [1, 2])
    0.875
    """
    order = stats.rankdata([*positive, *negative])
    n = len(positive)
    return float((order[:n].sum() - n * (n + 1) / 2) / (n * len(negative)))


def is_control_met(
    trials: Sequence[tuple[Values, Values, Values, Sequence[Lesion]]], spacing: Sequence[float], contrast: float
) -> bool:
    """Tell whether answers without the lesions are called removed, and lesions in clean images invented."""
    clean, _, _, lesions = trials[0]
    zero = np.zeros(clean.shape)
    removed = all(
        contrast_of(zero, at, spacing) / planted_contrast(at, clean.shape, spacing) < REMOVED for at in lesions
    )
    profiles = np.sum([profile_of(at, clean.shape, spacing) for at in lesions], axis=0)
    return removed and count_invented(profiles, spacing, contrast) >= max(1, len(lesions) // 2)
