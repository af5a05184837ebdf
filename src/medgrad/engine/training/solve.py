"""Solve a convex model instead of training it; the duality gap proves the optimum."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ... import registry
from ...data import Scores
from ...data.atomic_files import write_text
from ...descent.solvers import Solution
from ...errors import LayoutError, SettingError
from ...tasks import Task
from ...tasks.classification import Classification
from ..compute.device import AutocastModule, Compute
from ..evaluation.judge import validate_cases
from ..loading.cache import Prepared
from ..progress import Progress, Silent
from ..runs.checkpoint import write_checkpoint
from ..runs.recipe import Recipe
from ..runs.run import Run, build_model, planes_of

Matrix = NDArray[np.float64]
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""What is tried where the recipe leaves the strength to the validation cases, the simplest model first."""
SHARED = ("kernel", "gamma", "degree")
"""Settings of the model that its solver must know."""


@dataclass(frozen=True)
class Standard:
    """Standardisation: mean and deviation of every column; a constant column has the deviation 0."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def scale(self) -> NDArray[np.float64]:
        """The factor of each column: 0 where it is constant."""
        is_wide = self.deviation > 1e-12 * (1 + np.abs(self.mean))
        return np.where(is_wide, 1 / np.where(is_wide, self.deviation, 1.0), 0.0)

    def of(self, rows: Matrix) -> Matrix:
        """Standardise rows: every column gets mean 0 and deviation 1."""
        return (rows - self.mean) * self.scale


@dataclass(frozen=True)
class Solved:
    """The solutions at one regularisation strength, and their metric on validation cases (None without any)."""

    strength: float
    solutions: tuple[Solution, ...]
    aim: float | None = None


def is_solved(recipe: Recipe) -> bool:
    """Tell whether a recipe names a solver."""
    return bool(recipe.solver) and recipe.solver["name"] != "none"


def solve(
    run: Run,
    recipe: Recipe,
    task: Task,
    cases: Sequence[Prepared],
    valid: Sequence[Prepared],
    place: Compute,
    *,
    progress: Progress | None = None,
) -> tuple[Recipe, str]:
    """Solve a recipe's model, and write weights and recipe; return the recipe and the reason for the end.

    Each class against the others is a binary problem of its own; two exclusive classes are one problem. Columns
    are standardised, and the scales folded into the weights. A strength of 0 is chosen on the validation cases
    by the task's primary metric, the smallest among equals.
    """
    began, progress = time.perf_counter(), progress or Silent()
    check(recipe, task)
    assert isinstance(task, Classification)
    rows, truth = encoded(task, cases)
    standard = Standard(rows.mean(axis=0), rows.std(axis=0))
    ready, problems = standard.of(rows), problems_of(task, truth)
    strengths = tried(recipe, valid)
    found = []
    for strength in strengths:
        solutions = tuple(solved_by(recipe, ready, signs, strength) for signs in problems.values())
        one = Solved(strength, solutions)
        if len(strengths) > 1:
            network = network_of(recipe, task, cases, one, ready, standard)
            one = replace(one, aim=aim_of(network, recipe, task, valid, place))
            progress.say(
                f"With a strength of {strength:g}, {task.primary_metric} {one.aim if one.aim is not None else 0:.3f}."
            )
        found.append(one)
    best = max(found, key=lambda s: (-np.inf if s.aim is None else s.aim, -s.strength))
    network = network_of(recipe, task, cases, best, ready, standard)
    recipe = settled(recipe, best)
    write_weights(run, network, planes_of([cases[0].case], task), best, time.perf_counter() - began)
    told = note(recipe, problems, best, found, rows)
    run.write_recipe(recipe)
    run.note(solver=told, parameters=sum(p.numel() for p in network.parameters()))
    progress.say(f"Solved in {time.perf_counter() - began:.1f} s.")
    gap = max(s.gap for s in best.solutions)
    return recipe, f"no weights are better: its duality gap is {gap:.1e}"


def check(recipe: Recipe, task: Task) -> None:
    """Raise unless the solver fits the model, and the task is a classification."""
    model, name = recipe.model["name"], str(recipe.solver["name"])
    if not isinstance(task, Classification):
        raise SettingError(f"The solver {name!r} parts classes, but the task is {task.kind!r}. Take [solver] out.")
    fitting = [n for n in registry.names("descent.solvers") if n.startswith(f"{model}_")]
    if name not in fitting:
        known = f"these do: {', '.join(fitting)}" if fitting else "logistic and svm have solvers"
        raise SettingError(f"The solver {name!r} does not solve the model {model!r}; {known}.")
    double = [k for k in SHARED if k in recipe.solver]
    if double:
        raise SettingError(f"{double[0]!r} is a setting of [model], from which [solver] has it. Move it there.")


def encoded(task: Classification, cases: Sequence[Prepared]) -> tuple[Matrix, Matrix]:
    """Encode whole cases as rows (n, d), with their truths (n, classes)."""
    first = tuple(task.encode(cases[0].case).inputs.shape)
    rows = np.empty((len(cases), prod(first)))
    for number, ready in enumerate(cases):
        inputs = task.encode(ready.case).inputs
        if tuple(inputs.shape) != first:
            raise SettingError(
                f"Case {ready.case.id!r} has the shape {tuple(inputs.shape)}, but {cases[0].case.id!r} has {first}. "
                "Bring all to one shape with the step 'fit' under [[prepare]]."
            )
        rows[number] = inputs.numpy().reshape(-1)
    return rows, np.array([values_of(ready) for ready in cases])


def values_of(ready: Prepared) -> NDArray[np.float64]:
    """Return the truth of a case, one number per class."""
    assert isinstance(ready.case.truth, Scores)  # a case without truth does not train
    return ready.case.truth.values


def problems_of(task: Classification, truth: Matrix) -> dict[str, NDArray[np.float64]]:
    """Build the binary problems by class: each is the signs (n,) of the cases."""
    is_one = task.exclusive and len(task.labels) == 2
    chosen = task.labels[1:] if is_one else task.labels
    found = {}
    for name in chosen:
        column = truth[:, task.labels.index(name)]
        found[name] = np.where(column > 0.5, 1.0, -1.0)
        if len(set(found[name].tolist())) < 2:
            which = "none" if found[name][0] < 0 else "every one"
            raise LayoutError(
                f"Of {len(truth)} training cases {which} is of the class {name!r}, so nothing can part it. "
                "Give another split, or take the class out."
            )
    return found


def tried(recipe: Recipe, valid: Sequence[Prepared]) -> tuple[float, ...]:
    """List the regularisation strengths to try: the recipe's, or a grid where it is 0."""
    strength = float(recipe.solver.get("strength", 1.0))
    if strength:
        return (strength,)
    if not valid:
        raise SettingError(
            "A 'strength' of 0 under [solver] is chosen on validation cases, and there are none. Give one."
        )
    return STRENGTHS


