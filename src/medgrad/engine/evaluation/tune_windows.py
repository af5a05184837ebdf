"""Tune the sliding window on validation cases: the least overlap and the coarsest first pass without loss."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...inference.coarse_to_fine import LEAST, count_of
from ..loading.cache import Prepared
from ..progress import Progress
from ..runs.recipe import Answering
from ..runs.run import Trained
from .evaluate import Judged, judge_case
from .infer import predictor_of

OVERLAPS = (0.0, 0.25, 0.5)
COARSE = 2
"""A first pass over every second element asks for an eighth of the windows in 3D."""
FEWEST = 4
"""Fewer cases say too little: all stays as it was."""
SHARE, SECONDS = 0.02, 20.0
"""The share of the minutes of a run that this may take, and the seconds where steps were asked for."""
WITHIN = 0.001
"""A cheaper way serves if the aim is no more than this below that of the dearest."""


@dataclass(frozen=True)
class Chosen:
    """The chosen overlap and first-pass stride, with the primary metric measured for each candidate."""

    overlap: float
    aims: Mapping[float, float]
    cases: int
    seconds: float
    coarse: int = 1
    aims_coarse: Mapping[int, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the tuned settings as plain values."""
        aims = {str(overlap): aim for overlap, aim in self.aims.items()}
        coarse = {str(every): aim for every, aim in self.aims_coarse.items()}
        found = {"overlap": self.overlap, "aims": aims, "cases": self.cases, "seconds": round(self.seconds, 1)}
        return {**found, **({"coarse": self.coarse, "aims_coarse": coarse} if coarse else {})}


def with_overlap(trained: Trained, cases: Sequence[Prepared], progress: Progress) -> tuple[Trained, Chosen | None]:
    """Tune the window settings of a run on validation cases; return the run and the measurements, if there are any.

    Tuning takes only a share of the training time.
    """
    recipe = trained.recipe
    seconds = SHARE * 60 * recipe.training.minutes or SECONDS
    chosen = choose_overlap(trained, cases, seconds) if recipe.answering.measured else None
    if chosen is None:
        return trained, None
    first = f" A first look at every {chosen.coarse}th element finds where." if chosen.coarse > 1 else ""
    progress.say(f"Windows overlap by {chosen.overlap:.0%}, as measured on {chosen.cases} validation cases.{first}")
    answering = replace(recipe.answering, overlap=chosen.overlap, coarse=chosen.coarse, measured=False)
    return replace(trained, recipe=replace(recipe, answering=answering)), chosen


def choose_overlap(trained: Trained, cases: Sequence[Prepared], seconds: float) -> Chosen | None:
    """Judge validation cases at several overlaps while time lasts, and return the smallest overlap that is not worse.

    Every case counts at all overlaps or at none. Returns None where there is nothing to compare: no
    segmentation, too few cases of several windows, or too little time. The remaining time is used to choose the
    first-pass stride likewise.
    """
    if not trained.task.answer_kind.has_background:
        return None
    how, began = trained.recipe.answering, time.perf_counter()
    patch, whole = trained.recipe.training.patch, [c for c in cases if c.case.truth is not None]
    several = [c for c in whole if count_of(c.case.grid.shape, patch, OVERLAPS[-1]) > 1]
    ways = [*(replace(how, overlap=o) for o in OVERLAPS if o < how.overlap), how]
    aims, n = aims_of(trained, several, ways, began + seconds)
    if not aims:
        return None
    chosen = next(way for way in ways if aims[way] >= aims[how] - WITHIN)
    large = [c for c in whole if count_of(c.case.grid.shape, patch, chosen.overlap) >= LEAST]
    coarse: dict[Answering, float] = {}
    if how.sparing and how.coarse < COARSE and len(large) >= FEWEST:
        coarse, _ = aims_of(trained, large, [replace(chosen, coarse=COARSE), chosen], began + seconds)
    first = next((way for way, aim in coarse.items() if aim >= coarse[chosen] - WITHIN), chosen)
    return Chosen(
        chosen.overlap,
        {way.overlap: aim for way, aim in aims.items()},
        n,
        time.perf_counter() - began,
        first.coarse,
        {way.coarse: aim for way, aim in coarse.items()},
    )


def aims_of(
    trained: Trained, cases: Sequence[Prepared], ways: Sequence[Answering], deadline: float
) -> tuple[dict[Answering, float], int]:
    """Judge cases with each candidate setting while time lasts; return its primary metric, and how many cases."""
    judged: dict[Answering, list[Judged]] = {way: [] for way in ways}
    for case in cases:
        rows = judge_in_all(trained, case, ways, deadline)
        if rows is None:
            break
        for way, row in rows.items():
            judged[way].append(row)
    n = len(judged[ways[0]])
    aims = {
        way: trained.task.summarise([j.row for j in rows]).get(trained.task.primary_metric)
        for way, rows in judged.items()
        if n
    }
    known = {way: float(aim) for way, aim in aims.items() if aim is not None}
    return (known, n) if n >= FEWEST and len(known) == len(ways) else ({}, n)


def judge_in_all(
    trained: Trained, ready: Prepared, ways: Sequence[Answering], deadline: float
) -> dict[Answering, Judged] | None:
    """Judge one case with each candidate setting, or return None if the others would exceed the deadline."""
    patch, found, per_window = trained.recipe.training.patch, {}, 0.0
    for i, how in enumerate(ways):
        began = time.perf_counter()
        if began + per_window * sum(count_of(ready.case.grid.shape, patch, w.overlap) for w in ways[i:]) > deadline:
            return None
        said = predictor_of(trained, how=how).predict(ready.case)
        found[how] = judge_case(trained.task, ready.case, said, quick=True)
        per_window = (time.perf_counter() - began) / count_of(ready.case.grid.shape, patch, how.overlap)
    return found
