"""Provenance of a run: its data, file hashes and machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.atomic_files import write_text
from ...data.cohorts import Cohort
from ...survey.survey_file import Survey, write_survey
from .run import Run


def describe_machine() -> str:
    """Describe the machine: system, CPU and number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{platform.system()}, {name}, {os.cpu_count()} cores"


def write_cohort(
    run: Run,
    cohorts: Sequence[Cohort],
    look_result: Mapping[str, Any],
    *,
    allow_leak: bool,
    survey: Survey | None = None,
) -> None:
    """Write ``cohort.json``: every case with its patient, split and file hash, and the findings of the survey."""
    cohort, known = cohorts[0], survey or Survey()
    fold_of = {e.id: n for n, side in enumerate(cohorts) for e in side.entries if e.split == "val"}
    cases = []
    for entry in cohort.entries:
        row: dict[str, Any] = {"id": entry.id, "patient": entry.patient or entry.id, "split": entry.split}
        if len(cohorts) > 1 and entry.split != "test":
            row |= {"split": "train", "fold": fold_of.get(entry.id)}
        cases.append(row | {"hash": known.hash_of(entry)})
    found = {
        "layout": cohort.layout,
        "root": str(cohort.root),
        "task": cohort.task,
        "hints": dict(cohort.hints),
        "labels": list(cohort.labels),
        "patients_from": cohort.patients_source,
        "told": list(cohort.messages),
        "allow_leak": allow_leak,
        "look": look_result,
        "cases": cases,
    }
    write_text(run.folder / "cohort.json", json.dumps(found, indent=1) + "\n")
    if survey is not None:
        write_survey(run.folder, survey)
