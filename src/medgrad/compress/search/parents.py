"""The parent networks of a pruning search, one a fold, and the comparison of smaller networks with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from ...engine.evaluation.compare import pooling
from ...engine.evaluation.evaluate import Judged
from ...engine.progress import Progress
from ...engine.runs.run import Run
from ...engine.runs.training_data import sides_of
from ...trust.noninferiority import NonInferiority, noninferior
from ..structure.cost import Cost
from .fold import FoldContext, Part, Side


class Costly(Protocol):
    """Something with a cost and an inference time."""

    @property
    def cost(self) -> Cost: ...
    @property
    def milliseconds(self) -> float: ...


Each = TypeVar("Each", bound=Costly)
Which = Literal["chooses", "reported"]
"""The patients that choose among stages and checkpoints, or those whose figures are reported."""


class Together(Generic[Each]):
    """Networks that answer together, one a fold."""

    each: Sequence[Each]

    @property
    def cost(self) -> Cost:
        """The summed cost of all folds."""
        every = [one.cost for one in self.each]
        return Cost(sum(c.flops for c in every), sum(c.parameters for c in every), sum(c.bytes for c in every))

    @property
    def milliseconds(self) -> float:
        """The summed inference time of all folds."""
        return sum(one.milliseconds for one in self.each)


@dataclass(frozen=True)
class Child(Together[Part]):
    """A smaller network of each fold, with its score and its non-inferiority to the parents.

    ``judged`` is known only in the process that evaluated it.
    """

    made: str
    each: tuple[Part, ...]
    score: float
    verdict: NonInferiority
    judged: tuple[Judged, ...] = ()

    @property
    def widths(self) -> dict[str, list[int]]:
        """The narrowed layers and their widths, under the name of each fold."""
        return named([p.widths for p in self.each])

    def with_margin(self, margin: float) -> Child:
        """Give the same result at another margin."""
        return replace(self, verdict=replace(self.verdict, margin=margin, holds=self.verdict.bound < margin))

    def as_dict(self) -> dict[str, Any]:
        """Give the entry of ``pruned.json``."""
        bound = self.verdict.bound if isfinite(self.verdict.bound) else None
        verdict = {**asdict(self.verdict), "bound": bound, "says": str(self.verdict)}
        cost = {**asdict(self.cost), "milliseconds": self.milliseconds}
        steps = sum(p.steps for p in self.each)
        return {"made": self.made, **cost, "score": self.score, "steps": steps, "verdict": verdict}

    def kept(self, home: Path) -> dict[str, Any]:
        """Give plain values for ``search.json``, with paths relative to the search folder."""
        parts = [{**asdict(p), "folder": p.folder.relative_to(home).as_posix()} for p in self.each]
        return {"made": self.made, "each": parts, "score": self.score, "verdict": asdict(self.verdict)}

    @classmethod
    def known(cls, kept: Mapping[str, Any], home: Path) -> Child:
        """Read a candidate from the plain values of ``search.json``."""
        parts = tuple(Part(**{**p, "folder": home / p["folder"], "cost": Cost(**p["cost"])}) for p in kept["each"])
        return cls(kept["made"], parts, kept["score"], NonInferiority(**kept["verdict"]))


def named(widths: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Put the widths of all networks under one another, by the names of their layers.

    >>> named([{"a": [1, 2]}, {"a": [1, 3]}])
    {'fold-0/a': [1, 2], 'fold-1/a': [1, 3]}
    """
    first = [f"{fold(n, len(widths))}/".lstrip("/") for n in range(len(widths))]
    return {f"{first[n]}{name}": list(numbers) for n, each in enumerate(widths) for name, numbers in each.items()}


def fold(number: int, of: int) -> str:
    """Name the subfolder of a fold; empty for a run without folds."""
    return f"fold-{number}" if of > 1 else ""


class Parents(Together[FoldContext]):
    """The parent networks of a run, one a fold, each with its training and validation cases."""

    def __init__(
        self, folder: Path, data: Path | None, margin: float, device: str | None, seed: int, progress: Progress
    ) -> None:
        self.folder, self.margin, self.progress = folder, margin, progress
        runs, self.cohorts = Run(folder).folds or [Run(folder)], sides_of(folder, data)
        self.each = [FoldContext(r, c, device, progress) for r, c in zip(runs, self.cohorts, strict=True)]
        self.task, self.device = self.each[0].task, device
        parted = [ground.part_patients(seed) for ground in self.each]
        if all(self.aim_of([sides[n] for sides in parted]) is not None for n in (0, 1)):
            for ground, (chooses, reported) in zip(self.each, parted, strict=True):
                ground.chooses, ground.reported = chooses, reported

    @property
    def judging_seconds(self) -> float:
        """How long it took to judge all of them."""
        return sum(ground.judging_seconds for ground in self.each)

    @property
    def step_seconds(self) -> float:
        """About how long a step of all of them takes."""
        return sum(ground.step_seconds for ground in self.each)

    def patients(self, which: Which) -> list[str]:
        """List the patients of one role."""
        return sorted({j.patient for ground in self.each for j in side_of(ground, which).judged})

    def places(self, folder: Path) -> list[Path]:
        """List the subfolder of each fold."""
        return [folder / fold(n, len(self.each)) for n in range(len(self.each))]

    def aim_of(self, sides: Sequence[Side]) -> float | None:
        """Give the primary metric over some subsets; None where it is not defined."""
        return self.aim([j for side in sides for j in side.judged])

    def aim(self, judged: Sequence[Judged]) -> float | None:
        """Give the primary metric of some rows; None where it is not defined."""
        return self.task.summarise([j.row for j in judged]).get(self.task.primary_metric) if judged else None

    def score(self, which: Which) -> float:
        """Give the primary metric of the parents."""
        return self.aim_of([side_of(ground, which) for ground in self.each]) or 0.0

    def child(self, made: str, parts: Sequence[Part], which: Which) -> Child:
        """Judge smaller networks and compare them with their parents, on patients that neither was trained on."""
        judged = [g.judge(p.folder, side_of(g, which)) for g, p in zip(self.each, parts, strict=True)]
        return self.beside(made, parts, which, judged)

    def beside(self, made: str, parts: Sequence[Part], which: Which, judged: Sequence[Sequence[Judged]]) -> Child:
        """Test judged rows for non-inferiority to those of the parents, paired by patient."""
        parents = [j for ground in self.each for j in side_of(ground, which).judged]
        children = [j for each in judged for j in each]
        old, new = [j.row for j in parents], [j.row for j in children]
        verdict = noninferior(
            old,
            new,
            name=self.task.primary_metric,
            margin=self.margin,
            patients=[j.patient for j in parents],
            pool_many=pooling(self.task, old),
        )
        return Child(made, tuple(parts), self.aim(children) or 0.0, verdict, tuple(children))


def side_of(ground: FoldContext, which: Which) -> Side:
    """Give the subset of patients of one role."""
    return ground.chooses if which == "chooses" else ground.reported
