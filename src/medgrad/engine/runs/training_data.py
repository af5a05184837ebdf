"""The cases that a run learned from, where they lay then, each on the side on which it stood."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...data.cohorts import Cohort, Entry
from ...data.cohorts.cohort import narrowed
from ...data.cohorts.layouts import Hints, recognise
from ...data.cohorts.pairs import paired
from ...errors import LayoutError, MedgradError
from .run import Run
from ...survey.record import read_survey


def recorded(run: Path) -> dict[str, Any]:
    """Read who was in which split when a run learned; nothing where that is not known."""
    try:
        found = json.loads((run / "cohort.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def load_training_cohort(run: Path, folder: Path | None = None, *, strict: bool = True) -> Cohort:
    """Find the cases that a run learned from, or raise if they are gone or, where ``strict``, if one has changed.

    ``folder`` is where they lie now, if that is elsewhere. What has been added since is left out.
    """
    known = recorded(run)
    root = folder or Path(known.get("root", ""))
    if not known or not root.exists():
        raise LayoutError(f"The cases that {str(run)!r} learned from are not at {str(root)!r}. Say where with --data.")
    survey = read_survey(run)
    cohort = recognise(root, Hints(None, None, known.get("task")))
    labels = known.get("labels", ())
    if labels and set(labels) < set(cohort.labels):
        cohort = narrowed(cohort, labels)
    if cohort.task == "registration" and not {e.id for e in cohort.entries} & {row["id"] for row in known["cases"]}:
        cohort = paired(cohort)
    rows = {row["id"]: row for row in known["cases"]}
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


def sides_of(run: Path, folder: Path | None = None) -> list[Cohort]:
    """Find the cases of each fold of a run, on the sides on which they stood there; one cohort if it has no folds."""
    cohort, count = load_training_cohort(run, folder), len(Run(run).folds)
    if not count:
        return [cohort]
    held_out = {row["id"]: row.get("fold") for row in recorded(run)["cases"]}

    def side(entry: Entry, fold: int) -> str | None:
        return entry.split if entry.split == "test" else "val" if held_out[entry.id] == fold else "train"

    return [replace(cohort, entries=tuple(replace(e, split=side(e, n)) for e in cohort.entries)) for n in range(count)]


def home_if_there(run: Path) -> Cohort | None:
    """Find those of the cases that a run learned from which are still there as they were; None where none is."""
    try:
        return load_training_cohort(run, strict=False)
    except (MedgradError, ValueError, OSError):
        return None
