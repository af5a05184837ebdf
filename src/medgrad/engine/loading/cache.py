"""Cache of prepared cases: in memory while they fit, else in memory-mapped files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...augment import Augmentation
from ...data import Case, Grid, Image, LabelMap, Source, UnplacedBoxes
from ...data.cohorts import Cohort, Entry
from ...data.formats import cache_case_files, read_labels
from ...errors import MedgradError
from ...prepare import Memo, Step, prepare
from ...survey.file_hashes import unshared_files
from ...tasks import Task
from ..progress import Progress
from .degrade import degrade_case
from .sampling import index_labels

MAX_MEMORY_BYTES = 4 << 30
OnProgress = Callable[[int, int], None]
CasesOf = Callable[[Case], Sequence[Case]]


@dataclass(frozen=True)
class PreparedCase:
    """A prepared case, the grids to restore its answer, and the original case."""

    case: Case
    memos: tuple[Memo, ...]
    original: Case


@dataclass(frozen=True)
class Failure:
    """A case that could not be read or prepared, with the reason in one line."""

    id: str
    patient: str
    reason: str
    truth: Any = None


def one_case(case: Case) -> Sequence[Case]:
    """Give a case as it is."""
    return (case,)


def cases_for(task: Task | None, split: str) -> CasesOf:
    """Give what a task makes of each case that was read, for training or to be judged on."""
    if task is None:
        return one_case
    return partial(task.cases_from, is_judged=split != "train")


def load_prepared_cases(
    cohort: Cohort,
    prepare_steps: Sequence[Step],
    *,
    folder: Path | None = None,
    n_workers: int = 2,
    on_progress: OnProgress | None = None,
    max_memory: int = MAX_MEMORY_BYTES,
    degradations: Sequence[Augmentation] = (),
    cases_of: CasesOf = one_case,
) -> tuple[list[PreparedCase], list[Failure]]:
    """Read and prepare every case of a cohort; return the prepared cases and the failures.

    The arrays of all cases take at most ``max_memory`` bytes of memory; those beyond are written to files in
    ``folder``. Cases that are their own truth are degraded by the ``degradations``. ``cases_of`` gives
    what each case that was read is prepared as.
    """
    prepared_cases: list[PreparedCase] = []
    failures: list[Failure] = []
    used_bytes = 0
    for number, (entry, found) in enumerate(prepare_each(cohort, prepare_steps, n_workers, degradations, cases_of)):
        for ready in found if not isinstance(found, str) else ():
            size = count_array_bytes(ready.case) + count_array_bytes(ready.original)
            if used_bytes + size > max_memory and folder is not None:
                ready = to_memory_map(ready, folder / f"{len(prepared_cases):06d}")
            else:
                used_bytes += size
            prepared_cases.append(ready)
        if isinstance(found, str):
            failures.append(Failure(entry.id, entry.patient or entry.id, found, read_truth_only(cohort, entry)))
        if on_progress:
            on_progress(number + 1, len(cohort.entries))
    return prepared_cases, failures


def load_split(
    cohort: Cohort,
    split: Literal["train", "val", "test"],
    prepare_steps: Sequence[Step],
    folder: Path,
    progress: Progress,
    degradations: Sequence[Augmentation] = (),
    task: Task | None = None,
) -> tuple[list[PreparedCase], list[Failure]]:
    """Read and prepare the cases of one split, with a progress bar; see ``load_prepared_cases``."""
    words = {"train": "Reading", "val": "Reading the validation cases", "test": "Reading the test cases"}
    with progress.bar(words[split]) as bar:
        return load_prepared_cases(
            cohort.in_splits(split),
            prepare_steps,
            folder=folder / "cache" / split,
            on_progress=bar,
            degradations=degradations,
            cases_of=cases_for(task, split),
        )


def prepare_each(
    cohort: Cohort,
    prepare_steps: Sequence[Step],
    n_workers: int,
    degradations: Sequence[Augmentation] = (),
    cases_of: CasesOf = one_case,
) -> Iterator[tuple[Any, list[PreparedCase] | str]]:
    """Read and prepare cases in several threads, and yield them in the cohort's order."""

    def prepare_whole(case: Case) -> PreparedCase:
        ready, memos = prepare(case, prepare_steps)
        return PreparedCase(index_labels(ready), tuple(memos), case)

    def prepare_one(entry: Any) -> list[PreparedCase] | str:
        try:
            with cache_case_files(unshared_files(entry)):
                case = cohort.load_case(entry)
            if degradations and cohort.is_own_truth(entry):
                case = degrade_case(case, prepare_steps, degradations)
            return [prepare_whole(each) for each in cases_of(case)]
        except (MedgradError, ValueError, OSError, MemoryError) as reason:
            return " ".join(str(reason).split()) or type(reason).__name__

    with ThreadPoolExecutor(max(1, n_workers)) as pool:
        n_ahead = max(2, 2 * n_workers)
        futures = [pool.submit(prepare_one, entry) for entry in cohort.entries[:n_ahead]]
        for number, entry in enumerate(cohort.entries):
            found = futures[number].result()
            futures[number] = None  # type: ignore[call-overload]
            if number + n_ahead < len(cohort.entries):
                futures.append(pool.submit(prepare_one, cohort.entries[number + n_ahead]))
            yield entry, found


def read_truth_only(cohort: Cohort, entry: Entry) -> Any:
    """Read only the truth of a case that failed, so that it can be judged as failed; None if that fails too."""
    if isinstance(entry.truth, UnplacedBoxes):
        return entry.truth.to_world(Grid.from_shape((1,) * cohort.dims))  # how many boxes there are, wherever they lie
    if not isinstance(entry.truth, Source):
        return entry.truth
    try:
        if cohort.has_image_truth:
            return cohort.read_image("", entry.truth)
        labels = read_labels(entry.truth)
        if cohort.truth == "boxes":
            return cohort.read_truth(entry.truth, labels.grid)
        return cohort.renumber(labels, source_name=str(entry.truth))
    except (MedgradError, ValueError, OSError):
        return None


def count_array_bytes(case: Case) -> int:
    """Count the bytes of a case's arrays."""
    total = sum(image.array.nbytes for image in case.images.values()) + sum(a.nbytes for a in case.arrays.values())
    for labels in (case.truth, case.roi):
        total += labels.array.nbytes if isinstance(labels, (LabelMap, Image)) else 0
    return total


def to_memory_map(prepared_case: PreparedCase, folder: Path) -> PreparedCase:
    """Move the arrays of a case to files, and open them memory-mapped."""
    folder.mkdir(parents=True, exist_ok=True)

    def map_array(array_holder: Any, name: str) -> Any:
        path = folder / f"{name}.npy"
        np.save(path, array_holder.array, allow_pickle=False)
        return replace(array_holder, array=np.load(path, mmap_mode="r", allow_pickle=False))

    def map_case(case: Case, prefix: str) -> Case:
        images = {k: map_array(v, f"{prefix}-image-{i}") for i, (k, v) in enumerate(case.images.items())}
        truth = map_array(case.truth, f"{prefix}-truth") if isinstance(case.truth, (LabelMap, Image)) else case.truth
        region = map_array(case.roi, f"{prefix}-region") if case.roi is not None else None
        return replace(case, images=images, truth=truth, roi=region)

    return PreparedCase(
        map_case(prepared_case.case, "ready"), prepared_case.memos, map_case(prepared_case.original, "original")
    )


def remove_cache(folder: Path) -> None:
    """Delete the files of a cache."""
    shutil.rmtree(folder, ignore_errors=True)
