"""Example pictures for the report: the worst, the median and the best answers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...answers import best_plane, kind_of, known_kind
from ...data import Case
from ...data.atomic_files import write_bytes
from ...data.display import eight_bit
from ...tasks import Task
from .evaluate import JudgedCase

MAX_PICTURE_SIZE = 512


def write_example_pictures(
    folder: Path,
    task: Task,
    judged_cases: Sequence[JudgedCase],
    cases: Sequence[Case],
    answers: Sequence[Any],
    *,
    n_each: int = 2,
) -> None:
    """Write pictures of the worst, the median and the best answers into ``pictures`` of a run."""
    if not judged_cases or cases[0].grid.dims == 1:  # a row of features is no picture
        return
    qualities = [answer_quality(task, j, c, a) for j, c, a in zip(judged_cases, cases, answers, strict=True)]
    order = [int(i) for i in np.argsort(qualities, kind="stable")]
    middle = max(0, len(order) // 2 - n_each // 2)
    groups = {"worst": order[:n_each], "median": order[middle : middle + n_each], "best": order[::-1][:n_each]}
    shown: set[int] = set()
    for name, numbers in groups.items():
        for rank, number in enumerate(n for n in numbers if n not in shown):
            shown.add(number)
            case, answer = cases[number], answers[number]
            title = f"{name.capitalize()}: {case.id}, {picture_caption(task, qualities[number], case, answer)}"
            write_picture(folder / "pictures" / f"{name}-{rank}.npz", title, case, answer)


def answer_quality(task: Task, judged_case: JudgedCase, case: Case, answer: Any) -> float:
    """Give the quality of an answer as one number: its primary metric, or the probability of the true classes."""
    known = kind_of(answer).quality(answer, case.truth)
    if known is not None:
        return known
    value = judged_case.row.get(task.primary_metric)
    if value is None:
        values = [
            v for k, v in judged_case.row.items() if k.startswith(task.primary_metric.split("/")[0]) and v is not None
        ]
        value = float(np.mean(values)) if values else 0.0
    return float(value)


def picture_caption(task: Task, quality: float, case: Case, answer: Any) -> str:
    """Return the caption of a picture: answer and truth of a classification, else the primary metric."""
    kind = kind_of(answer)
    words = kind.caption(answer, case.truth)
    if kind.quality(answer, case.truth) is not None:
        return words
    return f"{task.primary_metric} {quality:.3f}" + (f", {words}" if words else "")


def write_picture(path: Path, title: str, case: Case, answer: Any) -> None:
    """Write one slice of an image, with the labels or boxes of truth and answer where there are any."""
    image = next(iter(case.images.values()))
    plane, axes = best_plane(image, case.truth)
    arrays: dict[str, Any] = {"image": eight_bit(image.array, image.grid, plane), "title": np.array(title)}
    arrays["spacing"] = np.array([image.grid.spacing[a] for a in axes])
    for whose, value in (("truth", case.truth), ("answer", answer)):
        kind = known_kind(value)
        if kind is not None and type(value) is type(case.truth):
            arrays |= {f"{whose}_{what}": array for what, array in kind.drawn(value, image, plane).items()}
    names = getattr(case.truth, "names", ())
    if isinstance(names, Mapping):
        arrays["labels"] = np.array([names[k] for k in sorted(names)])
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    write_bytes(path, out.getvalue())
