"""The candidates of a race, and the search for their learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import registry
from .parallel_map import Executor

RATE_FACTORS = (0.1, 0.316, 1.0, 3.16)
"""The rates that are tried, as factors of an optimiser's own; the best at an edge leads further."""
MAX_EXTRA_RATES = 3
"""By at most so many rates more."""


@dataclass(frozen=True)
class Candidate:
    """A candidate: an optimiser and, after ``+``, gradient methods, such as ``sgd+full_batch``."""

    name: str

    @property
    def recipe_changes(self) -> dict[str, Any]:
        """The changes of the recipe that select this candidate."""
        optimiser, *gradients = self.name.split("+")
        found: dict[str, Any] = {"optimiser": {"name": optimiser}}
        if gradients:
            found["gradients"] = tuple({"name": g} for g in gradients)
        return found

    @property
    def default_rate(self) -> float:
        """The optimiser's default learning rate, around which the search runs."""
        make = registry.find("descent.optimisers", self.name.split("+")[0])
        return float(registry.keyword_defaults(make)["rate"])


@dataclass(frozen=True)
class RateSearch:
    """How the learning rate is searched: a grid of factors, or a number of optuna trials."""

    factors: Sequence[float] = RATE_FACTORS
    trials: int = 0
    executor: Executor = "here"


TrySettings = Callable[[Sequence[Mapping[str, Any]]], list[float]]


def search_grid(candidate: Candidate, try_settings: TrySettings, factors: Sequence[float]) -> list[dict[str, Any]]:
    """Try the default rate times each factor, and extend the grid while the best is at its edge.

    Returns the best rate and its neighbours: short runs may prefer slightly higher or lower rates than full runs.
    """
    metric_by_factor = dict(
        zip(factors, try_settings([{"rate": candidate.default_rate * factor} for factor in factors]), strict=True)
    )
    best = max(metric_by_factor, key=lambda f: metric_by_factor[f])
    ordered = sorted(factors)
    for _ in range(MAX_EXTRA_RATES if len(ordered) > 1 else 0):
        if min(metric_by_factor) < best < max(metric_by_factor):
            break
        ratio = ordered[1] / ordered[0]
        beyond = best / ratio if best == min(metric_by_factor) else best * ratio
        (metric_by_factor[beyond],) = try_settings([{"rate": candidate.default_rate * beyond}])
        best = max(metric_by_factor, key=lambda f: metric_by_factor[f])
    ordered = sorted(metric_by_factor)
    best_index = ordered.index(best)
    factors_to_keep = [best, *ordered[max(0, best_index - 1) : best_index], *ordered[best_index + 1 : best_index + 2]]
    return [{"rate": candidate.default_rate * factor} for factor in factors_to_keep]


def search_with_optuna(candidate: Candidate, try_settings: TrySettings, n_trials: int) -> list[dict[str, Any]]:
    """Search the learning rate and, where the optimiser has one, the weight decay over three decades with optuna."""
    from ...errors import require_package

    optuna = require_package("optuna", extra="tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make = registry.find("descent.optimisers", candidate.name.split("+")[0])

    def objective(trial: Any) -> float:
        settings = {
            "rate": trial.suggest_float("rate", candidate.default_rate * 0.03, candidate.default_rate * 30, log=True)
        }
        if registry.keyword_defaults(make).get("decay"):
            settings["decay"] = trial.suggest_float("decay", 1e-5, 1e-1, log=True)
        return try_settings([settings])[0]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=n_trials)
    return [dict(study.best_params)]
