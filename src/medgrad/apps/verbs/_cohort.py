"""Find the cohort of a command: recognise, survey and split a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...data.cohorts import Cohort
from ...data.cohorts.cohort import with_labels, with_split
from ...data.cohorts.layouts import TRUTH_KINDS, Hints, recognise
from ...data.cohorts.split import apply_split, read_split
from ...data.cohorts.split import split as make_split
from ...data.formats import cache_set_files, reading_ahead
from ...engine.progress import Progress
from ...errors import LayoutError, SettingError
from ...survey.dataset import Look, check_leaks, look
from ...survey.dicom_headers import read_ahead
from ...survey.survey_file import read_survey
from ...survey.workers import start_worker_early, stopping_idle_workers


def find_cohort(
    folder: Path,
    *,
    truth: str | None,
    roi: str | None,
    task: str | None,
    split: Path | None = None,
    val: str | None = None,
    labels: str | None = None,
    allow_leak: bool = False,
    seed: int = 0,
    check: Callable[[Cohort], None] | None = None,
    needs_split: bool = True,
    run: Path | None = None,
    progress: Progress,
) -> tuple[Cohort, Look]:
    """Recognise a folder, survey it, and split it where it has no split; a leak raises an error unless allowed.

    Identical images are assigned to the same side, whatever patients they name. ``check`` may refuse the cohort
    before all of it is read. With ``needs_split`` false, a cohort that cannot be split is no error. Files that
    the survey of ``run`` knows and that are unchanged are not read again.
    """
    survey = read_survey(run)
    if not survey.cases:
        start_worker_early(folder)
    with stopping_idle_workers(), cache_set_files(), reading_ahead(read_ahead):
        cohort = recognise(folder, Hints(truth, roi, task, truth_kind(task)))
        for sentence in (
            f"{cohort.layout}: {len(cohort.entries)} cases, {len(cohort.patients)} patients",
            *cohort.messages,
        ):
            progress.say(sentence)
        if split is not None:
            cohort = apply_split(cohort, read_split(split), source_name=str(split))
        if val:
            cohort = choose_validation_cases(cohort, [v.strip() for v in val.split(",") if v.strip()])
        wanted = [name.strip() for name in (labels or "").split(",") if name.strip()]
        with_labels(cohort, wanted or cohort.labels)  # a label that is not there is told before anything is read
        if check is not None:
            check(cohort)
        with progress.bar("Looking") as bar:
            found = look(
                cohort,
                on_progress=bar,
                known_survey=survey,
                planned_cohort=with_labels(cohort, wanted) if wanted else None,
            )
    check_leaks(found, allow=allow_leak)
    if wanted:
        cohort = with_labels(cohort, wanted)
        progress.say(f"Looking for {', '.join(cohort.labels)} only.")
    try:
        cohort = make_split(cohort, seed=seed, keep_together=found.inseparable_pairs)
    except (LayoutError, SettingError) as reason:  # of one patient there is no split, but something to look at
        if needs_split:
            raise
        return replace(cohort, messages=(*cohort.messages, str(reason))), found
    if cohort.truth == "pair":
        from ...data.cohorts.pairs_from_images import make_pairs

        cohort = make_pairs(cohort, seed=seed)
        progress.say(cohort.messages[-1])
    return cohort, found


def truth_kind(task: str | None) -> str | None:
    """Give the kind of truth that a task learns from; a task that layouts know is not imported for it."""
    if task is None or task in TRUTH_KINDS:
        return None
    from ... import registry

    return str(registry.find("tasks", task)().truth)


def choose_validation_cases(cohort: Cohort, patterns: list[str]) -> Cohort:
    """Assign the cases whose names match to validation and all others to training."""
    from fnmatch import fnmatchcase

    matched = {e.id for e in cohort.entries for p in patterns if fnmatchcase(e.id, p)}
    for pattern in patterns:
        if not any(fnmatchcase(e.id, pattern) for e in cohort.entries):
            known = ", ".join(e.id for e in cohort.entries[:5])
            raise SettingError(
                f"No case is called {pattern!r}. --val takes names or patterns of cases; the first are: {known}."
            )
    told = (*cohort.messages, f"{len(matched)} cases judge, as was asked for; the others train.")
    sides = {e.id: "val" if e.id in matched else "train" for e in cohort.entries if e.truth is not None}
    return replace(with_split(cohort, sides), messages=told)


def check_model(cohort: Cohort, model: str | None) -> None:
    """Raise if the chosen network does not give the output that the cohort's task needs."""
    if not model:
        return
    from ... import registry

    task = registry.find("tasks", cohort.task)(dims=cohort.dims)
    if model == task.kind and task.brings_network():
        return
    gives = {name: registry.find("models", name).output_kinds for name in registry.names("models")}
    if task.outputs.shape not in gives[model]:
        fitting = [name for name, shapes in gives.items() if task.outputs.shape in shapes]
        raise SettingError(
            f"{cohort.task} needs a {task.outputs.shape} output, which --model {model} does not give. "
            f"These do: {', '.join(fitting)}."
        )


def check_fold_count(cohort: Cohort, n_folds: int) -> None:
    """Raise if a cohort has fewer patients than folds."""
    if n_folds > 1 and cohort.truth == "pair":
        raise SettingError("Pairs of two patients cannot be parted into folds. Leave --folds out.")
    known = {e.patient or e.id for e in cohort.entries if e.truth is not None and e.split != "test"}
    if n_folds > len(known):
        raise SettingError(f"{n_folds} folds need at least as many patients, but the set has fewer ({len(known)}).")
