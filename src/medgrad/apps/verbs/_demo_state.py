"""The state of the demo: settings, patients, results and pages so far."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engine.progress import Progress
from ...errors import FormatError, SettingError

if TYPE_CHECKING:
    from ...data.cohorts import Cohort
    from ...data.cohorts.phantom import Phantom
    from ...report.read_run import Picture
    from ...survey.dataset import Look

RECORD_FILE = "demo.json"
MIN_PATIENTS_ON_SLOW_MACHINE = 12
FIRST, TIMED = 1, 3
"""The first patient takes longer, as much is loaded for it; the next ones tell how long making one takes here."""
GENERATION_TIME_SHARE = 0.2
"""The share of the minutes that making patients may take; where it would take more, fewer are made."""


@dataclass
class DemoState:
    """The state of the demo: settings, results and pages so far."""

    folder: Path
    phantom: Phantom
    minutes: float
    progress: Progress
    changes: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    pages: list[tuple[str, Path]] = field(default_factory=list)
    answer: Path | None = None
    picture: Picture | None = None
    processed: list[Picture] = field(default_factory=list)
    cohorts: dict[str, tuple[Cohort, Look]] = field(default_factory=dict)
    training_seconds: float = 0.0

    @property
    def n_training_patients(self) -> int:
        """The number of training patients; a third, rounded down, is held out, and one more is the new patient."""
        return self.phantom.patients - self.phantom.patients // 3 - 1

    def add_message(self, sentence: str) -> None:
        """Print a message, and keep it for the page."""
        self.messages.append(sentence)
        self.progress.say(sentence)


def training_patient_numbers(state: DemoState) -> Iterator[int]:
    """Yield the numbers of the training patients; on a slow or busy machine there are fewer."""
    began, number = 0.0, 0
    while number < state.n_training_patients:
        yield number
        number += 1
        if number == FIRST:
            began = time.perf_counter()
        if number == TIMED:
            limit_patients(state, (time.perf_counter() - began) / (TIMED - FIRST))


def held_out_patient_numbers(state: DemoState) -> Iterator[int]:
    """Yield the numbers of the patients held out for testing."""
    yield from range(state.n_training_patients, state.phantom.patients - 1)


def limit_patients(state: DemoState, seconds_per_patient: float) -> None:
    """Reduce the number of patients where generating all would take too long.

    It is decided once: when an interrupted demo resumes, test patients must not become training patients.
    """
    if "patients" in read_record(state.folder):
        return
    asked = state.phantom.patients
    possible = int(60 * GENERATION_TIME_SHARE * state.minutes / seconds_per_patient)
    kept = max(min(asked, MIN_PATIENTS_ON_SLOW_MACHINE), min(asked, possible))
    write_record(state.folder, patients=kept)
    if kept < asked:
        state.phantom = replace(state.phantom, patients=kept)
        state.add_message(f"This machine is slow or others use it too: there are {kept} patients instead of {asked}.")


def reserve_folder(state: DemoState) -> None:
    """Create the demo's folder, or resume the demo in it; raise if it holds something else."""
    settings = {"phantom": repr(state.phantom), "minutes": state.minutes}
    known = read_record(state.folder)
    if known:
        if settings != {k: known.get(k) for k in settings}:
            raise SettingError(
                f"{str(state.folder)!r} holds a demo with other settings. Remove it, or choose another -o."
            )
        state.phantom = replace(state.phantom, patients=known.get("patients", state.phantom.patients))
        return
    if state.folder.exists() and any(chain(state.folder.iterdir())):
        raise FormatError(f"{str(state.folder)!r} is not empty and no demo. Choose another folder with -o.")
    state.folder.mkdir(parents=True, exist_ok=True)
    write_record(state.folder, **settings)


def read_record(folder: Path) -> dict[str, Any]:
    """Read the demo's record ``demo.json``; empty where there is none."""
    path = folder / RECORD_FILE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def write_record(folder: Path, **facts: Any) -> None:
    """Add facts to the demo's record ``demo.json``, so that it can be resumed."""
    from ...data.atomic_files import write_text

    write_text(folder / RECORD_FILE, json.dumps(read_record(folder) | facts) + "\n")
