"""Answer about every case of a set, bring each answer back, and judge it where the expert drew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..prepare._step import restore
from .answer import answer_prepared
from .cache import Failure, Prepared
from .evaluate import Judged, judge_case
from .pictures import keep_pictures
from .run import Trained
from .teller import Silent, Teller


def judge_all(
    trained: Trained,
    cases: Sequence[Prepared],
    failures: Sequence[Failure] = (),
    *,
    teller: Teller | None = None,
    pictures: Path | None = None,
) -> list[Judged]:
    """Judge every case on its own grid. A case that could not be read counts as the worst answer."""
    teller = teller or Silent()
    judged, said = [], []
    with teller.bar("Judging") as bar:
        for number, ready in enumerate(cases):
            answer = answer_prepared(
                trained.models,
                trained.task,
                ready.case,
                patch=trained.recipe.training.patch,
                place=trained.place,
                how=trained.recipe.answering,
            )
            answer = restore(answer, trained.steps, ready.grids)
            judged.append(judge_case(trained.task, ready.original, answer))
            said.append(answer)
            bar(number + 1, len(cases), "")
    if pictures is not None:
        keep_pictures(pictures, trained.task, judged, [c.original for c in cases], said)
    return judged + [lost(trained, failure) for failure in failures]


def lost(trained: Trained, failure: Failure) -> Judged:
    """Give the row of a case that could not be read: the worst of everything that a readable case is judged by."""
    example = trained.task.example(0)
    row = trained.task.failed(failure.truth if failure.truth is not None else example.truth)
    return Judged(failure.id, failure.patient, row, failure.why)
