"""Evaluate a run on a cohort, and write the results into a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...data.atomic_files import write_text
from ...data.cohorts import Cohort, Entry
from ...data.cohorts.cohort import narrowed
from ...data.cohorts.layouts import SERVED_BY_MASKS
from ...data.cohorts.pairs import paired
from ...errors import FormatError, LayoutError, MedgradError, SettingError
from ...inference.input_check import Takes, check_header, check_image, check_kind
from ..loading.cache import Failure, clear, load_all, truth_of
from ..progress import Progress, Silent
from ..runs.provenance import write_cohort
from ..runs.recipe import to_toml
from ..runs.run import Run, Trained, open_run
from .evaluate import Evaluation, conclude, write_evaluation
from .judge import judge_all


def evaluate_run(
    run: Path | str,
    cohort: Cohort,
    out: Path | str,
    *,
    on: str = "all",
    device: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a run on the cases of a cohort, or on those of one split, and write the results."""
    progress, folder = progress or Silent(), Path(out)
    trained = open_run(run, device=device)
    if cohort.task == "segmentation" and trained.task.kind in SERVED_BY_MASKS:
        cohort = replace(cohort, task=trained.task.kind)
    chosen = [e for e in cohort.entries if e.truth is not None and on in ("all", e.split)]
    if not chosen:
        todo = "Leave --split out to judge all its cases." if on != "all" else "Give such cases, or use predict."
        raise LayoutError(f"{str(cohort.root)!r} has no case with a truth on {on!r}. {todo}")
    cohort = replace(cohort, entries=tuple(replace(e, split="test") for e in chosen))
    if cohort.task == "registration":
        cohort = paired(cohort)
    cohort, unfit = fitting(cohort, trained)
    cohort = labelled_alike(cohort, trained)
    with progress.bar("Reading") as bar:
        ready, failures = load_all(cohort, trained.steps, folder=folder / "cache", on_progress=bar)
    failures = [*unfit, *failures]
    for failure in failures:
        progress.say(f"Case {failure.id!r} failed: {failure.why}")
    judged = judge_all(trained, ready, failures, progress=progress, pictures=folder)
    clear(folder / "cache")
    evaluation = conclude(trained.task, judged, split=on)
    write_evaluation(folder, evaluation)
    write_cohort(Run(folder), (cohort,), {}, allow_leak=False)
    write_text(folder / "recipe.toml", to_toml(trained.recipe))
    return evaluation


def labelled_alike(cohort: Cohort, trained: Trained) -> Cohort:
    """Restrict a cohort to the labels of a run, or raise if a label is missing."""
    known = tuple(getattr(trained.task, "labels", cohort.labels))
    if set(known) < set(cohort.labels):
        cohort = narrowed(cohort, known)
    if cohort.labels and set(cohort.labels) != set(known):
        raise SettingError(
            f"The run answers {', '.join(known)}, but {str(cohort.root)!r} has {', '.join(cohort.labels)}. "
            "Give cases with the same labels."
        )
    return cohort


def fitting(cohort: Cohort, trained: Trained) -> tuple[Cohort, list[Failure]]:
    """Drop the cases whose images the run does not accept, with the reasons; raise if none is left."""
    if trained.takes is None:
        return cohort, []
    kept, unfit = [], []
    for number, entry in enumerate(cohort.entries):
        try:
            check_entry(cohort, entry, trained.takes, reads=number == 0)
            kept.append(entry)
        except FormatError as reason:
            unfit.append(Failure(entry.id, entry.patient or entry.id, str(reason), truth_of(cohort, entry)))
    if not kept:
        raise FormatError(unfit[0].why)
    return replace(cohort, entries=tuple(kept)), unfit


def check_entry(cohort: Cohort, entry: Entry, takes: Takes, *, reads: bool) -> None:
    """Raise if a case does not match a run's input specification, by its names and headers, or also when read."""
    for name, source in entry.images.items():
        check_kind(takes, name, source, dims=cohort.dims, modality=cohort.modalities.get(name))
    check_header(takes, entry)
    if not reads:
        return
    for name, source in entry.images.items():
        try:
            image = cohort.read_image(name, source)
        except (MedgradError, OSError, ValueError):
            continue  # it is told as a failure when all are read
        check_image(takes, name, source, image)
