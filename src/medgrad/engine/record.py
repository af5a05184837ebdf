"""What is written down about the data and the machine, so that a run can be repeated and trusted."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import Cohort, Entry, Source
from .checkpoint import write_text
from .run import Run

CHUNK = 1 << 20


def machine() -> str:
    """Describe the machine in a few words."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{platform.system()}, {name}, {os.cpu_count()} cores"


def write_cohort(run: Run, sides: Sequence[Cohort], look: Mapping[str, Any], *, allow_leak: bool) -> None:
    """Write ``cohort.json``: every case, its patient, its side and the hash of its files."""
    cohort = sides[0]
    fold_of = {e.id: n for n, side in enumerate(sides) for e in side.entries if e.split == "val"}
    cases = []
    for entry in cohort.entries:
        row: dict[str, Any] = {"id": entry.id, "patient": entry.patient or entry.id, "split": entry.split}
        if len(sides) > 1 and entry.split != "test":
            row |= {"split": "train", "fold": fold_of.get(entry.id)}
        cases.append(row | {"hash": hash_of(entry)})
    found = {
        "layout": cohort.layout,
        "root": str(cohort.root),
        "task": cohort.task,
        "labels": list(cohort.labels),
        "patients_from": cohort.patients_from,
        "told": list(cohort.told),
        "allow_leak": allow_leak,
        "look": look,
        "cases": cases,
    }
    write_text(run.folder / "cohort.json", json.dumps(found, indent=1) + "\n")


def hash_of(entry: Entry) -> str:
    """Hash the files of a case, images then truth; an item of a shared file is its name and the file's size."""
    whole = hashlib.sha256()
    sources = [*entry.images.values(), *([entry.truth] if isinstance(entry.truth, Source) else [])]
    for source in sources:
        for path in (source.path, *source.also):
            if source.item and path.is_file():
                whole.update(f"{path.name}:{source.item}:{path.stat().st_size}".encode())
                continue
            for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
                hash_file(file, whole)
    return whole.hexdigest()[:16]


def hash_file(path: Path, whole: Any) -> None:
    """Add a file's bytes to a hash; one that is gone adds its name."""
    if not path.exists():
        whole.update(path.name.encode())
        return
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            whole.update(chunk)
