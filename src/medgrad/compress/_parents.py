"""The parents of networks that are pruned, one or one a fold, and how their children are held against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..engine.compare import pooling
from ..engine.evaluate import Judged
from ..engine.home import sides_of
from ..engine.run import Run
from ..engine.teller import Teller
from ..trust.noninferiority import NonInferiority, noninferior
from ._ground import Ground, Part
from .cost import Cost


class Costly(Protocol):
    """What has a price."""

    @property
    def cost(self) -> Cost: ...
    @property
    def milliseconds(self) -> float: ...


Each = TypeVar("Each", bound=Costly)


class Together(Generic[Each]):
    """Networks that answer together, one or one a fold."""

    each: Sequence[Each]

    @property
    def cost(self) -> Cost:
        """What all of them cost."""
        every = [one.cost for one in self.each]
        return Cost(sum(c.flops for c in every), sum(c.parameters for c in every), sum(c.bytes for c in every))

    @property
    def milliseconds(self) -> float:
        """How long their answers take, one after another."""
        return sum(one.milliseconds for one in self.each)


@dataclass(frozen=True)
class Child(Together[Part]):
    """What came of all parents on one rung: a network of each, and how they do beside their parents."""

    made: str
    each: tuple[Part, ...]
    score: float
    verdict: NonInferiority

    @property
    def widths(self) -> dict[str, list[int]]:
        """The layers that lost channels; with folds under the name of each fold."""
        return named([p.widths for p in self.each])

    def as_dict(self) -> dict[str, Any]:
        """What ``pruned.json`` holds of it."""
        verdict = {**asdict(self.verdict), "says": str(self.verdict)}
        cost = {**asdict(self.cost), "milliseconds": self.milliseconds}
        steps = sum(p.steps for p in self.each)
        return {"made": self.made, **cost, "score": self.score, "steps": steps, "verdict": verdict}


def named(widths: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Put the widths of all networks under one another, by the names of their layers.

    >>> named([{"a": [1, 2]}, {"a": [1, 3]}])
    {'fold-0/a': [1, 2], 'fold-1/a': [1, 3]}
    """
    first = [f"{fold(n, len(widths))}/".lstrip("/") for n in range(len(widths))]
    return {f"{first[n]}{name}": list(numbers) for n, each in enumerate(widths) for name, numbers in each.items()}


def fold(number: int, of: int) -> str:
    """Name the folder of a fold within a run; a run without folds is its own."""
    return f"fold-{number}" if of > 1 else ""


class Parents(Together[Ground]):
    """The networks of a run, each with the cases that it learned from and those that it did not."""

    def __init__(self, folder: Path, data: Path | None, margin: float, device: str | None, teller: Teller) -> None:
        self.folder, self.margin, self.teller = folder, margin, teller
        runs, self.cohorts = Run(folder).folds or [Run(folder)], sides_of(folder, data)
        self.each = [Ground(r, c, device, teller) for r, c in zip(runs, self.cohorts, strict=True)]
        self.task, self.device = self.each[0].task, device
        self.judged = [j for ground in self.each for j in ground.judged]
        self.score = self.aim(self.judged)

    def places(self, folder: Path) -> list[Path]:
        """Say where in a folder what comes of each of them lies."""
        return [folder / fold(n, len(self.each)) for n in range(len(self.each))]

    def aim(self, judged: Sequence[Judged]) -> float:
        """Give the one figure by which the task is judged."""
        return float(self.task.summarise([j.row for j in judged]).get(self.task.aim) or 0.0)

    def child(self, made: str, parts: Sequence[Part]) -> Child:
        """Hold what came of them against them, paired by patient, each about cases that it did not learn from."""
        judged = [j for part in parts for j in part.judged]
        old, new = [j.row for j in self.judged], [j.row for j in judged]
        verdict = noninferior(
            old,
            new,
            name=self.task.aim,
            margin=self.margin,
            patients=[j.patient for j in self.judged],
            pool_many=pooling(self.task, old),
        )
        return Child(made, tuple(parts), self.aim(judged), verdict)
