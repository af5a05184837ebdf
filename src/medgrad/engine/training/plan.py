"""Plan a recipe from dataset statistics and the time budget."""

from __future__ import annotations

from dataclasses import replace

from ... import registry
from ...survey.dataset_facts import DatasetFacts
from ...tasks import Budget as Budget
from ..runs.recipe import Recipe, recipe_from_tables


def plan(
    facts: DatasetFacts, budget: Budget | None = None, *, has_gpu: bool = False, seed: int = 0, model: str = ""
) -> Recipe:
    """Plan the recipe for the data and the budget, as the task proposes it; every setting in it can be changed.

    ``model`` is the one that the user chose.
    """
    budget = budget or Budget()
    task = registry.find("tasks", facts.task)(dims=facts.dims)
    tables = task.propose(facts, budget, has_gpu=has_gpu, model=model)
    recipe = recipe_from_tables(tables, source=f"what the task {facts.task!r} proposes").with_training(seed=seed)
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
