"""Choose the cases that calibrate an 8-bit network, and those that check its agreement: never the same patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Case
from ..data.cohorts import Cohort, Entry
from ..data.cohorts.layouts import recognise
from ..engine.loading.sampling import grid_patch_starts
from ..engine.runs.training_data import find_training_cohort, read_recorded_cohort
from ..errors import SettingError
from ..inference.artefact.artefact import Artefact
from ..inference.encode import stack_channels
from ..inference.sliding_window import crop_case, without_truth
from ..prepare import prepare
from ..survey.file_hashes import hash_case

PATIENTS, JUDGES, WINDOWS = 16, 6, 4
"""So many patients measure ranges, so many judge, and so many windows are shown of each who measures."""


@dataclass(frozen=True)
class ExportCases:
    """Entries for calibration of ranges and for evaluation, and a text on where the latter come from."""

    calibration: tuple[tuple[Cohort, Entry], ...] = ()
    evaluation: tuple[tuple[Cohort, Entry], ...] = ()
    evaluated_on: str = "made-up windows"


def choose_cases(run: Path, *, folder: Path | None = None, needs_calibration: bool = False) -> ExportCases:
    """Choose cases by patient: ranges are calibrated on training cases only, agreement is checked on validation cases.

    Without validation cases, training patients that were not used for calibration are. ``folder`` holds cases for
    calibration where the run's own are missing; validation and test cases of the run are not taken from it.
    """
    known = read_recorded_cohort(run)
    own_cohort = find_training_cohort(run)
    given_cohort = exclude_held_out(recognise(folder), known) if folder is not None else None
    train = pick_case_per_patient(given_cohort if given_cohort is not None else own_cohort, ("train", None))
    val = pick_case_per_patient(own_cohort, ("val",))
    if needs_calibration and not train:
        raise SettingError(
            "There are no training cases at hand to measure ranges on. Give a folder with some: --calibrate FOLDER."
        )
    spare = max(1, len(train) // 5) if not val and len(train) > 1 else 0
    measure = train[: min(PATIENTS, len(train) - spare)] if needs_calibration else []
    others = train[len(measure) :] if needs_calibration else train
    judge, evaluated_on = (val, "validation cases") if val else (others, "training patients who measured no range")
    if needs_calibration and not judge:
        raise SettingError("One patient cannot measure and judge. Give a folder with more: --calibrate FOLDER.")
    if not judge:
        return ExportCases()
    return ExportCases(
        tuple(measure), tuple(judge[:JUDGES]), evaluated_on if needs_calibration or val else "training cases"
    )


def exclude_held_out(cohort: Cohort, recorded_cohort: dict[str, Any]) -> Cohort:
    """Exclude from a cohort whatever the run was validated or tested on: by name, by patient or by content."""
    held = [row for row in recorded_cohort.get("cases", ()) if row["split"] in ("val", "test")]
    names = {row["id"] for row in held} | {row["patient"] for row in held}
    hashes = {row["hash"] for row in held}
    kept = [e for e in cohort.entries if not {e.id, e.patient or e.id} & names and hash_case(e) not in hashes]
    return replace(cohort, entries=tuple(e for e in kept if e.split in ("train", None)))


def pick_case_per_patient(cohort: Cohort | None, splits: Sequence[str | None]) -> list[tuple[Cohort, Entry]]:
    """Pick one case of each patient in some splits, in random order with a fixed seed."""
    if cohort is None:
        return []
    first: dict[str, Entry] = {}
    for entry in sorted(cohort.entries, key=lambda e: e.id):
        if entry.split in splits:
            first.setdefault(entry.patient or entry.id, entry)
    order = np.random.default_rng(0).permutation(len(first))
    entries = list(first.values())
    return [(cohort, entries[i]) for i in order]


def load_network_inputs(artefact: Artefact, entries: Sequence[tuple[Cohort, Entry]]) -> list[NDArray[np.float32]]:
    """Load cases as network inputs: the whole image, or a few windows of each."""
    shown = []
    for cohort, entry in entries:
        case, _ = prepare(without_truth(cohort.load_case(entry)), artefact.prepare_steps)
        shown += [stack_channels(box, artefact.channels)[None] for box in choose_windows(artefact, case)]
    return shown


def choose_windows(artefact: Artefact, case: Case) -> list[Case]:
    """Choose windows of a prepared case, spread over it."""
    if artefact.output == "pooled":
        return [case]
    starts = grid_patch_starts(case.grid.shape, artefact.patch)
    chosen = np.random.default_rng(len(starts)).permutation(len(starts))[:WINDOWS]
    return [crop_case(case, starts[i], artefact.patch) for i in sorted(chosen)]
