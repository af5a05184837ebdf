"""What a step of preparation offers; each file of this folder ends in ``THIS = <a frozen dataclass of this kind>``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from .. import registry
from ..data import Case, Grid, Image, LabelMap


class Step(Protocol):
    """Settings that can prepare a case and bring an answer back.

    ``apply`` gives a new case. ``undo`` takes an answer on the grid after the step and the grid before it, and
    gives the answer on that.
    """

    def apply(self, case: Case) -> Case: ...

    def undo(self, answer: Any, before: Grid) -> Any: ...


def build_steps(chain: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Make steps from settings: each is ``{"name": ..., **settings}``."""
    for link in chain:
        registry.check_settings("prepare", link["name"], {k: v for k, v in link.items() if k != "name"})
    return [registry.find("prepare", c["name"])(**{k: v for k, v in c.items() if k != "name"}) for c in chain]


def prepare(case: Case, steps: Sequence[Step]) -> tuple[Case, list[Grid]]:
    """Apply every step; also give the grid before each, which is all that it takes to come back."""
    grids = []
    for step in steps:
        grids.append(case.grid)
        case = step.apply(case)
    return case, grids


def restore(answer: Any, steps: Sequence[Step], grids: Sequence[Grid]) -> Any:
    """Bring an answer back through every step to the grid that the case came with."""
    for step, grid in zip(reversed(steps), reversed(grids), strict=True):
        answer = step.undo(answer, grid)
    return answer


def changed(case: Case, image: Callable[[Image], Image], labels: Callable[[LabelMap], LabelMap] | None = None) -> Case:
    """Give the case with each image, and each label map where ``labels`` is given, changed."""
    truth, region = case.truth, case.region
    if labels is not None:
        truth = labels(truth) if isinstance(truth, LabelMap) else truth
        region = labels(region) if region is not None else None
    return replace(case, images={k: image(v) for k, v in case.images.items()}, truth=truth, region=region)
