"""What pruning is held against: other choices on the same way down, and a narrow network that never was wide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.recipe import Recipe
from ..engine.run import Run
from ..errors import SettingError
from ._ground import Ground, Part
from ._parents import Child, Parents
from .channels import lowest
from .choice import Choice
from .cost import cost_of
from .goal import TIME, Goal
from .stages import Ladder, climb, learned

CONTROLS = ("magnitude", "random", "narrow")
HALVINGS = 12
FLOOR = 0.01
"""A smaller share of the channels is none."""


def control(
    name: str, parents: Parents, goal: Goal, best: Child, ladder: Ladder, choice: Choice, folder: Path
) -> Child:
    """Make what is as small as the best in another way, in the same time, with layers as narrow as may be."""
    parents.teller.say(f"The control {name!r}.")
    if name == "narrow":
        each = zip(parents.each, best.each, parents.places(folder), strict=True)
        return parents.child(name, [narrow(g, b, ladder, at, 1 / len(parents.each)) for g, b, at in each])
    other = {"magnitude": Choice("magnitude", relative=True), "random": Choice("random", {"widest": True})}[name]
    near = goal.as_of(best, parents)
    same = replace(choice, criterion=other.criterion, settings=other.settings, relative=other.relative, layers=0)
    choice = wide_enough(parents, near, same)
    made = climb(parents, near, choice, replace(ladder, stops=False), folder)[-1]
    return replace(made, made=name)


def wide_enough(parents: Parents, goal: Goal, choice: Choice) -> Choice:
    """Let layers keep as many channels as they can, up to those of a choice, where no whole layer goes."""
    graphs = [(ground.graph(ground.network), ground.network) for ground in parents.each]
    wanted = {what: share for what, share in goal.shares.items() if what != TIME}

    def is_within_reach() -> bool:
        least = [choice.leasts(graph, whole) for graph, whole in graphs]
        return all(
            lowest(graph, cost=what, least=each, multiple=choice.multiple) <= share  # type: ignore[arg-type]
            for (graph, _), each in zip(graphs, least, strict=True)
            for what, share in wanted.items()
        )

    while not is_within_reach() and (choice.least > 1 or choice.floor > FLOOR):
        choice = replace(choice, least=max(1, choice.least // 2), floor=choice.floor / 2)
    return choice


def narrow(ground: Ground, best: Part, ladder: Ladder, folder: Path, share: float) -> Part:
    """Train a network of the same kind, narrow throughout, from nothing, for as long as the search took."""
    run = Run(folder)
    if not run.has_begun:
        own = tuple(g for g in ground.recipe.gradients if g["name"] != "taught")
        recipe = replace(ground.recipe, task=ground.task.settings(), start={}, widths={}, gradients=own)
        recipe = replace(recipe, model=narrowed_to(ground, recipe, best.cost.flops))
        run.write_recipe(recipe.with_training(steps=0, threads=0))
    return learned(ground, run, ladder, share)[0]


def narrowed_to(ground: Ground, recipe: Recipe, flops: int) -> dict[str, Any]:
    """Find the settings of a model whose layers are all narrower by one factor, at most this many multiply-adds."""
    wide = recipe.model.get("channels")
    if not wide:
        raise SettingError(f"{recipe.model['name']!r} has no 'channels', so there is no narrow one. Use --no-controls.")
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


__all__ = ["CONTROLS", "control"]
