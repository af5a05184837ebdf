"""Planned recipes by the shape of a network's output: patches, whole images, boxes, vectors."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from .. import registry
from ..errors import SettingError
from ..survey.dataset_facts import DatasetFacts
from ._plan_steps import (
    MIN_BOTTLENECK_SIZE,
    choose_flip_axes,
    choose_patch_and_strides,
    choose_spacing,
    choose_whole_image_shape,
    intensity_step,
    patch_augmentation,
    spatial_steps,
    whole_image_augmentation,
)

Tables = dict[str, Any]
"""Tables of a recipe, by name."""

CONVEX_MODELS = ("logistic", "svm")
"""The models whose optimum is found by a solver."""
MAX_FLAT_IMAGE_SIZE = {1: 0, 2: 64, 3: 32}
"""The most elements along an axis of images, by their axes, that are taken as rows."""
MAX_FULL_STEM_SIZE = {2: 64, 3: 24}
"""Up to so many elements along an axis an image is shown whole at first, by its axes; a larger one is halved."""
MIN_OBJECT_ELEMENTS = {2: 14.0, 3: 10.0}
"""How many elements long the smaller objects that are to be found must be, by the axes."""
DEFAULT_DETECTOR = "retinanet"
"""The detector that is planned: the best of the three at a budget of minutes."""
BOOST_BELOW_STEPS = 300
"""With fewer steps than these the planned rate is too low where small lesions are to be found.

In a hundred steps they were not found at all. To tell whole images apart, higher rates were no better.
"""


@dataclass(frozen=True)
class Budget:
    """How long to train: ``minutes``, a number of ``steps``, or until validation stops improving."""

    minutes: float = 20.0
    steps: int = 0
    until_plateau: bool = False


def plan_by_output(shape: str, facts: DatasetFacts, *, has_gpu: bool = False, model: str = "") -> Tables:
    """Plan by what a network must give: a U-Net on patches, a ResNet on whole images, or a detector.

    A convex ``model`` that the user chose is solved instead of trained; for a table of features it is the default.
    """
    if shape == "pooled" and (model in CONVEX_MODELS or facts.dims == 1):
        return plan_vectors(facts, model or CONVEX_MODELS[0], has_gpu=has_gpu)
    if shape == "pooled":
        return plan_whole_images(facts, has_gpu=has_gpu)
    if shape == "pyramid":
        return plan_boxes(facts, model or DEFAULT_DETECTOR, has_gpu=has_gpu)
    return plan_patches(facts, has_gpu=has_gpu)


def plan_patches(facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan a U-Net on patches, as a dense output needs."""
    spacing = choose_spacing(facts)
    sizes = facts.sizes_mm() if spacing else np.array(facts.shapes)
    median_shape = np.median(sizes, axis=0) / np.array(spacing or [1.0] * facts.dims)
    max_elements = (2.5e5 if has_gpu else 1.1e5) if facts.dims == 3 else (2.6e5 if has_gpu else 6.6e4)
    grain = spacing or facts.median_spacing()
    patch, strides = choose_patch_and_strides(median_shape, grain, max_elements)
    base = {(2, False): 24, (3, False): 16, (2, True): 32, (3, True): 32}[(facts.dims, has_gpu)]
    channels = [min(base * 2**level, 320) for level in range(len(strides) + 1)]
    batch = 2 if facts.dims == 3 else max(2, min(8, round(2.6e5 / float(np.prod(patch)))))
    return {
        "model": {
            "name": "unet",
            "channels": tuple(channels),
            "strides": tuple(tuple(s) for s in strides),
            "encoder": "plain",
        },
        "prepare": (*spatial_steps(facts, spacing), intensity_step(facts)),
        "augment": patch_augmentation(facts, spacing),
        "optimiser": {"name": "muon", "rate": 1e-2, "decay": 1e-2},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "gradients": ({"name": "clipped", "norm": 5.0},),
        "training": {
            "batch": batch,
            "patch": tuple(patch),
            "foreground_share": 0.33,
            "ema": 0.995,
            "boost_below_steps": BOOST_BELOW_STEPS,
        },
    }


