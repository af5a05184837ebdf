"""Evaluate a run on a cohort, and write the results into a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...data.atomic_files import write_text
from ...data.cohorts import Cohort, Entry
from ...data.cohorts.cohort import with_labels
from ...data.cohorts.layouts import IMAGE_KINDS, Hints
from ...data.cohorts.pairs_from_images import make_pairs
from ...errors import FormatError, LayoutError, MedgradError, SettingError
from ...inference.input_check import InputSpec, check_header, check_image, check_input_kind
from ...tasks import Task
from ..loading.cache import Failure, cases_for, load_prepared_cases, read_truth_only, remove_cache
from ..loading.degrade import build_degradations
from ..progress import Progress, SilentProgress
from ..runs.provenance import write_cohort
from ..runs.recipe import recipe_to_toml
from ..runs.run import Run, TrainedRun, open_run
from .downstream import open_downstream
from .evaluate import Evaluation, summarise_evaluation, write_evaluation
from .judge import judge_all


def evaluate_run(
    run: Path | str | TrainedRun,
    cohort: Cohort,
    out: Path | str,
    *,
    split: str = "all",
    downstream: Path | str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a run on the cases of a cohort, or on those of one split, and write the results.

    ``downstream`` is a run that segments: answers that are images are judged by what it says of them, too.
    """
    progress, folder = progress or SilentProgress(), Path(out)
    trained = run if isinstance(run, TrainedRun) else open_run(run, device=device)
    judge_by = None if downstream is None else open_downstream(downstream, trained.task, device=device)
    cohort = cohort.serving(trained.task.kind, trained.task.truth)
    chosen = [e for e in cohort.entries if e.truth is not None and split in ("all", e.split)]
    if not chosen:
        todo = "Leave --split out to judge all its cases." if split != "all" else "Give such cases, or use predict."
        raise LayoutError(f"{str(cohort.root)!r} has no case with a truth on {split!r}. {todo}")
    cohort = replace(cohort, entries=tuple(replace(e, split="test") for e in chosen))
    if cohort.truth == "pair":
        cohort = make_pairs(cohort)
    cohort, unfit = drop_incompatible_cases(cohort, trained)
    cohort = restrict_labels(cohort, trained)
    with progress.bar("Reading") as bar:
        ready, failures = load_prepared_cases(
            cohort,
            trained.prepare_steps,
            folder=folder / "cache",
            on_progress=bar,
            degradations=build_degradations(trained.recipe.augment, trained.task),
            cases_of=cases_for(trained.task, "test"),
        )
    failures = [*unfit, *failures]
    for failure in failures:
        progress.say(f"Case {failure.id!r} failed: {failure.reason}")
    judged = judge_all(trained, ready, failures, progress=progress, pictures_folder=folder, downstream=judge_by)
    remove_cache(folder / "cache")
    evaluation = summarise_evaluation(trained.task, judged, split=split)
    write_evaluation(folder, evaluation)
    write_cohort(Run(folder), (cohort,), {}, allow_leak=False)
    write_text(folder / "recipe.toml", recipe_to_toml(trained.recipe))
    return evaluation


def hints_of(task: Task, *, truth: str | None = None, roi: str | None = None) -> Hints:
    """Give what is known of a folder that a run is to be judged on.

    An image beside another may be a second channel as well, so a task whose truth is an image is named.
    """
    is_image = task.truth == "image" or task.truth in IMAGE_KINDS
    return Hints(truth, roi, task.kind, task.truth) if is_image else Hints(truth, roi)


def restrict_labels(cohort: Cohort, trained: TrainedRun) -> Cohort:
    """Restrict a cohort to the labels of a run, or raise if a label is missing."""
    known = tuple(getattr(trained.task, "labels", cohort.labels))
    if set(known) < set(cohort.labels):
        cohort = with_labels(cohort, known)
    if cohort.labels and set(cohort.labels) != set(known):
        raise SettingError(
            f"The run answers {', '.join(known)}, but {str(cohort.root)!r} has {', '.join(cohort.labels)}. "
            "Give cases with the same labels."
        )
    return cohort


def drop_incompatible_cases(cohort: Cohort, trained: TrainedRun) -> tuple[Cohort, list[Failure]]:
    """Drop the cases whose images the run does not accept, with the reasons; raise if none is left."""
    if trained.input_spec is None:
        return cohort, []
    kept, failures = [], []
    for number, entry in enumerate(cohort.entries):
        try:
            check_entry(cohort, entry, trained.input_spec, reads_image=number == 0)
            kept.append(entry)
        except FormatError as reason:
            failures.append(Failure(entry.id, entry.patient or entry.id, str(reason), read_truth_only(cohort, entry)))
    if not kept:
        raise FormatError(failures[0].reason)
    return replace(cohort, entries=tuple(kept)), failures


def check_entry(cohort: Cohort, entry: Entry, input_spec: InputSpec, *, reads_image: bool) -> None:
    """Raise if a case does not match a run's input specification, by its names and headers, or also when read."""
    for name, source in entry.images.items():
        check_input_kind(input_spec, name, source, dims=cohort.dims, modality=cohort.modalities.get(name))
    check_header(input_spec, entry)
    if not reads_image:
        return
    for name, source in entry.images.items():
        try:
            image = cohort.read_image(name, source)
        except (MedgradError, OSError, ValueError):
            continue  # it is told as a failure when all are read
        check_image(input_spec, name, source, image)
