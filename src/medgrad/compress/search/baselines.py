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
from ..structure.cost import cost_of
from .fold import FoldContext, Part
from .parents import Child, Parents
from .selection import Choice, as_wide_as_can_be
from .stages import Effort, learned, search
from .target import TIME, Target

NARROW = ("narrow",)
CONTROLS = ("narrow", "magnitude", "random")
HALVINGS = 12


def controls_of(parents: Parents) -> list[str]:
    """Name the baselines that a run allows; a narrow network needs a model with a ``channels`` setting."""
    if all(ground.recipe.model.get("channels") for ground in parents.each):
        return list(CONTROLS)
    parents.progress.say("No narrow network stands beside it, for its model has no 'channels' of which to have fewer.")
    return [name for name in CONTROLS if name not in NARROW]


def control(
    name: str, parents: Parents, goal: Target, best: Child, effort: Effort, choice: Choice, folder: Path
) -> Child:
    """Train a baseline that costs as little as the best pruned network, in the same time."""
    parents.progress.say(f"The control {name!r}.")
    if name == "narrow":
        return parents.child(name, narrow_ones(parents, best, effort, folder), "reported")
    other = {"magnitude": Choice("magnitude", relative=True), "random": Choice("random", {"widest": True})}[name]
    near = goal.as_of(best, parents)
    same = replace(choice, criterion=other.criterion, settings=other.settings, relative=other.relative, layers=0)
    graphs = [(ground.graph(ground.network), ground.network) for ground in parents.each]
    wanted = {what: share for what, share in near.shares.items() if what != TIME}
    choice = as_wide_as_can_be(replace(same, free=()), graphs, wanted)
    kept = search(parents, near, choice, replace(effort, reach=True), folder)
    found = kept.children[kept.best(reach=True) or 0]
    return parents.child(name, found.each, "reported")


def narrow_ones(parents: Parents, best: Child, effort: Effort, folder: Path) -> Sequence[Part]:
    """Train a narrow network from scratch for each fold, for as long as the search took."""
    began, left, parts = time.perf_counter(), effort.deadline - time.perf_counter(), []
    count = len(parents.each)
    for n, (ground, part, place) in enumerate(zip(parents.each, best.each, parents.places(folder), strict=True)):
        steps = max(1, effort.steps // count) if effort.steps else 0
        until = inf if steps else began + left * (n + 1) / count
        parts.append(narrow(ground, part, until, steps, place))
    return parts


def narrow(ground: FoldContext, best: Part, deadline: float, steps: int, folder: Path) -> Part:
    """Train a narrow network from scratch on one fold."""
    run = Run(folder)
    if not run.has_begun:
        own = tuple(g for g in ground.recipe.gradients if g["name"] != "distilled")
        recipe = replace(ground.recipe, task=ground.task.settings(), start={}, widths={}, gradients=own)
        recipe = replace(recipe, model=narrowed_to(ground, recipe, best.cost.flops))
        run.write_recipe(recipe.with_training(steps=0, threads=0, replanned=()))
    return learned(ground, run, deadline, steps)


def narrowed_to(ground: FoldContext, recipe: Recipe, flops: int) -> dict[str, Any]:
    """Find model settings that scale all widths by one factor and cost at most so many flops, by bisection."""
    wide = recipe.model["channels"]
    low, high, found = 0.0, 1.0, dict(recipe.model)
    known: dict[str, int] = {}
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        model = dict(recipe.model) | {"channels": tuple(max(2, round(c * middle)) for c in wide)}
        if "width" in model:
            model["width"] = max(8, 8 * round(recipe.model["width"] * middle / 8))
        if str(model) not in known:
            known[str(model)] = cost_of(ground.built(replace(recipe, model=model)), ground.example).flops
        if known[str(model)] <= flops:
            low, found = middle, model
        else:
            high = middle
    return found