def solved_by(recipe: Recipe, rows: Matrix, signs: NDArray[np.float64], strength: float) -> Solution:
    """Solve one problem with the recipe's solver."""
    make = registry.find("descent.solvers", recipe.solver["name"])
    given = {k: v for k, v in recipe.solver.items() if k not in ("name", "strength")}
    known = registry.settings(make)
    shared = {k: v for k, v in recipe.model.items() if k in SHARED and k in known}
    return make(rows, signs, strength=strength, **given, **shared)


def settled(recipe: Recipe, best: Solved) -> Recipe:
    """Write the chosen strength, and the number of support rows of a kernel, into the recipe."""
    recipe = replace(recipe, solver={**recipe.solver, "strength": best.strength})
    return with_supports(recipe, best)


def with_supports(recipe: Recipe, found: Solved) -> Recipe:
    """Return the recipe with the number of support rows as a model setting, where the model has a kernel."""
    if recipe.model.get("kernel", "linear") == "linear":
        return recipe
    return replace(recipe, model={**recipe.model, "supports": len(supports_of(found))})


def supports_of(found: Solved) -> NDArray[np.int64]:
    """Return the indices of the rows that are support vectors of any problem."""
    return np.unique(np.concatenate([s.support for s in found.solutions]))


def network_of(
    recipe: Recipe, task: Task, cases: Sequence[Prepared], found: Solved, ready: Matrix, standard: Standard
) -> nn.Module:
    """Build the network whose weights are the solutions."""
    recipe = with_supports(recipe, found)
    network = build_model(recipe, task, planes_of([cases[0].case], task))
    state = kernel_state(found, ready, standard) if "supports" in recipe.model else linear_state(found, standard)
    outputs = task.outputs.channels
    if len(found.solutions) == 1 and outputs == 2:  # a score of one sign, told as half of it for and half against
        for name in ("weight", "bias"):
            state[f"linear.{name}"] = np.concatenate([-state[f"linear.{name}"], state[f"linear.{name}"]]) / 2
    network.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v, np.float32)) for k, v in state.items()})
    return network


