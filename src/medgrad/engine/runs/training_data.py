"""The training data of a run, found again with the same split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ... import registry
from ...data.cohorts import Cohort, Entry
from ...data.cohorts.cohort import with_labels
from ...data.cohorts.layouts import TRUTH_KINDS, Hints, recognise
from ...data.cohorts.pairs_from_images import make_pairs
from ...data.run_files import read_record
from ...errors import LayoutError, MedgradError
from ...survey.survey_file import read_survey
from .run import Run


def read_recorded_cohort(run: Path) -> dict[str, Any]:
    """Read ``cohort.json`` of a run; empty where it is missing or damaged."""
    try:
        return read_record(run / "cohort.json")
    except (OSError, ValueError):
        return {}


def load_training_cohort(run: Path, folder: Path | None = None, *, strict: bool = True) -> Cohort:
    """Load the cohort that a run was trained on, with its split; raise if it is gone or, where ``strict``, has changed.

    ``folder`` is where the data is now, if it was moved. Cases added since are left out.
    """
    recorded_cohort = read_recorded_cohort(run)
    root = folder or Path(recorded_cohort.get("root", ""))
    if not recorded_cohort or not root.exists():
        raise LayoutError(f"The cases that {str(run)!r} learned from are not at {str(root)!r}. Say where with --data.")
    survey = read_survey(run)
    cohort = recognise(root, recorded_hints(recorded_cohort))
    labels = recorded_cohort.get("labels", ())
    if labels and set(labels) < set(cohort.labels):
        cohort = with_labels(cohort, labels)
    if cohort.truth == "pair" and not {e.id for e in cohort.entries} & {row["id"] for row in recorded_cohort["cases"]}:
        cohort = make_pairs(cohort)
    rows = {row["id"]: row for row in recorded_cohort["cases"]}
    entries = []
    for entry in cohort.entries:
        row = rows.get(entry.id)
        changed = row is not None and row["hash"] != survey.hash_of(entry)
        if row is None or (changed and not strict):
            continue
        if changed:
            raise LayoutError(f"The case {entry.id!r} has changed since {str(run)!r} learned from it. Put it back.")
        entries.append(replace(entry, split=row["split"], patient=row["patient"]))
    if not entries:
        raise LayoutError(f"{str(root)!r} has none of the cases that {str(run)!r} learned from.")
    return replace(cohort, entries=tuple(entries))


def recorded_hints(recorded_cohort: Mapping[str, Any]) -> Hints:
    """Give what the user said of the folder when the run was made."""
    known = {f.name: recorded_cohort.get("hints", {}).get(f.name) for f in fields(Hints)}
    task = recorded_cohort.get("task")
    if not known["kind"] and task in registry.names("tasks") and task not in TRUTH_KINDS:
        known["kind"] = registry.find("tasks", task)().truth
    return Hints(**{**known, "task": task})


def load_fold_cohorts(run: Path, folder: Path | None = None) -> list[Cohort]:
    """Load the training cohort of each fold of a run, with its split; one cohort if it has no folds."""
    cohort, count = load_training_cohort(run, folder), len(Run(run).fold_runs)
    if not count:
        return [cohort]
    held_out = {row["id"]: row.get("fold") for row in read_recorded_cohort(run)["cases"]}

    def split_of(entry: Entry, fold: int) -> str | None:
        return entry.split if entry.split == "test" else "val" if held_out[entry.id] == fold else "train"

    return [
        replace(cohort, entries=tuple(replace(e, split=split_of(e, n)) for e in cohort.entries)) for n in range(count)
    ]


def find_training_cohort(run: Path) -> Cohort | None:
    """Load those cases of a run's training cohort that are unchanged; None where there are none."""
    try:
        return load_training_cohort(run, strict=False)
    except (MedgradError, ValueError, OSError):
        return None
