"""Baselines for pruning: a narrow network trained from scratch, and pruning by magnitude or at random."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from ...engine.runs.recipe import Recipe
from ...engine.runs.run import Run
from ..structure.cost import count_cost
from .fold import FoldCandidate, FoldContext
from .parents import Candidate, Parents
from .selection import ChannelSelection, lower_minimums
from .stages import SearchBudget, run_search, train_fold
from .target import TIME, Target

NARROW_BASELINES = ("narrow",)
BASELINES = ("narrow", "magnitude", "random")
BISECTION_STEPS = 12


def baseline_names(parents: Parents) -> list[str]:
    """Name the baselines that a run allows; a narrow network needs a model with a ``channels`` setting."""
    if all(ground.recipe.model.get("channels") for ground in parents.folds):
        return list(BASELINES)
    parents.progress.say("No narrow network stands beside it, for its model has no 'channels' of which to have fewer.")
    return [name for name in BASELINES if name not in NARROW_BASELINES]


def train_baseline(
    name: str,
    parents: Parents,
    target: Target,
    candidate: Candidate,
    budget: SearchBudget,
    selection: ChannelSelection,
    folder: Path,
) -> Candidate:
    """Train a baseline that costs as little as the best pruned network, in the same time."""
    parents.progress.say(f"The control {name!r}.")
    if name == "narrow":
        return parents.judge_candidate(name, train_narrow_folds(parents, candidate, budget, folder), "reported")
    alternative = {
        "magnitude": ChannelSelection("magnitude", relative=True),
        "random": ChannelSelection("random", {"widest_layers_first": True}),
    }[name]
    matching_target = target.matching(candidate, parents)
    same = replace(
        selection,
        criterion=alternative.criterion,
        settings=alternative.settings,
        relative=alternative.relative,
        layers=0,
    )
    graphs = [(ground.channel_graph(ground.network), ground.network) for ground in parents.folds]
    wanted = {what: share for what, share in matching_target.shares.items() if what != TIME}
    selection = lower_minimums(replace(same, automatic=()), graphs, wanted)
    state = run_search(parents, matching_target, selection, replace(budget, force_target=True), folder)
    found = state.children[state.best_index(force_target=True) or 0]
    return parents.judge_candidate(name, found.folds, "reported")


def train_narrow_folds(
    parents: Parents, candidate: Candidate, budget: SearchBudget, folder: Path
) -> Sequence[FoldCandidate]:
    """Train a narrow network from scratch for each fold, for as long as the search took."""
    began, left, parts = time.perf_counter(), budget.deadline - time.perf_counter(), []
    count = len(parents.folds)
    for n, (ground, part, place) in enumerate(
        zip(parents.folds, candidate.folds, parents.fold_folders(folder), strict=True)
    ):
        steps = max(1, budget.steps // count) if budget.steps else 0
        until = inf if steps else began + left * (n + 1) / count
        parts.append(train_narrow_fold(ground, part, until, steps, place))
    return parts


def train_narrow_fold(
    fold: FoldContext, candidate: FoldCandidate, deadline: float, steps: int, folder: Path
) -> FoldCandidate:
    """Train a narrow network from scratch on one fold."""
    run = Run(folder)
    if not run.has_started:
        own = tuple(g for g in fold.recipe.gradients if g["name"] != "distilled")
        recipe = replace(fold.recipe, task=fold.task.settings(), init={}, layer_widths={}, gradients=own)
        recipe = replace(recipe, model=narrow_model_settings(fold, recipe, candidate.cost.flops))
        run.write_recipe(recipe.with_training(steps=0, threads=0, replanned=()))
    return train_fold(fold, run, deadline, steps)


def narrow_model_settings(fold: FoldContext, recipe: Recipe, max_flops: int) -> dict[str, Any]:
    """Find model settings that scale all widths by one factor and cost at most so many flops, by bisection."""
    wide = recipe.model["channels"]
    low, high, found = 0.0, 1.0, dict(recipe.model)
    known: dict[str, int] = {}
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        model = dict(recipe.model) | {"channels": tuple(max(2, round(c * middle)) for c in wide)}
        if "width" in model:
            model["width"] = max(8, 8 * round(recipe.model["width"] * middle / 8))
        if str(model) not in known:
            known[str(model)] = count_cost(fold.build_network(replace(recipe, model=model)), fold.example).flops
        if known[str(model)] <= max_flops:
            low, found = middle, model
        else:
            high = middle
    return found
