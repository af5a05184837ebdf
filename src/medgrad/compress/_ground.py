"""The parent of networks that are pruned, its cases, and how each child is held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..engine.cache import load_side
from ..engine.calibrate import drawn_more, uncalibrated
from ..engine.compare import pooling
from ..engine.device import Mixed, Place, in_order
from ..engine.evaluate import Judged
from ..engine.home import home_of
from ..engine.judge import judge_all
from ..engine.recipe import Recipe
from ..engine.run import Run, build_model, network_of, open_run
from ..engine.teller import Teller
from ..errors import SettingError
from ..trust.noninferiority import NonInferiority, noninferior
from .cost import Cost, cost_of, milliseconds

ROUNDS = 7
"""An answer is timed so many times."""


@dataclass(frozen=True)
class Child:
    """A smaller network: how it was made, what it costs, and how it does beside its parent."""

    made: str
    folder: Path
    cost: Cost
    milliseconds: float
    score: float
    verdict: NonInferiority
    steps: int
    widths: Mapping[str, Sequence[int]]

    def as_dict(self) -> dict[str, Any]:
        """What ``pruned.json`` holds of it."""
        verdict = {**asdict(self.verdict), "says": str(self.verdict)}
        cost = {**asdict(self.cost), "milliseconds": self.milliseconds}
        return {"made": self.made, **cost, "score": self.score, "steps": self.steps, "verdict": verdict}


class Ground:
    """A parent and its cases, read once: what every child begins from and is held against."""

    def __init__(self, folder: Path, data: Path | None, margin: float, device: str | None, teller: Teller) -> None:
        run = (Run(folder).folds or [Run(folder)])[0]
        self.folder, self.margin, self.device, self.teller = folder, margin, device, teller
        self.trained = open_run(folder, device=device)
        self.place: Place = self.trained.place
        self.recipe = run.recipe()
        self.cohort = home_of(folder, data)
        cache = folder / "pruning"
        self.train, _ = load_side(self.cohort, "train", self.trained.steps, cache, teller)
        self.valid, self.lost = load_side(self.cohort, "val", self.trained.steps, cache, teller)
        if not self.train or not self.valid:
            raise SettingError(f"{str(folder)!r} has no cases to train on, or none to judge by. Pruning needs both.")
        self.task = drawn_more(
            uncalibrated(self.recipe.build_task()), [p.case.truth for p in self.train], self.recipe.training.balance
        )
        self.network, self.planes = network_of(run)
        self.example = torch.zeros(1, self.planes, *self.recipe.training.patch)
        self.cost = cost_of(self.network, self.example)
        self.milliseconds = self.timed(self.network)
        self.judged = judge_all(self.trained, self.valid, self.lost, teller=teller)
        self.score = self.aim(self.judged)

    def built(self, recipe: Recipe) -> nn.Module:
        """Make the network of a recipe, its weights by chance."""
        return build_model(recipe, self.task, self.planes)

    def timed(self, network: nn.Module) -> float:
        """Time one answer of a copy of a network, made fast as for answering."""
        answering = Mixed(self.place.model(deepcopy(network)), self.place).eval()
        return milliseconds(answering, in_order(self.example.to(self.place.device)), rounds=ROUNDS)

    def aim(self, judged: Sequence[Judged]) -> float:
        """Give the one figure by which the task is judged."""
        return float(self.task.summarise([j.row for j in judged]).get(self.task.aim) or 0.0)

    def child(self, made: str, run: Run) -> tuple[Child, nn.Module]:
        """Open what has learned, and tell what it costs and how it does."""
        trained = open_run(run.folder, device=self.device)
        judged = judge_all(trained, self.valid, self.lost, teller=self.teller)
        recipe = run.recipe()
        network, _ = network_of(run)
        made_of = Child(
            made,
            run.folder,
            cost_of(network, self.example),
            self.timed(network),
            self.aim(judged),
            self.verdict(judged),
            recipe.training.steps,
            {k: list(v) for k, v in recipe.widths.items()},
        )
        return made_of, network

    def verdict(self, judged: Sequence[Judged]) -> NonInferiority:
        """Hold judged cases against the parent's, paired by patient."""
        old, new = [j.row for j in self.judged], [j.row for j in judged]
        many, patients = pooling(self.task, old), [j.patient for j in self.judged]
        return noninferior(old, new, name=self.task.aim, margin=self.margin, patients=patients, pool_many=many)
