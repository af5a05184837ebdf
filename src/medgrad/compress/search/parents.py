"""The parent networks of a pruning search, one a fold, and the comparison of smaller networks with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from ...engine.evaluation.compare import resample_summariser
from ...engine.evaluation.evaluate import JudgedCase
from ...engine.progress import Progress
from ...engine.runs.run import Run
from ...engine.runs.training_data import load_fold_cohorts
from ...trust.noninferiority import NonInferiority, check_noninferiority
from ..structure.cost import Cost
from .fold import FoldCandidate, FoldContext, ValidationSubset


class HasCost(Protocol):
    """Something with a cost and an inference time."""

    @property
    def cost(self) -> Cost: ...
    @property
    def milliseconds(self) -> float: ...


Member = TypeVar("Member", bound=HasCost)
PatientRole = Literal["chooses", "reported"]
"""The patients that choose among stages and checkpoints, or those whose figures are reported."""


class FoldGroup(Generic[Member]):
    """Networks that answer together, one a fold."""

    folds: Sequence[Member]

    @property
    def cost(self) -> Cost:
        """The summed cost of all folds."""
        every = [one.cost for one in self.folds]
        return Cost(sum(c.flops for c in every), sum(c.parameters for c in every), sum(c.bytes for c in every))

    @property
    def milliseconds(self) -> float:
        """The summed inference time of all folds."""
        return sum(one.milliseconds for one in self.folds)


@dataclass(frozen=True)
class Candidate(FoldGroup[FoldCandidate]):
    """A smaller network of each fold, with its score and its non-inferiority to the parents.

    ``judged`` is known only in the process that evaluated it.
    """

    method: str
    folds: tuple[FoldCandidate, ...]
    score: float
    verdict: NonInferiority
    judged: tuple[JudgedCase, ...] = ()

    @property
    def widths(self) -> dict[str, list[int]]:
        """The narrowed layers and their widths, under the name of each fold."""
        return widths_by_fold([p.widths for p in self.folds])

    def with_margin(self, margin: float) -> Candidate:
        """Give the same result at another margin."""
        return replace(self, verdict=replace(self.verdict, margin=margin, holds=self.verdict.bound < margin))

    def as_dict(self) -> dict[str, Any]:
        """Give the entry of ``pruned.json``."""
        bound = self.verdict.bound if isfinite(self.verdict.bound) else None
        verdict = {**asdict(self.verdict), "bound": bound, "says": str(self.verdict)}
        cost = {**asdict(self.cost), "milliseconds": self.milliseconds}
        steps = sum(p.steps for p in self.folds)
        return {"made": self.method, **cost, "score": self.score, "steps": steps, "verdict": verdict}

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Give plain values for ``search.json``, with paths relative to the search folder."""
        parts = [{**asdict(p), "folder": p.folder.relative_to(folder).as_posix()} for p in self.folds]
        return {"made": self.method, "each": parts, "score": self.score, "verdict": asdict(self.verdict)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], folder: Path) -> Candidate:
        """Read a candidate from the plain values of ``search.json``."""
        parts = tuple(
            FoldCandidate(**{**p, "folder": folder / p["folder"], "cost": Cost(**p["cost"])}) for p in data["each"]
        )
        return cls(data["made"], parts, data["score"], NonInferiority(**data["verdict"]))


def widths_by_fold(widths: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Put the widths of all networks under one another, by the names of their layers.

    >>> widths_by_fold([{"a": [1, 2]}, {"a": [1, 3]}])
    {'fold-0/a': [1, 2], 'fold-1/a': [1, 3]}
    """
    first = [f"{fold_folder_name(n, len(widths))}/".lstrip("/") for n in range(len(widths))]
    return {f"{first[n]}{name}": list(numbers) for n, each in enumerate(widths) for name, numbers in each.items()}


def fold_folder_name(number: int, n_folds: int) -> str:
    """Name the subfolder of a fold; empty for a run without folds."""
    return f"fold-{number}" if n_folds > 1 else ""


class Parents(FoldGroup[FoldContext]):
    """The parent networks of a run, one a fold, each with its training and validation cases."""

    def __init__(
        self, folder: Path, data: Path | None, margin: float, device: str | None, seed: int, progress: Progress
    ) -> None:
        self.folder, self.margin, self.progress = folder, margin, progress
        runs, self.cohorts = Run(folder).fold_runs or [Run(folder)], load_fold_cohorts(folder, data)
        self.folds = [FoldContext(r, c, device, progress) for r, c in zip(runs, self.cohorts, strict=True)]
        self.task, self.device = self.folds[0].task, device
        parted = [ground.split_patients(seed) for ground in self.folds]
        if all(self.primary_metric_on([sides[n] for sides in parted]) is not None for n in (0, 1)):
            for ground, (chooses, reported) in zip(self.folds, parted, strict=True):
                ground.selection_subset, ground.report_subset = chooses, reported

    @property
    def judging_seconds(self) -> float:
        """How long it took to judge all of them."""
        return sum(ground.judging_seconds for ground in self.folds)

    @property
    def step_seconds(self) -> float:
        """About how long a step of all of them takes."""
        return sum(ground.step_seconds for ground in self.folds)

    def patients(self, role: PatientRole) -> list[str]:
        """List the patients of one role."""
        return sorted({j.patient for ground in self.folds for j in subset_of(ground, role).judged})

    def fold_folders(self, folder: Path) -> list[Path]:
        """List the subfolder of each fold."""
        return [folder / fold_folder_name(n, len(self.folds)) for n in range(len(self.folds))]

    def primary_metric_on(self, subsets: Sequence[ValidationSubset]) -> float | None:
        """Give the primary metric over some subsets; None where it is not defined."""
        return self.primary_metric([j for side in subsets for j in side.judged])

    def primary_metric(self, judged: Sequence[JudgedCase]) -> float | None:
        """Give the primary metric of some rows; None where it is not defined."""
        return self.task.summarise([j.row for j in judged]).get(self.task.primary_metric) if judged else None

    def score(self, role: PatientRole) -> float:
        """Give the primary metric of the parents."""
        return self.primary_metric_on([subset_of(ground, role) for ground in self.folds]) or 0.0

    def judge_candidate(self, method: str, candidates: Sequence[FoldCandidate], role: PatientRole) -> Candidate:
        """Judge smaller networks and compare them with their parents, on patients that neither was trained on."""
        judged = [g.judge(p.folder, subset_of(g, role)) for g, p in zip(self.folds, candidates, strict=True)]
        return self.compare_with_parents(method, candidates, role, judged)

    def compare_with_parents(
        self,
        method: str,
        candidates: Sequence[FoldCandidate],
        role: PatientRole,
        judged: Sequence[Sequence[JudgedCase]],
    ) -> Candidate:
        """Test judged rows for non-inferiority to those of the parents, paired by patient."""
        parents = [j for ground in self.folds for j in subset_of(ground, role).judged]
        children = [j for each in judged for j in each]
        old, new = [j.row for j in parents], [j.row for j in children]
        verdict = check_noninferiority(
            old,
            new,
            name=self.task.primary_metric,
            margin=self.margin,
            patients=[j.patient for j in parents],
            pool_many=resample_summariser(self.task, old),
        )
        return Candidate(method, tuple(candidates), self.primary_metric(children) or 0.0, verdict, tuple(children))


def subset_of(context: FoldContext, role: PatientRole) -> ValidationSubset:
    """Give the subset of patients of one role."""
    return context.selection_subset if role == "chooses" else context.report_subset
