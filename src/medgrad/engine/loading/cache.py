"""Cache of prepared cases: in memory while they fit, else in memory-mapped files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...data import Case, Grid, Image, LabelMap, Source, UnplacedBoxes
from ...data.cohorts import Cohort, Entry
from ...data.formats import holding, read_labels
from ...errors import MedgradError
from ...prepare import Memo, Step, prepare
from ...survey.file_hashes import own_files
from ..progress import Progress
from .sampling import index_labels

IN_MEMORY = 4 << 30
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A prepared case, the grids to restore its answer, and the original case."""

    case: Case
    memos: tuple[Memo, ...]
    original: Case


@dataclass(frozen=True)
class Failure:
    """A case that could not be read or prepared, with the reason in one line."""

    id: str
    patient: str
    why: str
    truth: Any = None


def load_all(
    cohort: Cohort,
    steps: Sequence[Step],
    *,
    folder: Path | None = None,
    workers: int = 2,
    on_progress: OnProgress | None = None,
    budget: int = IN_MEMORY,
) -> tuple[list[Prepared], list[Failure]]:
    """Read and prepare every case of a cohort; return the prepared cases and the failures.

    The arrays of all cases take at most ``budget`` bytes of memory; those beyond are written to files in
    ``folder``.
    """
    ready: list[Prepared] = []
    failures: list[Failure] = []
    used = 0
    for number, (entry, found) in enumerate(each(cohort, steps, workers)):
        if isinstance(found, Prepared):
            size = size_of(found.case) + size_of(found.original)
            if used + size > budget and folder is not None:
                found = mapped(found, folder / f"{number:06d}")
            else:
                used += size
            ready.append(found)
        else:
            failures.append(Failure(entry.id, entry.patient or entry.id, found, truth_of(cohort, entry)))
        if on_progress:
            on_progress(number + 1, len(cohort.entries))
    return ready, failures


def load_side(
    cohort: Cohort, side: Literal["train", "val", "test"], steps: Sequence[Step], folder: Path, progress: Progress
) -> tuple[list[Prepared], list[Failure]]:
    """Read and prepare the cases of one split, with a progress bar."""
    words = {"train": "Reading", "val": "Reading the validation cases", "test": "Reading the test cases"}
    with progress.bar(words[side]) as bar:
        return load_all(cohort.of(side), steps, folder=folder / "cache" / side, on_progress=bar)


def each(cohort: Cohort, steps: Sequence[Step], workers: int) -> Iterator[tuple[Any, Prepared | str]]:
    """Read and prepare cases in several threads, and yield them in the cohort's order."""

    def one(entry: Any) -> Prepared | str:
        try:
            with holding(own_files(entry)):
                case = cohort.load(entry)
            ready, memos = prepare(case, steps)
            return Prepared(index_labels(ready), tuple(memos), case)
        except (MedgradError, ValueError, OSError, MemoryError) as reason:
            return " ".join(str(reason).split()) or type(reason).__name__

    with ThreadPoolExecutor(max(1, workers)) as pool:
        ahead = max(2, 2 * workers)
        waiting = [pool.submit(one, entry) for entry in cohort.entries[:ahead]]
        for number, entry in enumerate(cohort.entries):
            found = waiting[number].result()
            waiting[number] = None  # type: ignore[call-overload]
            if number + ahead < len(cohort.entries):
                waiting.append(pool.submit(one, cohort.entries[number + ahead]))
            yield entry, found


def truth_of(cohort: Cohort, entry: Entry) -> Any:
    """Read only the truth of a case that failed, so that it can be judged as failed; None if that fails too."""
    if isinstance(entry.truth, UnplacedBoxes):
        return entry.truth.on(Grid.of((1,) * cohort.dims))  # how many boxes there are, wherever they lie
    if not isinstance(entry.truth, Source):
        return entry.truth
    try:
        labels = read_labels(entry.truth)
        if cohort.task == "detection":
            return cohort.read_truth(entry.truth, labels.grid)
        return cohort.renumber(labels, where=str(entry.truth))
    except (MedgradError, ValueError, OSError):
        return None


def size_of(case: Case) -> int:
    """Count the bytes of a case's arrays."""
    total = sum(image.array.nbytes for image in case.images.values())
    for labels in (case.truth, case.region):
        total += labels.array.nbytes if isinstance(labels, (LabelMap, Image)) else 0
    return total


def mapped(ready: Prepared, folder: Path) -> Prepared:
    """Move the arrays of a case to files, and open them memory-mapped."""
    folder.mkdir(parents=True, exist_ok=True)

    def moved(thing: Any, name: str) -> Any:
        path = folder / f"{name}.npy"
        np.save(path, thing.array, allow_pickle=False)
        return replace(thing, array=np.load(path, mmap_mode="r", allow_pickle=False))

    def whole(case: Case, prefix: str) -> Case:
        images = {k: moved(v, f"{prefix}-image-{i}") for i, (k, v) in enumerate(case.images.items())}
        truth = moved(case.truth, f"{prefix}-truth") if isinstance(case.truth, (LabelMap, Image)) else case.truth
        region = moved(case.region, f"{prefix}-region") if case.region is not None else None
        return replace(case, images=images, truth=truth, region=region)

    return Prepared(whole(ready.case, "ready"), ready.memos, whole(ready.original, "original"))


def clear(folder: Path) -> None:
    """Delete the files of a cache."""
    shutil.rmtree(folder, ignore_errors=True)
