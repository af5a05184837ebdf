"""The best, a middling and the worst answer, as flat pictures for the report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Boxes, Case, Image, LabelMap, Scores
from ..data.types import boxed
from ..tasks._task import Task
from .checkpoint import write_bytes
from .evaluate import Judged

MOST = 512
SHOWN = 0.3
"""How sure a box must be to be drawn."""


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
    value = judged.row.get(task.aim)
    if value is None:
        values = [v for k, v in judged.row.items() if k.startswith(task.aim.split("/")[0]) and v is not None]
        value = float(np.mean(values)) if values else 0.0
    return float(value)


def caption(task: Task, value: float, case: Case, said: Any) -> str:
    """Say what was said, and what is true."""
    if isinstance(said, Scores) and isinstance(case.truth, Scores):
        return f"said {said.best} {said.values.max():.2f}, truth {case.truth.best}"
    drawn = f", boxes from {SHOWN:g} on" if isinstance(said, Boxes) else ""
    return f"{task.aim} {value:.3f}{drawn}"


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


def write_overlay(path: Path, case: Case, said: Boxes) -> Path:
    """Write a PNG of an image (of a volume, the plane with the most boxes) with the boxes that were found in it."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    image = next(iter(case.images.values()))
    found = sure(said)
    plane, axes = best_plane(image, found)
    flat = eight_bit(image, plane)
    rows, columns = (image.grid.spacing[a] / min(image.grid.spacing) for a in axes)
    picture = Pillow.fromarray(flat).convert("RGB")
    picture = picture.resize((round(flat.shape[1] * columns), round(flat.shape[0] * rows)))
    pen = ImageDraw.Draw(picture)
    for top, left, bottom, right in ((boxes_in(found, image, plane) + 0.5) * [rows, columns, rows, columns]).tolist():
        pen.rectangle((left, top, right, bottom), outline=(255, 196, 0), width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def sure(boxes: Boxes) -> Boxes:
    """Give the boxes that are at least as sure as ``SHOWN``."""
    if boxes.scores is None:
        return boxes
    kept = boxes.scores >= SHOWN
    return replace(boxes, corners=boxes.corners[kept], labels=boxes.labels[kept], scores=boxes.scores[kept])


def boxes_in(boxes: Boxes, image: Image, plane: tuple[Any, ...]) -> NDArray[np.float64]:
    """Give the boxes that a plane cuts, (n, 4): lower row and column, then upper, as the plane is shown."""
    corners = boxed(boxes.corners, image.grid.index)
    dims = image.grid.dims
    axes = [a for a in range(dims) if isinstance(plane[a], slice)]
    for axis in set(range(dims)) - set(axes):
        corners = corners[(corners[:, axis] <= plane[axis]) & (plane[axis] <= corners[:, axis + dims])]
    places = np.indices([image.grid.shape[a] for a in axes])
    shown = np.stack([upright(p, image) for p in places])
    flat = corners[:, [*axes, *(a + dims for a in axes)]]
    from_row = int(shown[0][0, 0] == shown[0][-1, 0])  # 1: what is shown downwards is the second of the axes
    order = [from_row, 1 - from_row]
    ends = []
    for down, axis in enumerate(order):
        line = shown[axis][:, 0] if down == 0 else shown[axis][0]
        low, high = flat[:, axis], flat[:, axis + 2]
        backwards = len(line) > 1 and line[0] > line[-1]
        ends.append((line[0] - high, line[0] - low) if backwards else (low, high))
    return np.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], axis=1)


def best_plane(image: Image, truth: Any) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Choose the plane with the most labels, or the middle one; across the body's long axis where it is known."""
    if image.grid.dims == 2:
        return (slice(None), slice(None)), (0, 1)
    axis = next((a for a, letter in enumerate(image.grid.orientation) if letter in "SI"), 2)
    rest = tuple(a for a in range(3) if a != axis)
    if isinstance(truth, Boxes) and len(truth.corners):
        ends = boxed(truth.corners, image.grid.index)[:, [axis, axis + 3]]
        middles = ends.mean(axis=1)
        index = int(middles[((ends[:, :1] <= middles) & (middles <= ends[:, 1:])).sum(axis=0).argmax()].round())
    elif isinstance(truth, LabelMap) and truth.array.any():
        index = int((truth.array > 0).sum(axis=rest).argmax())
    else:
        index = image.grid.shape[axis] // 2
    plane: list[Any] = [slice(None)] * 3
    plane[axis] = index
    return tuple(plane), rest[::-1]


def upright(flat: NDArray[Any], image: Image) -> NDArray[Any]:
    """Lay a plane of a volume as radiologists do: the front on top, the patient's right on the left."""
    if image.grid.dims == 2:
        return flat
    axes = [a for a, letter in enumerate(image.grid.orientation) if letter not in "SI"]
    letters = [image.grid.orientation[a] for a in axes]
    if letters[0] in "AP":
        flat, letters = flat.swapaxes(0, 1), letters[::-1]
    if letters[0] == "R":
        flat = flat[::-1]
    if letters[1] == "A":
        flat = flat[:, ::-1]
    return flat.swapaxes(0, 1)


def eight_bit(image: Image, plane: tuple[Any, ...]) -> NDArray[np.uint8]:
    """Stretch a plane to 0 to 255, colours kept, and shrink it if it is large."""
    flat = np.nan_to_num(image.array[plane].astype(np.float64))
    flat = upright(flat, image)
    if flat.ndim == 3 and flat.shape[-1] not in (3,):
        flat = flat[..., 0]
    low, high = np.percentile(flat, [0.5, 99.5])
    if image.array.dtype == np.uint8:
        low, high = 0.0, 255.0
    return (np.clip((flat - low) / max(high - low, 1e-9), 0, 1) * 255).round().astype(np.uint8)
