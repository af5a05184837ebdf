"""How far neighbouring windows should overlap: as little as costs nothing that can be measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..runtime.sparing import count_of
from .answer import answer_prepared
from .cache import Prepared
from .evaluate import Judged, judge_case
from .run import Trained
from .teller import Teller

OVERLAPS = (0.0, 0.25, 0.5)
FEWEST = 4
"""Fewer cases say too little: the overlap stays as it was."""
SHARE, SECONDS = 0.02, 20.0
"""The share of the minutes of a run that this may take, and the seconds where steps were asked for."""
WITHIN = 0.001
"""An overlap serves if the aim is no more than this below that of the largest."""


@dataclass(frozen=True)
class Chosen:
    """The overlap to answer with, and what was measured: the aim at each overlap, and on how many cases."""

    overlap: float
    aims: Mapping[float, float]
    cases: int
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """What is noted of it."""
        aims = {str(overlap): aim for overlap, aim in self.aims.items()}
        return {"overlap": self.overlap, "aims": aims, "cases": self.cases, "seconds": round(self.seconds, 1)}


def with_overlap(trained: Trained, cases: Sequence[Prepared], teller: Teller) -> tuple[Trained, Chosen | None]:
    """Give a run that answers with the overlap that was measured to be enough, and what was measured, if anything was.

    It takes no more than a share of the minutes that the run learned for.
    """
    recipe = trained.recipe
    seconds = SHARE * 60 * recipe.training.minutes or SECONDS
    chosen = choose_overlap(trained, cases, seconds) if recipe.answering.measured else None
    if chosen is None:
        return trained, None
    teller.say(f"Windows overlap by {chosen.overlap:.0%}, as measured on {chosen.cases} validation cases.")
    answering = replace(recipe.answering, overlap=chosen.overlap, measured=False)
    return replace(trained, recipe=replace(recipe, answering=answering)), chosen


def choose_overlap(trained: Trained, cases: Sequence[Prepared], seconds: float) -> Chosen | None:
    """Judge validation cases at several overlaps while time lasts, and give the smallest that is not worse.

    Every case counts at all overlaps or at none. None if there is nothing to choose by: no segmentation, too few cases
    of several windows, or not the time for them.
    """
    if trained.task.kind != "segmentation":
        return None
    patch, began = trained.recipe.training.patch, time.perf_counter()
    several = [c for c in cases if c.case.truth is not None and count_of(c.case.grid.shape, patch, OVERLAPS[-1]) > 1]
    overlaps = [*(o for o in OVERLAPS if o < trained.recipe.answering.overlap), trained.recipe.answering.overlap]
    judged: dict[float, list[Judged]] = {overlap: [] for overlap in overlaps}
    for case in several:
        rows = judge_at_all(trained, case, overlaps, began + seconds)
        if rows is None:
            break
        for overlap, row in rows.items():
            judged[overlap].append(row)
    aims = {
        o: trained.task.summarise([j.row for j in rows]).get(trained.task.aim) for o, rows in judged.items() if rows
    }
    known = {o: float(aim) for o, aim in aims.items() if aim is not None}
    if len(known) < len(overlaps) or len(judged[overlaps[-1]]) < FEWEST:
        return None
    chosen = min(o for o, aim in known.items() if aim >= known[overlaps[-1]] - WITHIN)
    return Chosen(chosen, known, len(judged[chosen]), time.perf_counter() - began)


def judge_at_all(
    trained: Trained, ready: Prepared, overlaps: Sequence[float], deadline: float
) -> dict[float, Judged] | None:
    """Judge one case at every overlap, or give None if, by the windows of the first, the others would take too long."""
    patch, found, per_window = trained.recipe.training.patch, {}, 0.0
    for overlap in overlaps:
        left = [o for o in overlaps if o >= overlap]
        began = time.perf_counter()
        if began + per_window * sum(count_of(ready.case.grid.shape, patch, o) for o in left) > deadline:
            return None
        how = replace(trained.recipe.answering, overlap=overlap)
        said = answer_prepared(trained.models, trained.task, ready.case, patch=patch, place=trained.place, how=how)
        found[overlap] = judge_case(trained.task, ready.case, said, quick=True)
        per_window = (time.perf_counter() - began) / count_of(ready.case.grid.shape, patch, overlap)
    return found
