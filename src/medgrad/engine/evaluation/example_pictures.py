"""The best, a middling and the worst answer, as flat pictures for the report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data import Boxes, Case, LabelMap, Scores
from ...data.atomic_files import write_bytes
from ...inference.pipeline.overlay import SHOWN, sure
from ...inference.pipeline.overlay import best_plane as best_plane
from ...inference.pipeline.overlay import boxes_in as boxes_in
from ...inference.pipeline.overlay import eight_bit as eight_bit
from ...inference.pipeline.overlay import upright as upright
from ...inference.pipeline.overlay import write_overlay as write_overlay
from ...tasks import Task
from .evaluate import Judged

MOST = 512


def keep_pictures(
    folder: Path, task: Task, judged: Sequence[Judged], cases: Sequence[Case], answers: Sequence[Any], *, each: int = 2
) -> None:
    """Write pictures of the worst, the middling and the best answers into ``pictures`` of a run."""
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
    """One number for how good an answer is."""
    if isinstance(said, Scores) and isinstance(case.truth, Scores):
        right = case.truth.values > 0.5
        return float(np.where(right, said.values, 1 - said.values).mean())
    value = judged.row.get(task.primary_metric)
    if value is None:
        values = [v for k, v in judged.row.items() if k.startswith(task.primary_metric.split("/")[0]) and v is not None]
        value = float(np.mean(values)) if values else 0.0
    return float(value)


def caption(task: Task, value: float, case: Case, said: Any) -> str:
    """Say what was said, and what is true."""
    if isinstance(said, Scores) and isinstance(case.truth, Scores):
        return f"said {said.best} {said.values.max():.2f}, truth {case.truth.best}"
    drawn = f", boxes from {SHOWN:g} on" if isinstance(said, Boxes) else ""
    return f"{task.primary_metric} {value:.3f}{drawn}"


def write_picture(path: Path, title: str, case: Case, said: Any) -> None:
    """Write one flat picture and, where there are labels, those of the truth and the answer."""
    image = next(iter(case.images.values()))
    truth = case.truth if isinstance(case.truth, LabelMap) else None
    answer = said if isinstance(said, LabelMap) else None
    plane, axes = best_plane(image, truth if truth is not None else case.truth)
    flat = eight_bit(image, plane)
    arrays: dict[str, Any] = {"image": flat, "title": np.array(title)}
    arrays["spacing"] = np.array([image.grid.spacing[a] for a in axes])
    if truth is not None and answer is not None:
        arrays["truth"] = upright(truth.array[plane], image).astype(np.uint8)
        arrays["answer"] = upright(answer.array[plane], image).astype(np.uint8)
        arrays["labels"] = np.array([truth.names[k] for k in sorted(truth.names)])
    if isinstance(case.truth, Boxes) and isinstance(said, Boxes):
        arrays["truth_boxes"] = boxes_in(case.truth, image, plane)
        arrays["answer_boxes"] = boxes_in(sure(said), image, plane)
        arrays["labels"] = np.array([case.truth.names[k] for k in sorted(case.truth.names)])
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    write_bytes(path, out.getvalue())
