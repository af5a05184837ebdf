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
from ...data.atomic_files import write_text
from ...descent.solvers import Solution
from ...errors import SettingError
from ...tasks import Task
from ..compute.device import AutocastModule, Compute
from ..evaluation.judge import validate_cases
from ..loading.cache import PreparedCase
from ..progress import Progress, SilentProgress
from ..runs.checkpoint import write_checkpoint
from ..runs.recipe import Recipe
from ..runs.run import Run, build_model, count_channels

Matrix = NDArray[np.float64]
STRENGTHS_TO_TRY = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""What is tried where the recipe leaves the strength to the validation cases, the simplest model first."""
MODEL_SETTINGS = ("kernel", "gamma", "degree")
"""Settings of the model that its solver must know."""


@dataclass(frozen=True)
class Standardisation:
    """Standardisation: mean and deviation of every column; a constant column has the deviation 0."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def scale(self) -> NDArray[np.float64]:
        """The factor of each column: 0 where it is constant."""
        is_wide = self.deviation > 1e-12 * (1 + np.abs(self.mean))
        return np.where(is_wide, 1 / np.where(is_wide, self.deviation, 1.0), 0.0)

    def standardise(self, rows: Matrix) -> Matrix:
        """Standardise rows: every column gets mean 0 and deviation 1."""
        return (rows - self.mean) * self.scale


@dataclass(frozen=True)
class SolvedModel:
    """The solutions at one regularisation strength, and their metric on validation cases (None without any)."""

    strength: float
    solutions: tuple[Solution, ...]
    metric: float | None = None


def uses_solver(recipe: Recipe) -> bool:
    """Tell whether a recipe names a solver."""
    return bool(recipe.solver) and recipe.solver["name"] != "none"


def solve(
    run: Run,
    recipe: Recipe,
    task: Task,
    cases: Sequence[PreparedCase],
    validation_cases: Sequence[PreparedCase],
    compute: Compute,
    *,
    progress: Progress | None = None,
) -> tuple[Recipe, str]:
    """Solve a recipe's model, and write weights and recipe; return the recipe and the reason for the end.

    Each class against the others is a binary problem of its own; two exclusive classes are one problem. Columns
    are standardised, and the scales folded into the weights. A strength of 0 is chosen on the validation cases
    by the task's primary metric, the smallest among equals.
    """
    began, progress = time.perf_counter(), progress or SilentProgress()
    problems = task.binary_problems([ready.case.truth for ready in cases])
    check_solver(recipe)
    rows = encode_cases(task, cases)
    standard = Standardisation(rows.mean(axis=0), rows.std(axis=0))
    standardised = standard.standardise(rows)
    strengths = strengths_to_try(recipe, validation_cases)
    solved_models = []
    for strength in strengths:
        solutions = tuple(solve_problem(recipe, standardised, signs, strength) for signs in problems.values())
        solved = SolvedModel(strength, solutions)
        if len(strengths) > 1:
            network = build_solved_network(recipe, task, cases, solved, standardised, standard)
            solved = replace(solved, metric=validation_metric(network, recipe, task, validation_cases, compute))
            progress.say(
                f"With a strength of {strength:g}, {task.primary_metric} "
                f"{solved.metric if solved.metric is not None else 0:.3f}."
            )
        solved_models.append(solved)
    best = max(solved_models, key=lambda s: (-np.inf if s.metric is None else s.metric, -s.strength))
    network = build_solved_network(recipe, task, cases, best, standardised, standard)
    recipe = with_chosen_strength(recipe, best)
    write_weights(run, network, count_channels([cases[0].case], task), best, time.perf_counter() - began)
    record = solver_record(recipe, problems, best, solved_models, rows)
    run.write_recipe(recipe)
    run.write_facts(solver=record, parameters=sum(p.numel() for p in network.parameters()))
    progress.say(f"Solved in {time.perf_counter() - began:.1f} s.")
    gap = max(s.gap for s in best.solutions)
    return recipe, f"no weights are better: its duality gap is {gap:.1e}"


def check_solver(recipe: Recipe) -> None:
    """Raise unless the solver fits the model."""
    model, name = recipe.model["name"], str(recipe.solver["name"])
    fitting = [n for n in registry.names("descent.solvers") if n.startswith(f"{model}_")]
    if name not in fitting:
        known = f"these do: {', '.join(fitting)}" if fitting else "logistic and svm have solvers"
        raise SettingError(f"The solver {name!r} does not solve the model {model!r}; {known}.")
    double = [k for k in MODEL_SETTINGS if k in recipe.solver]
    if double:
        raise SettingError(f"{double[0]!r} is a setting of [model], from which [solver] has it. Move it there.")


def encode_cases(task: Task, cases: Sequence[PreparedCase]) -> Matrix:
    """Encode whole cases as rows (n, d)."""
    first = tuple(task.encode(cases[0].case).inputs["image"].shape)
    rows = np.empty((len(cases), prod(first)))
    for number, ready in enumerate(cases):
        inputs = task.encode(ready.case).inputs["image"]
        if tuple(inputs.shape) != first:
            raise SettingError(
                f"Case {ready.case.id!r} has the shape {tuple(inputs.shape)}, but {cases[0].case.id!r} has {first}. "
                "Bring all to one shape with the step 'fit' under [[prepare]]."
            )
        rows[number] = inputs.numpy().reshape(-1)
    return rows