def linear_state(found: Solved, standard: Standard) -> dict[str, Matrix]:
    """Fold the standardisation into weights: ``w.(x - mean) scale + b = (w scale).x + (b - (w scale).mean)``."""
    weights = np.stack([s.weights for s in found.solutions]) * standard.scale  # (problems, d)
    offsets = np.array([s.offset for s in found.solutions]) - weights @ standard.mean
    return {"linear.weight": weights, "linear.bias": offsets}


def kernel_state(found: Solved, ready: Matrix, standard: Standard) -> dict[str, Matrix]:
    """Return the weights of a kernel model: support rows, their coefficients, and the standardisation."""
    support = supports_of(found)
    weights = np.zeros((len(found.solutions), len(support)))
    for row, solution in zip(weights, found.solutions, strict=True):
        row[np.searchsorted(support, solution.support)] = solution.coefficients
    return {
        "linear.weight": weights,
        "linear.bias": np.array([s.offset for s in found.solutions]),
        "support": ready[support],
        "shift": standard.mean,
        "scale": standard.scale,
    }


def aim_of(network: nn.Module, recipe: Recipe, task: Task, valid: Sequence[Prepared], place: Compute) -> float | None:
    """Compute the task's primary metric of a network on validation cases."""
    model = AutocastModule(place.model(network), place)
    found = validate_cases(model, task, valid, patch=recipe.training.patch, place=place)
    return task.summarise([j.row for j in found]).get(task.primary_metric)


def write_weights(run: Run, network: nn.Module, planes: int, best: Solved, seconds: float) -> None:
    """Write the checkpoints as a training would, best and last the same, and one line of the step log."""
    weights = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    state: Mapping[str, Any] = {
        "model": weights,
        "average": weights,
        "planes": planes,
        "done": 0,
        "best": best.aim,
        "best_step": 0,
    }
    write_checkpoint(run.last, state)
    write_checkpoint(run.best, state)
    line = {"step": 0, "seconds": round(seconds, 4), "loss": {"primal": sum(s.primal for s in best.solutions)}}
    write_text(run.steps_file, json.dumps(line) + "\n")


def note(
    recipe: Recipe, problems: Mapping[str, Any], best: Solved, found: Sequence[Solved], rows: Matrix
) -> dict[str, Any]:
    """Return the record of the solver: objective and gap of every problem, and the strengths that were tried."""
    told: dict[str, Any] = {**recipe.solver, "rows": rows.shape[0], "columns": rows.shape[1]}
    told["problems"] = [
        {"class": name, "primal": s.primal, "dual": s.dual, "gap": s.gap, "iterations": s.iterations}
        for name, s in zip(problems, best.solutions, strict=True)
    ]
    if len(found) > 1:
        told["tried"] = [{"strength": s.strength, "validation": s.aim} for s in found]
    return told
