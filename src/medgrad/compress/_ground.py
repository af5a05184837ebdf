"""A network that is pruned, its cases, and what is seen of each smaller one that comes from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from ..data import Cohort
from ..engine.cache import load_side
from ..engine.calibrate import drawn_more, uncalibrated
from ..engine.device import Mixed, Place, in_order
from ..engine.evaluate import Judged
from ..engine.judge import judge_all
from ..engine.recipe import Recipe
from ..engine.run import Run, build_model, network_of, open_run
from ..engine.teller import Teller
from ..errors import SettingError
from ._group import Graph
from .cost import Cost, cost_of, in_turns, milliseconds
from .graph import graph_of

ROUNDS = 15
"""An answer is timed so many times."""


@dataclass(frozen=True)
class Part:
    """A smaller network: where it lies, what it costs, and how it answered about the validation cases."""

    folder: Path
    cost: Cost
    milliseconds: float
    judged: Sequence[Judged]
    steps: int
    widths: Mapping[str, Sequence[int]]


class Ground:
    """The network of one run or of one fold, and its cases, read once: what smaller ones begin from."""

    def __init__(self, run: Run, cohort: Cohort, device: str | None, teller: Teller) -> None:
        self.folder, self.cohort, self.device, self.teller = run.folder, cohort, device, teller
        self.trained = open_run(self.folder, device=device)
        self.place: Place = self.trained.place
        self.recipe = run.recipe()
        cache = self.folder / "pruning"
        self.train, _ = load_side(cohort, "train", self.trained.steps, cache, teller)
        self.valid, self.lost = load_side(cohort, "val", self.trained.steps, cache, teller)
        if not self.train or not self.valid:
            raise SettingError(
                f"{str(self.folder)!r} has no cases to train on, or none to judge by. Pruning needs both."
            )
        self.task = drawn_more(
            uncalibrated(self.recipe.build_task()), [p.case.truth for p in self.train], self.recipe.training.balance
        )
        self.network, self.planes = network_of(run)
        self.example = torch.zeros(1, self.planes, *self.recipe.training.patch)
        self.cost = cost_of(self.network, self.example)
        self.answering = self.quick(self.network)
        self.milliseconds = milliseconds(self.answering, self.shown, rounds=ROUNDS)
        self.judged = judge_all(self.trained, self.valid, self.lost, teller=teller)

    def built(self, recipe: Recipe) -> nn.Module:
        """Make the network of a recipe, its weights by chance."""
        return build_model(recipe, self.task, self.planes)

    @property
    def shown(self) -> Tensor:
        """The example, where and as networks are asked about it."""
        return in_order(self.example.to(self.place.device))

    def graph(self, network: nn.Module) -> Graph:
        """Give the graph of a network; that of the whole one, which is asked for at every turn, is traced once."""
        return self.whole_graph if network is self.network else graph_of(network, self.example)

    @cached_property
    def whole_graph(self) -> Graph:
        """The graph of the whole network."""
        return graph_of(self.network, self.example)

    def quick(self, network: nn.Module) -> nn.Module:
        """Copy a network, and make it fast as for answering."""
        return Mixed(self.place.model(deepcopy(network)), self.place).eval()

    def timed(self, network: nn.Module) -> float:
        """Time one answer of a network: what the whole one takes, by the median ratio to it when asked in turns."""
        rounds = in_turns([self.answering, self.quick(network)], self.shown, rounds=ROUNDS)
        return self.milliseconds * median(one / whole for whole, one in rounds)

    def part(self, run: Run) -> tuple[Part, nn.Module]:
        """Open what has learned, and tell what it costs and how it does."""
        judged = judge_all(open_run(run.folder, device=self.device), self.valid, self.lost, teller=self.teller)
        recipe = run.recipe()
        network, _ = network_of(run)
        widths = {k: list(v) for k, v in recipe.widths.items()}
        cost, taken = cost_of(network, self.example), self.timed(network)
        return Part(run.folder, cost, taken, judged, recipe.training.steps, widths), network