def strengths_to_try(recipe: Recipe, validation_cases: Sequence[PreparedCase]) -> tuple[float, ...]:
    """List the regularisation strengths to try: the recipe's, or a grid where it is 0."""
    strength = float(recipe.solver.get("C", 1.0))
    if strength:
        return (strength,)
    if not validation_cases:
        raise SettingError("A 'C' of 0 under [solver] is chosen on validation cases, and there are none. Give one.")
    return STRENGTHS_TO_TRY


def solve_problem(recipe: Recipe, rows: Matrix, signs: NDArray[np.float64], strength: float) -> Solution:
    """Solve one problem with the recipe's solver."""
    make = registry.find("descent.solvers", recipe.solver["name"])
    given = {k: v for k, v in recipe.solver.items() if k not in ("name", "C")}
    known = registry.keyword_defaults(make)
    shared = {k: v for k, v in recipe.model.items() if k in MODEL_SETTINGS and k in known}
    return make(rows, signs, C=strength, **given, **shared)


def with_chosen_strength(recipe: Recipe, best: SolvedModel) -> Recipe:
    """Write the chosen strength, and the number of support rows of a kernel, into the recipe."""
    recipe = replace(recipe, solver={**recipe.solver, "C": best.strength})
    return with_support_count(recipe, best)


def with_support_count(recipe: Recipe, solved: SolvedModel) -> Recipe:
    """Return the recipe with the number of support rows as a model setting, where the model has a kernel."""
    if recipe.model.get("kernel", "linear") == "linear":
        return recipe
    return replace(recipe, model={**recipe.model, "supports": len(support_rows(solved))})


def support_rows(solved: SolvedModel) -> NDArray[np.int64]:
    """Return the indices of the rows that are support vectors of any problem."""
    return np.unique(np.concatenate([s.support for s in solved.solutions]))


def build_solved_network(
    recipe: Recipe,
    task: Task,
    cases: Sequence[PreparedCase],
    solved: SolvedModel,
    standardised: Matrix,
    standard: Standardisation,
) -> nn.Module:
    """Build the network whose weights are the solutions."""
    recipe = with_support_count(recipe, solved)
    network = build_model(recipe, task, count_channels([cases[0].case], task))
    state = (
        kernel_state(solved, standardised, standard) if "supports" in recipe.model else linear_state(solved, standard)
    )
    outputs = task.outputs.channels
    if len(solved.solutions) == 1 and outputs == 2:  # a score of one sign, told as half of it for and half against
        for name in ("weight", "bias"):
            state[f"linear.{name}"] = np.concatenate([-state[f"linear.{name}"], state[f"linear.{name}"]]) / 2
    network.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v, np.float32)) for k, v in state.items()})
    return network


def linear_state(solved: SolvedModel, standard: Standardisation) -> dict[str, Matrix]:
    """Fold the standardisation into weights: ``w.(x - mean) scale + b = (w scale).x + (b - (w scale).mean)``."""
    weights = np.stack([s.weights for s in solved.solutions]) * standard.scale  # (problems, d)
    offsets = np.array([s.offset for s in solved.solutions]) - weights @ standard.mean
    return {"linear.weight": weights, "linear.bias": offsets}


def kernel_state(solved: SolvedModel, standardised: Matrix, standard: Standardisation) -> dict[str, Matrix]:
    """Return the weights of a kernel model: support rows, their coefficients, and the standardisation."""
    support = support_rows(solved)
    weights = np.zeros((len(solved.solutions), len(support)))
    for row, solution in zip(weights, solved.solutions, strict=True):
        row[np.searchsorted(support, solution.support)] = solution.coefficients
    return {
        "linear.weight": weights,
        "linear.bias": np.array([s.offset for s in solved.solutions]),
        "support": standardised[support],
        "shift": standard.mean,
        "scale": standard.scale,
    }


def validation_metric(
    network: nn.Module, recipe: Recipe, task: Task, validation_cases: Sequence[PreparedCase], compute: Compute
) -> float | None:
    """Compute the task's primary metric of a network on validation cases."""
    model = AutocastModule(compute.move_model(network), compute)
    found = validate_cases(model, task, validation_cases, patch=recipe.training.patch, compute=compute)
    return task.summarise([j.row for j in found]).get(task.primary_metric)


def write_weights(run: Run, network: nn.Module, n_channels: int, best: SolvedModel, seconds: float) -> None:
    """Write the checkpoints as a training would, best and last the same, and one line of the step log."""
    weights = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    state: Mapping[str, Any] = {
        "model": weights,
        "ema": weights,
        "channels": n_channels,
        "done": 0,
        "best": best.metric,
        "best_step": 0,
    }
    write_checkpoint(run.last_checkpoint, state)
    write_checkpoint(run.best_checkpoint, state)
    line = {"step": 0, "seconds": round(seconds, 4), "loss": {"primal": sum(s.primal for s in best.solutions)}}
    write_text(run.steps_file, json.dumps(line) + "\n")


def solver_record(
    recipe: Recipe, problems: Mapping[str, Any], best: SolvedModel, solved_models: Sequence[SolvedModel], rows: Matrix
) -> dict[str, Any]:
    """Return the record of the solver: objective and gap of every problem, and the strengths that were tried."""
    told: dict[str, Any] = {**recipe.solver, "rows": rows.shape[0], "columns": rows.shape[1]}
    told["problems"] = [
        {"class": name, "primal": s.primal, "dual": s.dual, "gap": s.gap, "iterations": s.iterations}
        for name, s in zip(problems, best.solutions, strict=True)
    ]
    if len(solved_models) > 1:
        told["tried"] = [{"C": s.strength, "validation": s.metric} for s in solved_models]
    return told
