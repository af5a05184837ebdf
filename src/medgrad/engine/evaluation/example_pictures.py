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
from .evaluate import Judged

MOST = 512


def keep_pictures(
    folder: Path, task: Task, judged: Sequence[Judged], cases: Sequence[Case], answers: Sequence[Any], *, each: int = 2
) -> None:
    """Write pictures of the worst, the median and the best answers into ``pictures`` of a run."""
    if not judged or cases[0].grid.dims == 1:  # a row of features is no picture
        return
    marks = [mark(task, j, c, a) for j, c, a in zip(judged, cases, answers, strict=True)]
    order = [int(i) for i in np.argsort(marks, kind="stable")]
    middle = max(0, len(order) // 2 - each // 2)
    groups = {"worst": order[:each], "median": order[middle : middle + each], "best": order[::-1][:each]}
    shown: set[int] = set()
    for name, numbers in groups.items():
        for rank, number in enumerate(n for n in numbers if n not in shown):
            shown.add(number)
            case, said = cases[number], answers[number]
            title = f"{name.capitalize()}: {case.id}, {caption(task, marks[number], case, said)}"
            write_picture(folder / "pictures" / f"{name}-{rank}.npz", title, case, said)


def mark(task: Task, judged: Judged, case: Case, said: Any) -> float:
    """Give the quality of an answer as one number: its primary metric, or the probability of the true classes."""
    known = kind_of(said).quality(said, case.truth)
    if known is not None:
        return known
    value = judged.row.get(task.primary_metric)
    if value is None:
        values = [v for k, v in judged.row.items() if k.startswith(task.primary_metric.split("/")[0]) and v is not None]
        value = float(np.mean(values)) if values else 0.0
    return float(value)


def caption(task: Task, value: float, case: Case, said: Any) -> str:
    """Return the caption of a picture: answer and truth of a classification, else the primary metric."""
    kind = kind_of(said)
    words = kind.caption(said, case.truth)
    if kind.quality(said, case.truth) is not None:
        return words
    return f"{task.primary_metric} {value:.3f}" + (f", {words}" if words else "")


def write_picture(path: Path, title: str, case: Case, said: Any) -> None:
    """Write one slice of an image, with the labels or boxes of truth and answer where there are any."""
    image = next(iter(case.images.values()))
    plane, axes = best_plane(image, case.truth)
    arrays: dict[str, Any] = {"image": eight_bit(image, plane), "title": np.array(title)}
    arrays["spacing"] = np.array([image.grid.spacing[a] for a in axes])
    for whose, value in (("truth", case.truth), ("answer", said)):
        kind = known_kind(value)
        if kind is not None and type(value) is type(case.truth):
            arrays |= {f"{whose}_{what}": array for what, array in kind.drawn(value, image, plane).items()}
    names = getattr(case.truth, "names", ())
    if isinstance(names, Mapping):
        arrays["labels"] = np.array([names[k] for k in sorted(names)])
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    write_bytes(path, out.getvalue())
