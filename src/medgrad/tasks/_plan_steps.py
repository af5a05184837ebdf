"""Steps of a planned recipe: spacing, patch size, preparation and augmentation, chosen by the facts of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from ..survey.dataset_facts import DatasetFacts

MIN_BOTTLENECK_SIZE = 4
"""The fewest elements along an axis at the bottom of a network."""


def choose_spacing(facts: DatasetFacts) -> tuple[float, ...]:
    """Choose the spacing to resample to: the median where spacings differ; empty where all agree or none is known."""
    if not facts.measured:
        return ()
    spacings = np.array(facts.spacings)
    middle = np.median(spacings, axis=0)
    if np.all(np.abs(spacings / middle - 1) < 0.01):
        return ()
    thick = int(np.argmax(middle))
    if middle[thick] > 3 * np.min(middle):
        middle[thick] = max(np.percentile(spacings[:, thick], 10), 3 * np.min(middle))
    return tuple(round(float(v), 4) for v in middle)


def choose_patch_and_strides(
    median_shape: Sequence[float] | Any, spacing: Sequence[float], max_elements: float
) -> tuple[list[int], list[list[int]]]:
    """Choose the patch size, up to ``max_elements`` elements, and the downsampling strides of each level.

    An axis is halved while it keeps at least four elements and is not much coarser than the finest axis.

    >>> choose_patch_and_strides([36, 50, 35], [1, 1, 1], 1.1e5)
    ([40, 56, 40], [[2, 2, 2], [2, 2, 2], [2, 2, 2]])
    """
    patch = np.minimum(np.array(median_shape, float), 512)
    while np.prod(patch) > max_elements:
        patch[int(np.argmax(patch * np.array(spacing)))] *= 0.95
    strides: list[list[int]] = []
    now, grain = patch.copy(), np.array(spacing, float)
    while len(strides) < 5:
        halves = (now >= 2 * MIN_BOTTLENECK_SIZE) & (grain <= 2 * grain.min())
        if not halves.any() or now[halves].max() < 2 * MIN_BOTTLENECK_SIZE:
            break
        strides.append([2 if h else 1 for h in halves])
        now, grain = np.where(halves, now / 2, now), np.where(halves, grain * 2, grain)
    if not strides:
        strides = [[2 if s > 1 else 1 for s in patch]]
    whole = np.prod(np.array(strides), axis=0)
    return [int(max(1, ceil(p / w)) * w) for p, w in zip(patch, whole, strict=True)], strides


def choose_whole_image_shape(facts: DatasetFacts, *, has_gpu: bool) -> tuple[int, ...]:
    """Choose the shape to which whole images are resized: the median shape, within what the hardware can compute."""
    middle = np.median(np.array(facts.shapes), axis=0)
    if facts.measured and facts.dims == 3:
        extent = np.median(facts.sizes_mm(), axis=0)
        middle = extent / np.min(facts.median_spacing())
    most = {(2, False): 128, (2, True): 224, (3, False): 48, (3, True): 96}[(facts.dims, has_gpu)]
    factor = min(1.0, most / float(np.max(middle)))
    return tuple(int(max(4, ceil(m * factor / 4) * 4)) for m in middle)


def spatial_steps(facts: DatasetFacts, spacing: Sequence[float]) -> tuple[dict[str, Any], ...]:
    """Return the spatial preparation: reorient, select channels, align, resample."""
    steps: list[dict[str, Any]] = [{"name": "reorient", "to": "RAS"}] if facts.dims == 3 else []
    if facts.mixed and len(facts.channels) == 1:
        steps.append({"name": "channels", "to": min(facts.planes, 3)})
    if len(facts.channels) > 1:
        steps.append({"name": "common_grid"})
    if spacing:
        steps.append({"name": "resample", "spacing": tuple(spacing)})
    return tuple(steps)


def intensity_step(facts: DatasetFacts) -> dict[str, Any]:
    """Return the intensity normalisation: a fixed window for CT and PET, else a z-score per image."""
    if facts.modality in ("ct", "pet") and facts.planes == 1:
        low, high, mean, deviation = (round(v, 3) for v in facts.intensity)
        return {"name": "normalise", "method": "window", "low": low, "high": high, "mean": mean, "deviation": deviation}
    return {"name": "normalise", "method": "zscore"}


def patch_augmentation(facts: DatasetFacts, spacing: Sequence[float]) -> tuple[dict[str, Any], ...]:
    """Return the augmentation of patches: all orientations for microscopy-like images, small rotations else."""
    anyway = facts.dims == 2 and not facts.measured
    grain = tuple(round(float(v), 4) for v in (spacing or facts.median_spacing()))
    spatial: dict[str, Any] = {"name": "spatial", "p": 0.7, "degrees": 180.0 if anyway else 15.0, "elastic": 1.0}
    if len({round(g, 2) for g in grain}) > 1:
        spatial["spacing"] = grain
    flips = ({"name": "flip", "axes": (0, 1)},) if anyway else ()
    return (*flips, spatial, {"name": "intensity"}, {"name": "noise"}, {"name": "blur"}, {"name": "low_resolution"})


def whole_image_augmentation(facts: DatasetFacts) -> tuple[dict[str, Any], ...]:
    """Return the augmentation of whole images; in volumes, the size and shape of organs matter and stay."""
    much = (
        {"degrees": 20.0, "scale": 0.25, "elastic": 0.5}
        if facts.dims == 2
        else {"degrees": 15.0, "scale": 0.1, "elastic": 0.0}
    )
    spatial = {"name": "spatial", "p": 0.9, "shift": 0.1, **much}
    return (
        {"name": "flip", "axes": choose_flip_axes(facts)},
        spatial,
        {"name": "intensity", "p": 0.4},
        {"name": "noise", "max_std": 0.1},
        {"name": "blur", "p": 0.1},
    )


def choose_flip_axes(facts: DatasetFacts) -> tuple[int, ...]:
    """Choose the axes to flip: left-right, unless a class names a side."""
    sided = any(word in name.lower().split() for name in facts.labels for word in ("left", "right"))
    if sided:
        return ()
    return (0,) if facts.dims == 3 else (1,)
