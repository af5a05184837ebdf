"""Predict every case of a set, restore each answer to the original grid, and judge it against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ...tasks import Task
from ..compute.device import Compute
from ..loading.cache import Failure, Prepared
from ..progress import Progress, Silent
from ..runs.run import Trained
from .evaluate import Judged, judge_case
from .example_pictures import keep_pictures
from .infer import predictor, predictor_of


def judge_all(
    trained: Trained,
    cases: Sequence[Prepared],
    failures: Sequence[Failure] = (),
    *,
    progress: Progress | None = None,
    pictures: Path | None = None,
) -> list[Judged]:
    """Judge every case on its own grid. A case that could not be read counts as the worst answer."""
    progress = progress or Silent()
    judged, said = [], []
    with progress.bar("Judging") as bar:
        made = predictor_of(trained)
        answers = made.predict_many(ready.case for ready in cases)
        for number, (ready, found) in enumerate(zip(cases, answers, strict=True)):
            answer = made.restore(found, ready.memos)
            judged.append(judge_case(trained.task, ready.original, answer))
            said.append(answer)
            bar(number + 1, len(cases), "")
    if pictures is not None:
        keep_pictures(pictures, trained.task, judged, [c.original for c in cases], said)
    return judged + [failed_row(trained, failure) for failure in failures]


def validate_cases(
    model: nn.Module, task: Task, cases: Sequence[Prepared], *, patch: Sequence[int], place: Compute
) -> list[Judged]:
    """Judge a network on prepared cases by the metrics that are quick to compute."""
    answers = predictor([model], task, patch=patch, place=place).predict_many(ready.case for ready in cases)
    return [judge_case(task, ready.case, said, quick=True) for ready, said in zip(cases, answers, strict=True)]


def failed_row(trained: Trained, failure: Failure) -> Judged:
    """Return the row of a case that could not be read: the worst value of every metric."""
    example = trained.task.example(0)
    row = trained.task.failed_row(failure.truth if failure.truth is not None else example.truth)
    return Judged(failure.id, failure.patient, row, failure.why)
