"""The candidates of a race, and the search for their learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import registry
from .parallel import Where

GRID = (0.1, 0.316, 1.0, 3.16)
"""The rates that are tried, as factors of an optimiser's own; the best at an edge leads further."""
FURTHER = 3
"""By at most so many rates more."""


@dataclass(frozen=True)
class Entrant:
    """A candidate: an optimiser and, after ``+``, gradient methods, such as ``sgd+full_batch``."""

    name: str

    @property
    def changes(self) -> dict[str, Any]:
        """The changes of the recipe that select this candidate."""
        optimiser, *gradients = self.name.split("+")
        found: dict[str, Any] = {"optimiser": {"name": optimiser}}
        if gradients:
            found["gradients"] = tuple({"name": g} for g in gradients)
        return found

    @property
    def rate(self) -> float:
        """The optimiser's default learning rate, around which the search runs."""
        make = registry.find("descent.optimisers", self.name.split("+")[0])
        return float(registry.settings(make)["rate"])


@dataclass(frozen=True)
class Search:
    """How the learning rate is searched: a grid of factors, or a number of optuna trials."""

    rates: Sequence[float] = GRID
    trials: int = 0
    where: Where = "here"


Tried = Callable[[Sequence[Mapping[str, Any]]], list[float]]


def by_grid(entrant: Entrant, tried: Tried, rates: Sequence[float]) -> list[dict[str, Any]]:
    """Try the default rate times each factor, and extend the grid while the best is at its edge.

    Returns the best rate and its neighbours: short runs may prefer slightly higher or lower rates than full runs.
    """
    figures = dict(zip(rates, tried([{"rate": entrant.rate * factor} for factor in rates]), strict=True))
    best = max(figures, key=lambda f: figures[f])
    ordered = sorted(rates)
    for _ in range(FURTHER if len(ordered) > 1 else 0):
        if min(figures) < best < max(figures):
            break
        ratio = ordered[1] / ordered[0]
        beyond = best / ratio if best == min(figures) else best * ratio
        (figures[beyond],) = tried([{"rate": entrant.rate * beyond}])
        best = max(figures, key=lambda f: figures[f])
    ordered = sorted(figures)
    place = ordered.index(best)
    near = [best, *ordered[max(0, place - 1) : place], *ordered[place + 1 : place + 2]]
    return [{"rate": entrant.rate * factor} for factor in near]


def by_optuna(entrant: Entrant, tried: Tried, trials: int) -> list[dict[str, Any]]:
    """Search the learning rate and, where the optimiser has one, the weight decay over three decades with optuna."""
    from ...errors import need

    optuna = need("optuna", extra="tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make = registry.find("descent.optimisers", entrant.name.split("+")[0])

    def objective(trial: Any) -> float:
        asked = {"rate": trial.suggest_float("rate", entrant.rate * 0.03, entrant.rate * 30, log=True)}
        if registry.settings(make).get("decay"):
            asked["decay"] = trial.suggest_float("decay", 1e-5, 1e-1, log=True)
        return tried([asked])[0]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=trials)
    return [dict(study.best_params)]
