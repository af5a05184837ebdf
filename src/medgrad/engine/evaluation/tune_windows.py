"""Tune the sliding window on validation cases: the least overlap and the coarsest first pass without loss."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...inference.coarse_to_fine import MIN_WINDOWS, count_windows
from ..loading.cache import PreparedCase
from ..progress import Progress
from ..runs.recipe import Inference
from ..runs.run import TrainedRun
from .evaluate import JudgedCase, judge_case
from .infer import predictor_of

OVERLAPS = (0.0, 0.25, 0.5)
FIRST_PASS_STRIDE = 2
"""A first pass over every second element asks for an eighth of the windows in 3D."""
MIN_CASES = 4
"""Fewer cases say too little: all stays as it was."""
SHARE, SECONDS = 0.02, 20.0
"""The share of the minutes of a run that this may take, and the seconds where steps were asked for."""
MAX_METRIC_LOSS = 0.001
"""A cheaper way serves if the aim is no more than this below that of the dearest."""


@dataclass(frozen=True)
class TunedWindows:
    """The chosen overlap and first-pass stride, with the primary metric measured for each candidate."""

    overlap: float
    metric_by_overlap: Mapping[float, float]
    n_cases: int
    seconds: float
    first_pass_stride: int = 1
    metric_by_stride: Mapping[int, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the tuned settings as plain values."""
        aims = {str(overlap): aim for overlap, aim in self.metric_by_overlap.items()}
        coarse = {str(every): aim for every, aim in self.metric_by_stride.items()}
        found = {"overlap": self.overlap, "aims": aims, "cases": self.n_cases, "seconds": round(self.seconds, 1)}
        return {
            **found,
            **({"first_pass_stride": self.first_pass_stride, "metric_by_stride": coarse} if coarse else {}),
        }


def tune_windows(
    trained: TrainedRun, validation_cases: Sequence[PreparedCase], progress: Progress
) -> tuple[TrainedRun, TunedWindows | None]:
    """Tune the window settings of a run on validation cases; return the run and the measurements, if there are any.

    Tuning takes only a share of the training time.
    """
    recipe = trained.recipe
    seconds = SHARE * 60 * recipe.training.minutes or SECONDS
    chosen = choose_windows(trained, validation_cases, seconds) if recipe.inference.tune else None
    if chosen is None:
        return trained, None
    first = (
        f" A first look at every {chosen.first_pass_stride}th element finds where."
        if chosen.first_pass_stride > 1
        else ""
    )
    progress.say(f"Windows overlap by {chosen.overlap:.0%}, as measured on {chosen.n_cases} validation cases.{first}")
    answering = replace(
        recipe.inference, overlap=chosen.overlap, first_pass_stride=chosen.first_pass_stride, tune=False
    )
    return replace(trained, recipe=replace(recipe, inference=answering)), chosen


def choose_windows(trained: TrainedRun, cases: Sequence[PreparedCase], max_seconds: float) -> TunedWindows | None:
    """Judge validation cases at several overlaps while time lasts, and return the smallest overlap that is not worse.

    Every case counts at all overlaps or at none. Returns None where there is nothing to compare: no
    segmentation, too few cases of several windows, or too little time. The remaining time is used to choose the
    first-pass stride likewise.
    """
    if not trained.task.answer_kind.has_background:
        return None
    current, began = trained.recipe.inference, time.perf_counter()
    patch, judged_cases = trained.recipe.training.patch, [c for c in cases if c.case.truth is not None]
    multi_window_cases = [c for c in judged_cases if count_windows(c.case.grid.shape, patch, OVERLAPS[-1]) > 1]
    candidates = [*(replace(current, overlap=o) for o in OVERLAPS if o < current.overlap), current]
    metric_values, n = measure_settings(trained, multi_window_cases, candidates, began + max_seconds)
    if not metric_values:
        return None
    chosen = next(way for way in candidates if metric_values[way] >= metric_values[current] - MAX_METRIC_LOSS)
    large_cases = [c for c in judged_cases if count_windows(c.case.grid.shape, patch, chosen.overlap) >= MIN_WINDOWS]
    coarse_metric_values: dict[Inference, float] = {}
    if current.coarse_to_fine and current.first_pass_stride < FIRST_PASS_STRIDE and len(large_cases) >= MIN_CASES:
        coarse_metric_values, _ = measure_settings(
            trained, large_cases, [replace(chosen, first_pass_stride=FIRST_PASS_STRIDE), chosen], began + max_seconds
        )
    best_first_pass = next(
        (way for way, aim in coarse_metric_values.items() if aim >= coarse_metric_values[chosen] - MAX_METRIC_LOSS),
        chosen,
    )
    return TunedWindows(
        chosen.overlap,
        {way.overlap: aim for way, aim in metric_values.items()},
        n,
        time.perf_counter() - began,
        best_first_pass.first_pass_stride,
        {way.first_pass_stride: aim for way, aim in coarse_metric_values.items()},
    )


def measure_settings(
    trained: TrainedRun, cases: Sequence[PreparedCase], candidates: Sequence[Inference], deadline: float
) -> tuple[dict[Inference, float], int]:
    """Judge cases with each candidate setting while time lasts; return its primary metric, and how many cases."""
    judged: dict[Inference, list[JudgedCase]] = {way: [] for way in candidates}
    for case in cases:
        rows = judge_with_each(trained, case, candidates, deadline)
        if rows is None:
            break
        for way, row in rows.items():
            judged[way].append(row)
    n = len(judged[candidates[0]])
    metric_values = {
        way: trained.task.summarise([j.row for j in rows]).get(trained.task.primary_metric)
        for way, rows in judged.items()
        if n
    }
    known = {way: float(aim) for way, aim in metric_values.items() if aim is not None}
    return (known, n) if n >= MIN_CASES and len(known) == len(candidates) else ({}, n)


def judge_with_each(
    trained: TrainedRun, prepared_case: PreparedCase, candidates: Sequence[Inference], deadline: float
) -> dict[Inference, JudgedCase] | None:
    """Judge one case with each candidate setting, or return None if the others would exceed the deadline."""
    patch, judged_by_setting, per_window = trained.recipe.training.patch, {}, 0.0
    for i, how in enumerate(candidates):
        began = time.perf_counter()
        if (
            began
            + per_window * sum(count_windows(prepared_case.case.grid.shape, patch, w.overlap) for w in candidates[i:])
            > deadline
        ):
            return None
        answer = predictor_of(trained, how=how).predict(prepared_case.case)
        judged_by_setting[how] = judge_case(trained.task, prepared_case.case, answer, quick=True)
        per_window = (time.perf_counter() - began) / count_windows(prepared_case.case.grid.shape, patch, how.overlap)
    return judged_by_setting
