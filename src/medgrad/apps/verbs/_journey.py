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
    from ...report.read import Picture
    from ...survey.dataset import Look

NOTE = "demo.json"
FEWEST_ON_A_SLOW_MACHINE = 12
FIRST, TIMED = 1, 3
"""The first patient takes longer, as much is loaded for it; the next ones tell how long making one takes here."""
MAKING = 0.2
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
    told: list[str] = field(default_factory=list)
    pages: list[tuple[str, Path]] = field(default_factory=list)
    answer: Path | None = None
    picture: Picture | None = None
    looked: dict[str, tuple[Cohort, Look]] = field(default_factory=dict)
    learned_seconds: float = 0.0

    @property
    def n_learn(self) -> int:
        """The number of training patients; a third, rounded down, is held out, and one more is the new patient."""
        return self.phantom.patients - self.phantom.patients // 3 - 1

    def tell(self, sentence: str) -> None:
        """Print a message, and keep it for the page."""
        self.told.append(sentence)
        self.progress.say(sentence)


def numbers_to_learn(journey: DemoState) -> Iterator[int]:
    """Yield the numbers of the training patients; on a slow or busy machine there are fewer."""
    began, number = 0.0, 0
    while number < journey.n_learn:
        yield number
        number += 1
        if number == FIRST:
            began = time.perf_counter()
        if number == TIMED:
            make_fewer(journey, (time.perf_counter() - began) / (TIMED - FIRST))


def numbers_held_out(journey: DemoState) -> Iterator[int]:
    """Yield the numbers of the patients held out for testing."""
    yield from range(journey.n_learn, journey.phantom.patients - 1)


def make_fewer(journey: DemoState, seconds: float) -> None:
    """Reduce the number of patients where generating all would take too long.

    It is decided once: when an interrupted demo resumes, test patients must not become training patients.
    """
    if "patients" in noted(journey.folder):
        return
    asked = journey.phantom.patients
    possible = int(60 * MAKING * journey.minutes / seconds)
    kept = max(min(asked, FEWEST_ON_A_SLOW_MACHINE), min(asked, possible))
    note(journey.folder, patients=kept)
    if kept < asked:
        journey.phantom = replace(journey.phantom, patients=kept)
        journey.tell(f"This machine is slow or others use it too: there are {kept} patients instead of {asked}.")


def reserve_folder(journey: DemoState) -> None:
    """Create the demo's folder, or resume the demo in it; raise if it holds something else."""
    settings = {"phantom": repr(journey.phantom), "minutes": journey.minutes}
    known = noted(journey.folder)
    if known:
        if settings != {k: known.get(k) for k in settings}:
            raise SettingError(
                f"{str(journey.folder)!r} holds a demo with other settings. Remove it, or choose another -o."
            )
        journey.phantom = replace(journey.phantom, patients=known.get("patients", journey.phantom.patients))
        return
    if journey.folder.exists() and any(chain(journey.folder.iterdir())):
        raise FormatError(f"{str(journey.folder)!r} is not empty and no demo. Choose another folder with -o.")
    journey.folder.mkdir(parents=True, exist_ok=True)
    note(journey.folder, **settings)


def noted(folder: Path) -> dict[str, Any]:
    """Read the demo's record ``demo.json``; empty where there is none."""
    path = folder / NOTE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def note(folder: Path, **facts: Any) -> None:
    """Add facts to the demo's record ``demo.json``, so that it can be resumed."""
    from ...data.atomic_files import write_text

    write_text(folder / NOTE, json.dumps(noted(folder) | facts) + "\n")
