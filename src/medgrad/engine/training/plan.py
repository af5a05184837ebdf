"""Plan a recipe from dataset statistics and the time budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from ... import registry
from ...errors import SettingError
from ...survey.dataset_facts import DatasetFacts
from ..runs.recipe import Inference, Recipe, Training

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
MIN_BOTTLENECK_SIZE = 4
"""The fewest elements along an axis at the bottom of a network."""


@dataclass(frozen=True)
class Budget:
    """How long to train: ``minutes``, a number of ``steps``, or until validation stops improving."""

    minutes: float = 20.0
    steps: int = 0
    until_plateau: bool = False


def plan(
    facts: DatasetFacts, budget: Budget | None = None, *, has_gpu: bool = False, seed: int = 0, model: str = ""
) -> Recipe:
    """Plan the recipe for the data and the budget; every setting in it can be changed.

    It depends on the output that the task needs of a network, so new tasks have a plan as well. ``model`` is
    the one that the user chose. A convex model is solved instead of trained; for a table of features it is the
    default.
    """
    budget = budget or Budget()
    make = registry.find("tasks", facts.task)
    own, shape = registry.keyword_defaults(make), make(dims=facts.dims).outputs.shape
    makers = {"dense": plan_segmentation, "pooled": plan_classification}
    if shape == "pooled" and (model in CONVEX_MODELS or facts.dims == 1):
        recipe = plan_vector_model(facts, model or CONVEX_MODELS[0], has_gpu=has_gpu, seed=seed)
    elif facts.task == "registration":
        recipe = plan_registration(facts, has_gpu=has_gpu, seed=seed)
    elif shape == "pyramid":
        recipe = plan_detection(facts, model or DEFAULT_DETECTOR, has_gpu=has_gpu, seed=seed)
    else:
        recipe = makers[shape](facts, has_gpu=has_gpu, seed=seed)
    known = {k: v for k, v in recipe.task.items() if k in own}
    recipe = replace(recipe, task={"kind": facts.task, **known})
    if budget.until_plateau:
        return with_plateau_stopping(recipe)
    return recipe.with_training(minutes=float(budget.minutes), steps=budget.steps)


def with_plateau_stopping(recipe: Recipe) -> Recipe:
    """Return a recipe that trains until validation stops improving.

    The learning rate stays high, and the average of the weights replaces the decay of the rate.
    """
    return replace(
        recipe.with_training(steps=100_000, minutes=0.0, validations=400, ema=0.998),
        schedule={"name": "constant", "warmup": 0.002},
        stopping=({"name": "no_improvement", "patience": 12},),
    )


def plan_segmentation(facts: DatasetFacts, *, has_gpu: bool, seed: int) -> Recipe:
    """Plan a segmentation recipe: a U-Net on patches."""
    spacing = choose_spacing(facts)
    sizes = facts.sizes_mm() if spacing else np.array(facts.shapes)
    median_shape = np.median(sizes, axis=0) / np.array(spacing or [1.0] * facts.dims)
    max_elements = (2.5e5 if has_gpu else 1.1e5) if facts.dims == 3 else (2.6e5 if has_gpu else 6.6e4)
    grain = spacing or facts.median_spacing()
    patch, strides = choose_patch_and_strides(median_shape, grain, max_elements)
    base = {(2, False): 24, (3, False): 16, (2, True): 32, (3, True): 32}[(facts.dims, has_gpu)]
    channels = [min(base * 2**level, 320) for level in range(len(strides) + 1)]
    batch = 2 if facts.dims == 3 else max(2, min(8, round(2.6e5 / float(np.prod(patch)))))
    return Recipe(
        task={"kind": "segmentation", "dims": facts.dims, "channels": facts.channels, "labels": facts.labels},
        model={
            "name": "unet",
            "channels": tuple(channels),
            "strides": tuple(tuple(s) for s in strides),
            "encoder": "plain",
        },
        prepare=(*spatial_steps(facts, spacing), intensity_step(facts)),
        augment=patch_augmentation(facts, spacing),
        optimiser={"name": "muon", "rate": 1e-2, "decay": 1e-2},
        schedule={"name": "cosine", "warmup": 0.1},
        gradients=({"name": "clipped", "norm": 5.0},),
        training=Training(
            batch=batch,
            patch=tuple(patch),
            foreground_share=0.33,
            ema=0.995,
            seed=seed,
            boost_below_steps=BOOST_BELOW_STEPS,
        ),
        inference=Inference(),
    )


def plan_classification(facts: DatasetFacts, *, has_gpu: bool, seed: int) -> Recipe:
    """Plan a classification recipe: a ResNet on whole images."""
    shape = choose_whole_image_shape(facts, has_gpu=has_gpu)
    stem = 1 if max(shape) <= MAX_FULL_STEM_SIZE[facts.dims] else 2
    levels = int(np.clip(1 + np.floor(np.log2(max(shape) / stem / MIN_BOTTLENECK_SIZE)), 2, 4))
    base = 32 if facts.dims == 2 else 16
    channels = tuple(min(base * 2**level, 256) for level in range(levels))
    return Recipe(
        task={
            "kind": "classification",
            "dims": facts.dims,
            "channels": facts.channels,
            "labels": facts.labels,
            "exclusive": facts.exclusive,
        },
        model={"name": "resnet", "channels": channels, "blocks": (2,) * levels, "stem": stem, "dropout": 0.3},
        prepare=(*spatial_steps(facts, ()), {"name": "resize_pad", "shape": shape}, intensity_step(facts)),
        augment=whole_image_augmentation(facts),
        optimiser={"name": "muon", "rate": 1e-2, "decay": 5e-2},
        schedule={"name": "cosine", "warmup": 0.1},
        gradients=({"name": "clipped", "norm": 5.0},),
        training=Training(
            batch=int(max(4, min(32, facts.cases // 4))),
            patch=shape,
            foreground_share=0.0,
            ema=0.99,
            seed=seed,
        ),
        inference=Inference(tta_flips=choose_flip_axes(facts)),
    )


def plan_detection(facts: DatasetFacts, model: str, *, has_gpu: bool, seed: int) -> Recipe:
    """Plan a detection recipe: whole images or large windows, as coarse as the smallest objects allow."""
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
    return Recipe(
        task={
            "kind": "detection",
            "dims": facts.dims,
            "channels": facts.channels,
            "labels": facts.labels,
            "max_objects": int(max(16, ceil(1.5 * facts.most_objects / 8) * 8)),
        },
        model={
            "name": model,
            "channels": tuple(min(base * 2**level, 128) for level in range(first + levels)),
            "first": first,
            "width": {2: 64, 3: 32}[facts.dims],
            **({"scales": (scale, round(1.4 * scale, 2))} if "scales" in own else {}),
        },
        prepare=(*spatial_steps(facts, spacing), intensity_step(facts)),
        augment=patch_augmentation(facts, spacing)[:-1],
        optimiser={"name": "muon", "rate": 1e-2, "decay": 1e-2},
        schedule={"name": "cosine", "warmup": 0.1},
        gradients=({"name": "clipped", "norm": 5.0},),
        training=Training(batch=batch, patch=patch, foreground_share=0.5, ema=0.995, seed=seed),
        inference=Inference(),
    )


def plan_registration(facts: DatasetFacts, *, has_gpu: bool, seed: int) -> Recipe:
    """Plan a registration recipe: a U-Net that predicts a velocity field from both whole images on one grid."""
    shape = np.max(np.array(facts.shapes), axis=0).astype(float)
    max_elements = (1e6 if has_gpu else 2.5e5) if facts.dims == 3 else (2.6e5 if has_gpu else 6.6e4)
    shape *= min(1.0, float(max_elements / np.prod(shape)) ** (1 / facts.dims))
    levels = int(np.clip(np.floor(np.log2(float(shape.min()) / MIN_BOTTLENECK_SIZE)), 1, 4))
    whole = tuple(int(ceil(s / 2**levels) * 2**levels) for s in shape)
    widths = {2: (16, 32, 64, 96, 128), 3: (8, 16, 32, 48, 64)}[facts.dims]
    return Recipe(
        task={
            "kind": "registration",
            "dims": facts.dims,
            "channels": facts.channels,
            "smoothness": 0.5,
            "diffeomorphic": True,
            "centre_aligned": facts.across,
        },
        model={"name": "unet", "channels": widths[: levels + 1]},
        prepare=(
            *spatial_steps(facts, ()),
            {"name": "resize_pad", "shape": whole},
            {"name": "normalise", "method": "zscore"},
        ),
        augment=({"name": "flip", "axes": tuple(range(facts.dims))},),
        optimiser={"name": "muon", "rate": 5e-3, "decay": 1e-2},
        schedule={"name": "cosine", "warmup": 0.1},
        gradients=({"name": "clipped", "norm": 5.0},),
        training=Training(
            batch=2 if facts.dims == 3 else 8,
            patch=whole,
            foreground_share=0.0,
            class_balance=0.0,
            ema=0.99,
            seed=seed,
            precision="float32",
        ),
        inference=Inference(),
    )


def plan_vector_model(facts: DatasetFacts, model: str, *, has_gpu: bool, seed: int) -> Recipe:
    """Plan a recipe for a model of vectors: feature tables or flattened images; a convex model gets a solver."""
    fitting = [n for n in registry.names("models") if "shape" in registry.keyword_defaults(registry.find("models", n))]
    if model not in fitting:
        raise SettingError(
            f"{model!r} takes images, but this is a table of features. Take one of {', '.join(fitting)}."
        )
    task = {"kind": facts.task, "dims": facts.dims, "channels": facts.channels, "labels": facts.labels}
    task |= {"exclusive": facts.exclusive} | ({"loss_name": "hinge"} if model == "svm" else {})
    solver = {"name": f"{model}_interior_point", "C": 0.0} if model in CONVEX_MODELS else {}
    prepare, shape = feature_preparation(facts) if facts.dims == 1 else flat_image_preparation(facts, has_gpu=has_gpu)
    return Recipe(
        task=task,
        model={"name": model},
        prepare=prepare,
        optimiser={"name": "adamw", "rate": 1e-2 if facts.dims == 1 else 2e-3, "decay": 1e-2},
        schedule={"name": "cosine", "warmup": 0.1},
        solver=solver | ({"penalty": "l2"} if model == "logistic" else {}),
        gradients=({"name": "clipped", "norm": 5.0},),
        training=Training(
            batch=int(max(4, min(32, facts.cases // 4))),
            patch=shape,
            foreground_share=0.0,
            class_balance=0.0,
            ema=0.99,
            seed=seed,
            precision="float32",
        ),
        inference=Inference(),
    )


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
