"""How long ``medgrad demo`` takes, and how good it is, on a machine that others use too.

The whole demo runs undisturbed; with one of the cores kept busy by another process; and on a single core that two other
processes share. Seconds are those of the clock. The longest silence is that of a terminal, between two moments at which
anything moved there.

Bounds, for two cores: exit 0 with its report; within 10 minutes undisturbed, within 20 otherwise; never more than 3 s
without a moving line.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _neighbours import busy
from _race import settings, told

QUIET, OTHERWISE, SILENCE = 600.0, 1200.0, 3.0
FIGURES = ("lesion dice", "auroc", "nodules found", "tre_mm")


def ways() -> dict[str, tuple[list[int], set[int] | None, float]]:
    """Name who disturbs: the cores that others keep busy, those that the demo has (None: all), and its bound."""
    last = sorted(os.sched_getaffinity(0))[-1]
    return {
        "nobody": ([], None, QUIET),
        "one core busy": ([last], None, OTHERWISE),
        "one core that two others share": ([last, last], {last}, OTHERWISE),
    }


def watched(out: Path, cores: set[int] | None) -> dict[str, Any]:
    """Run the demo on a terminal; give its exit code, its seconds, the longest silence, and what it found."""
    ours, theirs = pty.openpty()
    began = moved = time.perf_counter()
    silence = 0.0
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "medgrad", "demo", "-o", str(out), "--json"],
            stderr=theirs,
            stdout=printed,
            preexec_fn=pin,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
        )
        os.close(theirs)
        with contextlib.suppress(OSError):  # the terminal closes when the process ends
            while select.select([ours], [], [], 60)[0] and os.read(ours, 65536):
                now = time.perf_counter()
                silence, moved = max(silence, now - moved), now
        code, seconds = process.wait(), time.perf_counter() - began
        printed.seek(0)
        found = json.loads(printed.read()) if code == 0 else {}
    os.close(ours)
    return {"exit": code, "seconds": seconds, "silence": silence, "found": found}


def row_of(who: str, seen: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Give what was seen of one demo as a row."""
    metrics = seen["found"].get("metrics", {})
    runs = {name: json.loads((out / name / "run.json").read_text()) for name in ("segmentation", "detection")}
    return {
        "disturbed by": who, "exit": seen["exit"], "minutes": seen["seconds"] / 60, "silence s": seen["silence"],
        "patients": json.loads((out / "demo.json").read_text()).get("patients"),
        "steps to segment": runs["segmentation"].get("steps"), "steps to detect": runs["detection"].get("steps"),
        **{name: metrics.get(name, {}).get("value") for name in FIGURES},
    }  # fmt: skip


def run(rounds: int = 0) -> dict[str, Any]:
    """Run the demo in each way, and give a row for each."""
    del rounds
    rows, held = [], True
    with tempfile.TemporaryDirectory() as folder:
        for number, (who, (hogs, cores, most)) in enumerate(ways().items()):
            out = Path(folder) / f"demo-{number}"
            with busy(hogs):
                seen = watched(out, cores)
            rows.append(row_of(who, seen, out))
            held &= seen["exit"] == 0 and seen["seconds"] <= most and seen["silence"] <= SILENCE
            held &= (out / "report.html").exists()
            print(rows[-1], file=sys.stderr, flush=True)
    claim = f"within {QUIET / 60:g} and {OTHERWISE / 60:g} minutes, at most {SILENCE:g} s of silence"
    return {"rows": rows, "claim": claim, "bound": SILENCE, "held": bool(held)}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.rounds)))
