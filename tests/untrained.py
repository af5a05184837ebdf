"""Runs whose weights were drawn and not learned: made at once, and enough where only sameness matters."""

import json

import numpy as np
import torch

from medgrad.data.cohorts.layouts import recognise
from medgrad.engine.runs.checkpoint import write_checkpoint
from medgrad.engine.runs.recipe import recipe_from_tables
from medgrad.engine.runs.run import Run, build_model
from medgrad.survey.file_hashes import hash_case

MODELS = {
    "segmentation": {"name": "unet", "channels": [4, 8]},
    "classification": {"name": "cnn", "channels": [4, 8]},
    "detection": {"name": "yolo", "channels": [4, 8, 8], "first": 1, "width": 8},
}


def make_run(folder, kind="segmentation", *, dims=2, folds=0, model=None, task=None, patch=16, **tables):
    """Write a run with drawn weights, every one of them, so that no head says nothing."""
    recipe = recipe_from_tables(
        {
            "task": {"kind": kind, "dims": dims, **(task or {})},
            "model": model or MODELS[kind],
            "training": {"patch": [patch] * dims},
            **tables,
        }
    )
    Run(folder).write_recipe(recipe)
    for seed, place in enumerate([folder / f"fold-{n}" for n in range(folds)] or [folder]):
        torch.manual_seed(seed)
        network = build_model(recipe, recipe.build_task(), 1)
        for weights in network.parameters():
            weights.data += 0.05 * torch.randn_like(weights)
        if kind == "detection":
            network.classes.last.bias.data += 4  # else it is sure of nothing
        Run(place).write_recipe(recipe)
        write_checkpoint(Run(place).best_checkpoint, {"channels": 1, "model": network.state_dict(), "ema": None})
    return folder


def record_cohort(run, data, splits):
    """Write into a run who was on which side: ``splits`` gives the side of each case."""
    cohort = recognise(data)
    cases = [
        {"id": e.id, "patient": e.patient or e.id, "split": splits[e.id], "hash": hash_case(e)} for e in cohort.entries
    ]
    told = {"root": str(data), "task": "segmentation", "cases": cases}
    (run / "cohort.json").write_text(json.dumps(told))
    return cohort


def smooth(seed, shape):
    """Give an image with structure, of mean 0 and deviation 1."""
    from scipy import ndimage

    array = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return ((array - array.mean()) / array.std()).astype(np.float32)