def plan_whole_images(facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan a ResNet on whole images, as a pooled output needs."""
    shape = choose_whole_image_shape(facts, has_gpu=has_gpu)
    stem = 1 if max(shape) <= MAX_FULL_STEM_SIZE[facts.dims] else 2
    levels = int(np.clip(1 + np.floor(np.log2(max(shape) / stem / MIN_BOTTLENECK_SIZE)), 2, 4))
    base = 32 if facts.dims == 2 else 16
    channels = tuple(min(base * 2**level, 256) for level in range(levels))
    return {
        "model": {"name": "resnet", "channels": channels, "blocks": (2,) * levels, "stem": stem, "dropout": 0.3},
        "prepare": (*spatial_steps(facts, ()), {"name": "resize_pad", "shape": shape}, intensity_step(facts)),
        "augment": whole_image_augmentation(facts),
        "optimiser": {"name": "muon", "rate": 1e-2, "decay": 5e-2},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "gradients": ({"name": "clipped", "norm": 5.0},),
        "training": {
            "batch": int(max(4, min(32, facts.cases // 4))),
            "patch": shape,
            "foreground_share": 0.0,
            "ema": 0.99,
        },
        "inference": {"tta_flips": choose_flip_axes(facts)},
    }


def plan_boxes(facts: DatasetFacts, model: str, *, has_gpu: bool) -> Tables:
    """Plan a detector on whole images or large windows, as coarse as the smallest objects allow."""
    small, large = (v or 16.0 for v in facts.objects)
    grain = np.array(facts.median_spacing())
    wanted = np.maximum(grain, small / MIN_OBJECT_ELEMENTS[facts.dims])
    spacing = tuple(round(float(v), 4) for v in wanted) if np.any(wanted > 1.1 * grain) else choose_spacing(facts)
    shape = np.median(facts.sizes_mm(), axis=0) / np.array(spacing or grain)
    max_elements = (2.5e5 if has_gpu else 1.1e5) if facts.dims == 3 else (4e5 if has_gpu else 1.3e5)
    while np.prod(shape) > max_elements:
        shape[int(np.argmax(shape))] *= 0.95
    patch = tuple(int(ceil(s / 8) * 8) for s in shape)
    least = small / float(np.mean(spacing or grain))
    first = 1 if least < {2: 6, 3: 10}[facts.dims] else 2 if least < 24 else 3
    own = registry.keyword_defaults(registry.find("models", model))
    scale = round(float(np.clip(least / 2**first, 1.5, 6.0)), 2)
    levels = int(np.clip(1 + ceil(np.log2(max(large / small, 1.0))), 2, 3))
    base = {2: 16, 3: 12}[facts.dims] * (2 if has_gpu else 1)
    batch = 4 if facts.dims == 3 else int(np.clip(round(4e5 / float(np.prod(patch))), 4, 16))
    return {
        "model": {
            "name": model,
            "channels": tuple(min(base * 2**level, 128) for level in range(first + levels)),
            "first": first,
            "width": {2: 64, 3: 32}[facts.dims],
            **({"scales": (scale, round(1.4 * scale, 2))} if "scales" in own else {}),
        },
        "prepare": (*spatial_steps(facts, spacing), intensity_step(facts)),
        "augment": patch_augmentation(facts, spacing)[:-1],
        "optimiser": {"name": "muon", "rate": 1e-2, "decay": 1e-2},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "gradients": ({"name": "clipped", "norm": 5.0},),
        "training": {"batch": batch, "patch": patch, "foreground_share": 0.5, "ema": 0.995},
    }


def plan_autoencoder(body: str, facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan to learn from images alone what a network begins with: as for that network, but parts of them are hidden.

    Sizes of anchors are left to the run that has boxes.
    """
    tables = plan_by_output(registry.find("models", body).output_kinds[0], facts, has_gpu=has_gpu, model=body)
    patch, own = tables["training"]["patch"], tables["model"]
    sizes = {k: v for k, v in own.items() if k not in ("name", "scales", "dropout")} if own["name"] == body else {}
    hidden = {"name": "masked", "size": int(np.clip(min(patch) // 8, 2, 8))}
    return {
        **{k: tables[k] for k in ("prepare", "optimiser", "schedule", "gradients")},
        "model": {"name": "autoencoder", "body": body, **sizes},
        "augment": ({"name": "flip", "axes": tuple(range(facts.dims))}, hidden),
        "training": tables["training"] | {"foreground_share": 0.0},
        "sampler": {"name": "shuffled"},
    }


def plan_vectors(facts: DatasetFacts, model: str, *, has_gpu: bool) -> Tables:
    """Plan a model of vectors: feature tables or flattened images; a convex model gets a solver."""
    fitting = [n for n in registry.names("models") if "shape" in registry.keyword_defaults(registry.find("models", n))]
    if model not in fitting:
        raise SettingError(
            f"{model!r} takes images, but this is a table of features. Take one of {', '.join(fitting)}."
        )
    solver = {"name": f"{model}_interior_point", "C": 0.0} if model in CONVEX_MODELS else {}
    prepare, shape = feature_preparation(facts) if facts.dims == 1 else flat_image_preparation(facts, has_gpu=has_gpu)
    return {
        "model": {"name": model},
        "prepare": prepare,
        "optimiser": {"name": "adamw", "rate": 1e-2 if facts.dims == 1 else 2e-3, "decay": 1e-2},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "solver": solver | ({"penalty": "l2"} if model == "logistic" else {}),
        "sampler": {"name": "shuffled"},
        "gradients": ({"name": "clipped", "norm": 5.0},),
        "training": {
            "batch": int(max(4, min(32, facts.cases // 4))),
            "patch": shape,
            "foreground_share": 0.0,
            "ema": 0.99,
            "precision": "float32",
        },
    }


def feature_preparation(facts: DatasetFacts) -> tuple[tuple[dict[str, Any], ...], tuple[int, ...]]:
    """Return the step that selects and standardises feature columns, and the resulting shape."""
    names, means, deviations = zip(*facts.columns, strict=True)
    return ({"name": "select_columns", "names": names, "means": means, "deviations": deviations},), (len(names),)


def flat_image_preparation(facts: DatasetFacts, *, has_gpu: bool) -> tuple[tuple[dict[str, Any], ...], tuple[int, ...]]:
    """Return the steps that resize and scale whole images, and the resulting shape."""
    whole = choose_whole_image_shape(facts, has_gpu=has_gpu)
    factor = min(1.0, MAX_FLAT_IMAGE_SIZE[facts.dims] / max(whole))
    shape = tuple(int(max(4, ceil(s * factor / 4) * 4)) for s in whole)
    return (*spatial_steps(facts, ()), {"name": "resize_pad", "shape": shape}, intensity_step(facts)), shape
