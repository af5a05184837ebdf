"""Stages on the way to a smaller network: each is smaller than the one before, and what is left learns again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from ..engine.fit import Way, descend, tests_of
from ..engine.learn import Learner
from ..engine.recipe import Recipe
from ..engine.run import Run
from ._ground import Ground, Part
from ._parents import Child, Parents
from .choice import Choice
from .goal import Goal
from .layers import merged_widths
from .shrinking import lessened, refuse_what_cannot_be, shallower

STRIDE = 0.4
"""Each stage costs at least so much of the one before: who loses little at a time forgets little."""
LAST = 5.0
"""The last stage learns so many times longer than each before it."""


@dataclass(frozen=True)
class Ladder:
    """How the way down is parted: minutes (or steps) in all, the share of what is taught by the parent in the loss, of
    how much of each batch the parent is ``heard``, and whether a bad rung ends it.
    """

    minutes: float
    steps: int = 0
    taught: float = 0.5
    heard: float = 0.5
    stops: bool = True
    seed: int = 0


def climb(parents: Parents, goal: Goal, choice: Choice, ladder: Ladder, folder: Path) -> list[Child]:
    """Go down rung by rung, all parents side by side, and give what came of them on each; a bad rung may be the last.

    The time is parted equally between the parents.
    """
    goals = goal.rungs(STRIDE)
    parts = [*[1.0] * (len(goals) - 1), LAST]
    whole, places, found = parents.each, parents.places(folder), list[Child]()
    state = [(ground.network, ground.recipe) for ground in whole]
    if not Run(places[-1] / "0").has_begun:
        if choice.layers:
            state = [shallower(g, goal, choice, at) for g, at in zip(whole, places, strict=True)]
        for (network, _), ground in zip(state, whole, strict=True):
            refuse_what_cannot_be(ground, network, goal, choice)
    for number, near in enumerate(goals):
        last = number == len(goals) - 1
        parents.teller.say(f"Rung {number + 1} of {len(goals)}: {near}.")
        part, made = parts[number] / sum(parts) / len(whole), []
        for place, ground in enumerate(whole):
            run = Run(places[place] / str(number))
            shrink(ground, *state[place], near, choice, run, ladder)
            one, network = learned(ground, run, ladder, part)
            state[place] = network, run.recipe()
            made.append(one)
        child = parents.child(choice.criterion, made)
        found.append(child)
        parents.teller.say(f"{child.score:.4f}, its parent {parents.score:.4f}. {child.verdict}")
        if ladder.stops and not child.verdict.holds and not last:
            parents.teller.say("That is too small, so the search ends here.")
            break
    return found


def shrink(
    ground: Ground, network: nn.Module, recipe: Recipe, goal: Goal, choice: Choice, run: Run, ladder: Ladder
) -> None:
    """Remove the channels that matter least, and write down the recipe with which what is left learns."""
    if run.has_begun:
        return
    learner = Learner(Run(run.folder / "seen"), recipe, ground.task, ground.train, ground.valid, ground.place)
    smaller, widths = lessened(ground, network, goal.shares, choice, learner)
    write_child(ground, recipe, smaller, widths, run, ladder)


def write_child(
    ground: Ground, recipe: Recipe, smaller: nn.Module, widths: Mapping[str, Sequence[int]], run: Run, ladder: Ladder
) -> None:
    """Write the recipe of a child, and the weights that it begins with."""
    begin = run.folder / "weights" / "begin.safetensors"
    begin.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in smaller.state_dict().items()}, begin)
    parent = str(ground.folder.resolve())
    teaching = ({"name": "taught", "run": parent, "weight": ladder.taught, "share": ladder.heard},)
    own = tuple(g for g in recipe.gradients if g["name"] != "taught")
    child = replace(
        recipe,
        task=ground.task.settings(),
        widths=merged_widths(recipe.widths, widths),
        start={"weights": str(begin.resolve())},
        gradients=(*(teaching if ladder.taught and can_be_taught(ground) else ()), *own),
    ).with_training(steps=0, threads=0, brief=0, replanned=(), seed=recipe.training.seed + ladder.seed)
    run.write_recipe(child)


def can_be_taught(ground: Ground) -> bool:
    """Tell whether the parent can teach: a detector in two stages chooses its candidates itself."""
    return getattr(ground.task, "detector", "") != "two_stage"


def learned(ground: Ground, run: Run, ladder: Ladder, share: float) -> tuple[Part, nn.Module]:
    """Let the network of a recipe learn for a share of the time, and tell what it costs and how it does."""
    recipe = run.recipe()
    if ladder.steps and not run.has_begun:
        recipe = recipe.with_training(steps=max(1, round(share * ladder.steps)))
    deadline = time.perf_counter() + 60 * share * ladder.minutes
    learner = Learner(run, recipe, ground.task, ground.train, ground.valid, ground.place)
    descend(learner, Way(deadline, len(tests_of(ground.cohort)), ground.device), ground.teller)
    return ground.part(run)
