"""Planned recipes of tasks whose answer is an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..survey.dataset_facts import DatasetFacts
from ._plan_steps import choose_patch_and_strides, spatial_steps
from ._plans import Tables

MIN_FLOW_SIZE = 8
"""A flow halves its images a second time where so many elements are left along each axis."""
UNCUT = 1e6
"""Values are not cut at a window: a restored image has them all."""


def plan_restoration(facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan a network on patches of the grid that the images came on; its values come back to their unit."""
    max_elements = (2.5e5 if has_gpu else 6.6e4) if facts.dims == 3 else (2.6e5 if has_gpu else 3.3e4)
    median_shape = np.median(np.array(facts.shapes), axis=0)
    patch, strides = choose_patch_and_strides(median_shape, facts.median_spacing(), max_elements)
    levels, width = min(len(strides), 2) + 1, 32 if has_gpu or facts.dims == 2 else 16
    batch = 4 if facts.dims == 3 else max(4, min(16, round(2.6e5 / float(np.prod(patch)))))
    return {
        "model": {
            "name": "image_unet",
            "channels": tuple(width * 2**level for level in range(levels)),
            "strides": tuple(tuple(s) for s in strides[: levels - 1]),
        },
        "prepare": (*spatial_steps(facts, ()), scale_step(facts)),
        "augment": ({"name": "flip", "axes": tuple(range(facts.dims))}, degradation(facts)),
        "optimiser": {"name": "muon", "rate": 2e-2, "decay": 1e-2},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "sampler": {"name": "shuffled"},
        "gradients": ({"name": "clipped", "norm": 1.0},),
        "training": {"batch": batch, "patch": tuple(patch), "foreground_share": 0.0, "ema": 0.995},
    }


def plan_translation(facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan a U-Net on patches of the grid that the images came on."""
    tables = plan_restoration(facts, has_gpu=has_gpu)
    median_shape = np.median(np.array(facts.shapes), axis=0)
    _, strides = choose_patch_and_strides(
        median_shape, facts.median_spacing(), float(np.prod(tables["training"]["patch"]))
    )
    model = {
        "name": "unet",
        "channels": tuple((32 if has_gpu else 16) * 2**level for level in range(min(len(strides), 3) + 1)),
        "strides": tuple(tuple(s) for s in strides[:3]),
        "normalise": "batch",
    }
    return tables | {"model": model, "augment": ({"name": "flip", "axes": tuple(range(facts.dims))},)}


def plan_generation(facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan a rectified flow on whole images of one shape; one scale of values serves the whole set."""
    tables = plan_restoration(facts, has_gpu=has_gpu)
    patch, strides = tables["training"]["patch"], tables["model"]["strides"]
    _, _, mean, deviation = (round(v, 4) for v in facts.intensity)
    values = {"name": "normalise", "method": "window", "low": -UNCUT, "high": UNCUT, "mean": mean,
              "deviation": deviation or 1.0}  # fmt: skip
    levels = 3 if min(patch) >= 4 * MIN_FLOW_SIZE else 2
    return tables | {
        "model": {
            "name": "rectified_flow",
            "channels": tuple(32 * 2**level for level in range(levels)),
            "strides": tuple((*strides, *strides)[: levels - 1]),
        },
        "prepare": (*spatial_steps(facts, ()), {"name": "resize_pad", "shape": patch}, values),
        "augment": ({"name": "pure_noise"},),
        "optimiser": {"name": "muon", "rate": 1e-2, "decay": 0.0},
        "gradients": ({"name": "diffused"}, {"name": "clipped", "norm": 1.0}),
        "training": tables["training"] | {"ema": 0.998, "batch": 8 if facts.dims == 2 else 4},
        "inference": {"tune": False, "overlap": 0.0},
    }


def plan_anomaly(facts: DatasetFacts, *, has_gpu: bool) -> Tables:
    """Plan a denoising autoencoder: what it is shown has coarse noise, and normal images have none."""
    tables = plan_restoration(facts, has_gpu=has_gpu)
    return tables | {
        "augment": ({"name": "coarse_noise"},),
        "optimiser": {"name": "muon", "rate": 1e-2, "decay": 1e-2},
    }


def scale_step(facts: DatasetFacts) -> dict[str, Any]:
    """Return the scaling of values: the same for all where they have a unit, else by each image, so that 0 stays 0."""
    _, high, mean, deviation = (round(v, 3) for v in facts.intensity)
    if facts.modality == "ct":
        return {"name": "normalise", "method": "window", "low": -UNCUT, "high": UNCUT, "mean": mean,
                "deviation": deviation}  # fmt: skip
    if facts.modality == "pet":
        return {"name": "normalise", "method": "window", "low": -UNCUT, "high": UNCUT, "mean": 0.0, "deviation": high}
    return {"name": "normalise", "method": "scale"}


def degradation(facts: DatasetFacts) -> dict[str, Any]:
    """Return the noise of a modality: Rician in MR, of counts in PET, Gaussian elsewhere."""
    if facts.modality == "pet":
        return {"name": "counts"}
    if facts.modality == "mr" or (facts.dims == 3 and facts.modality is None):
        return {"name": "rician"}
    return {"name": "noise", "p": 0.9, "max_std": 0.2}
