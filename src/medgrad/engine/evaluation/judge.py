"""Predict every case of a set, restore each answer to the original grid, and judge it against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from ...tasks import Task
from ..compute.device import Compute
from ..loading.cache import Failure, PreparedCase
from ..progress import Progress, SilentProgress
from ..runs.run import TrainedRun
from .downstream import downstream_row
from .evaluate import JudgedCase, judge_case
from .example_pictures import write_example_pictures
from .infer import predictor, predictor_of
from .zscore import beside_zscore


def judge_all(
    trained: TrainedRun,
    cases: Sequence[PreparedCase],
    failures: Sequence[Failure] = (),
    *,
    progress: Progress | None = None,
    pictures_folder: Path | None = None,
    downstream: TrainedRun | None = None,
) -> list[JudgedCase]:
    """Judge every case on its own grid. A case that could not be read counts as the worst answer.

    ``downstream`` is a run that segments, by which answers that are images are judged too.
    """
    progress = progress or SilentProgress()
    judged, answers_on_original = [], []
    with progress.bar("Judging") as bar:
        made = predictor_of(trained)
        answers = made.predict_many(ready.case for ready in cases)
        for number, (ready, found) in enumerate(zip(cases, answers, strict=True)):
            answer = made.restore(found, ready.memos)
            one = judge_case(trained.task, ready.original, answer)
            if downstream is not None:
                one = replace(one, row={**one.row, **downstream_row(downstream, ready.original, answer)})
            judged.append(beside_zscore(trained, made, ready, one))
            answers_on_original.append(answer)
            bar(number + 1, len(cases), "")
    if pictures_folder is not None:
        write_example_pictures(pictures_folder, trained.task, judged, [c.original for c in cases], answers_on_original)
    failed = [failed_row(trained, failure) for failure in failures]
    if downstream is not None:
        failed = [replace(one, row={**one.row, "downstream_dice": 0.0}) for one in failed]
    return judged + failed


def validate_cases(
    network: nn.Module, task: Task, cases: Sequence[PreparedCase], *, patch: Sequence[int], compute: Compute
) -> list[JudgedCase]:
    """Judge a network on prepared cases by the metrics that are quick to compute."""
    answers = predictor([network], task, patch=patch, place=compute).predict_many(ready.case for ready in cases)
    return [judge_case(task, ready.case, said, quick=True) for ready, said in zip(cases, answers, strict=True)]


def failed_row(trained: TrainedRun, failure: Failure) -> JudgedCase:
    """Return the row of a case that could not be read: the worst value of every metric."""
    example = trained.task.example(0)
    row = trained.task.failed_row(failure.truth if failure.truth is not None else example.truth)
    return JudgedCase(failure.id, failure.patient, row, failure.reason)
