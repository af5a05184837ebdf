"""Plan a recipe from dataset statistics and the time budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ... import registry
from ...survey.dataset_facts import DatasetFacts
from ...tasks import Budget as Budget
from ...tasks import plan_autoencoder
from ..runs.recipe import Recipe, find_network, recipe_from_tables


def plan(
    facts: DatasetFacts,
    budget: Budget | None = None,
    *,
    has_gpu: bool = False,
    seed: int = 0,
    model: str = "",
    body: str = "",
) -> Recipe:
    """Plan the recipe for the data and the budget, as the task proposes it; every setting in it can be changed.

    ``model`` is the one that the user chose. Where it learns for another, its ``body``, the rest suits that one.
    """
    budget = budget or Budget()
    task = registry.find("tasks", facts.task)(dims=facts.dims)
    tables = task.propose(facts, budget, has_gpu=has_gpu, model=model)
    if model and (default := registry.keyword_defaults(find_network(model, facts.task)).get("body")):
        tables |= plan_autoencoder(body or default, facts, has_gpu=has_gpu)
    recipe = recipe_from_tables(tables, source=f"what the task {facts.task!r} proposes").with_training(seed=seed)
    if budget.until_plateau:
        return with_plateau_stopping(recipe)
    return recipe.with_training(minutes=float(budget.minutes), steps=budget.steps)


def for_noisy_images(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe without planned degradations where its gradients learn from images that are noisy as they are.

    It is judged at its end alone: by images that are noisy, the network that changes least would be the best.
    """
    rules = [registry.find("descent.gradients", table["name"]) for table in recipe.gradients]
    if all(getattr(rule, "needs_clean_images", True) for rule in rules):
        return recipe
    kept = recipe.augment
    if "augment" not in changes:
        kept = tuple(t for t in kept if not getattr(registry.find("augment", t["name"]), "is_degradation", False))
    return replace(recipe, augment=kept).with_training(validations=1)


def with_plateau_stopping(recipe: Recipe) -> Recipe:
    """Return a recipe that trains until validation stops improving.

    The learning rate stays high, and the average of the weights replaces the decay of the rate.
    """
    return replace(
        recipe.with_training(steps=100_000, minutes=0.0, validations=400, ema=0.998),
        schedule={"name": "constant", "warmup": 0.002},
        stopping=({"name": "no_improvement", "patience": 12},),
    )
