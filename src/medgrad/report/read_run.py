"""Read the files of a run for its report; a missing or damaged file costs only its own section."""

from __future__ import annotations

import math
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..data.run_files import read_cases, read_record, read_steps
from ..errors import FormatError

T = TypeVar("T")
MAX_PICTURE_BYTES = 64 << 20
MAX_PICTURES = 12


@dataclass(frozen=True)
class Picture:
    """A slice of an image, with the labels or boxes of truth and answer where there are any.

    ``spacing`` is (rows, columns); boxes are (n, 4), lower row and column, then upper. A residual is what an image
    differs by from the one that was shown, grey where it does not.
    """

    title: str
    image: NDArray[np.uint8]
    spacing: tuple[float, float]
    labels: tuple[str, ...] = ()
    truth_labels: NDArray[np.uint8] | None = None
    answer_labels: NDArray[np.uint8] | None = None
    truth_boxes: NDArray[np.float64] | None = None
    answer_boxes: NDArray[np.float64] | None = None
    truth_image: NDArray[np.uint8] | None = None
    answer_image: NDArray[np.uint8] | None = None
    truth_residual: NDArray[np.uint8] | None = None
    answer_residual: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class RunFiles:
    """The content of a run's files. ``unreadable`` names files that could not be read, one sentence each."""

    folder: Path
    recipe: str = ""
    run_facts: Mapping[str, Any] = field(default_factory=dict)
    cohort: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()
    cases: tuple[Mapping[str, str], ...] = ()
    pictures: tuple[Picture, ...] = ()
    nearest: tuple[Picture, ...] = ()
    pruning: Mapping[str, Any] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


RUN_FILE_NAMES = ("recipe.toml", "run.json", "cohort.json", "evaluation.json", "steps.jsonl", "cases.csv", "pictures")


def read_run(folder: Path | str) -> RunFiles:
    """Read the files of a run's folder; at least one must exist."""
    folder = Path(folder)
    if not any((folder / name).exists() for name in RUN_FILE_NAMES):
        raise FormatError(
            f"{str(folder)!r} is not a run: it has none of {', '.join(RUN_FILE_NAMES)}. Give the folder of a run."
        )
    missed: list[str] = []

    def read_or_default(name: str, reader: Callable[[Path], T], default: T) -> T:
        path = folder / name
        try:
            return reader(path) if path.exists() else default
        except (OSError, ValueError, RecursionError, zipfile.BadZipFile) as reason:
            missed.append(f"{name} could not be read ({type(reason).__name__}), so what it holds is not shown.")
            return default

    def read_pictures(name: str) -> list[Picture]:
        paths = sorted((folder / name).glob("*.npz"))[:MAX_PICTURES]
        return [p for path in paths if (p := read_or_default(f"{name}/{path.name}", read_picture, None))]

    return RunFiles(
        folder,
        read_or_default("recipe.toml", read_valid_toml, ""),
        read_or_default("run.json", read_record, {}),
        read_or_default("cohort.json", read_record, {}),
        read_or_default("evaluation.json", read_record, {}),
        tuple(read_or_default("steps.jsonl", read_steps, [])),
        read_or_default("cases.csv", read_case_texts, ()),
        tuple(sorted(read_pictures("pictures"), key=picture_rank)),
        tuple(read_pictures("nearest")),
        read_or_default("pruned.json", read_record, {}),
        tuple(missed),
    )


def picture_rank(picture: Picture) -> int:
    """Return the sort key of a picture: the best first, the worst last."""
    first = picture.title.lower().split(":")[0]
    return next((i for i, word in enumerate(("best", "median", "middl", "worst")) if word in first), 9)


def read_valid_toml(path: Path) -> str:
    """Read the text of a TOML file, and check that it is valid."""
    content = path.read_text(encoding="utf-8")
    tomllib.loads(content)
    return content


def read_case_texts(path: Path) -> tuple[dict[str, str], ...]:
    """Read the rows of ``cases.csv``, each with the cells that it has."""
    return tuple({str(k): v for k, v in row.items() if isinstance(v, str)} for row in read_cases(path))


def as_list(value: Any) -> list[Any]:
    """Wrap a value in a list, unless it is one; None becomes an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def read_picture(path: Path) -> Picture:
    """Read a picture from its ``.npz`` file."""
    with zipfile.ZipFile(path) as archive:
        if sum(item.file_size for item in archive.infolist()) > MAX_PICTURE_BYTES:
            raise ValueError("too large")
    with np.load(path, allow_pickle=False) as arrays:
        image = np.asarray(arrays["image"], np.uint8)
        if image.ndim not in (2, 3) or not image.size or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError("no picture")
        flat = [f"{whose}_{what}" for whose in ("truth", "answer") for what in ("labels", "image", "residual")]
        maps = {n: np.asarray(arrays[n], np.uint8) for n in flat if n in arrays}
        if any(m.shape[:2] != image.shape[:2] or m.shape[2:] not in ((), (3,)) for m in maps.values()):
            raise ValueError("what is drawn does not fit the picture")
        spacing = [float(v) for v in np.ravel(arrays["spacing"])] if "spacing" in arrays else [1.0, 1.0]
        labels = [str(v) for v in np.ravel(arrays["labels"])] if "labels" in arrays else []
        title = str(np.ravel(arrays["title"])[0]) if "title" in arrays else path.stem
        boxes = {n: np.asarray(arrays[n], float) for n in ("truth_boxes", "answer_boxes") if n in arrays}
        if any(b.ndim != 2 or b.shape[1] != 4 or not np.isfinite(b).all() for b in boxes.values()):
            raise ValueError("no boxes")
    if len(spacing) != 2 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError("no spacing")
    return Picture(title, image, (spacing[0], spacing[1]), tuple(labels), **maps, **boxes)  # type: ignore[arg-type]
