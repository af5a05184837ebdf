"""What a neighbour on the machine costs a training of some minutes: steps, but neither time nor quality.

The hippocampus set is learned in 5 minutes: undisturbed; with one of the cores kept busy by another process; with all
of them; with a neighbour who comes when two fifths of the time have passed, and goes after another third. Each
disturbed run is held against one of as many steps that nobody disturbed. Seconds are those of the clock, of the whole
command with its report.

Bounds, for two cores: within 1.1 of the minutes asked for; at least 0.45 of the steps with one core busy and 0.2 with
both; a Dice within 0.02 of as many steps undisturbed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from _neighbours import busy, timed
from _race import settings, told

DATA = Path(__file__).parents[2] / "shared" / "data" / "seg3d_hippocampus"
MINUTES, LATE, NEAR = 5.0, 1.1, 0.02


def ways() -> dict[str, tuple[dict[str, Any] | None, float]]:
    """Name who disturbs, and the least share of the steps that must be left."""
    cores = sorted(os.sched_getaffinity(0))
    come, go = 0.4 * 60 * MINUTES, 0.75 * 60 * MINUTES
    return {
        "nobody": (None, 1.0),
        "one core busy": ({"cores": cores[-1:]}, 0.45),
        "all cores busy": ({"cores": cores}, 0.2),
        "a neighbour comes and goes": ({"cores": cores[-1:], "after": come, "until": go}, 0.45),
    }


def fit(folder: Path, *budget: Any) -> tuple[float, dict[str, Any], dict[str, Any]]:
    """Learn; give the seconds, what the command found, and the pace of the run."""
    seconds, out = timed("fit", DATA, "-o", folder, *budget, "--json")
    return seconds, json.loads(out), json.loads((folder / "run.json").read_text())


def run(rounds: int = 0) -> dict[str, Any]:
    """Learn in each way, and give a row for each."""
    del rounds
    if not DATA.exists():
        return {"skipped": f"There is no {DATA.name!r} beside this folder, so there is nothing to learn from."}
    rows, held, quiet = [], True, 0
    with tempfile.TemporaryDirectory() as place:
        for number, (who, (neighbour, least)) in enumerate(ways().items()):
            folder = Path(place) / f"run-{number}"
            if neighbour is None:
                seconds, found, _ = fit(folder, "--minutes", MINUTES)
                quiet = found["steps"]
            else:
                with busy(**neighbour):
                    seconds, found, _ = fit(folder, "--minutes", MINUTES)
            dice = found["metrics"]["dice/mean"]["value"]
            row = {
                "disturbed by": who, "seconds": seconds, "of the minutes": seconds / (60 * MINUTES),
                "steps": found["steps"], "share of steps": found["steps"] / quiet, "Dice": dice,
            }  # fmt: skip
            if neighbour is not None:
                _, alone, _ = fit(Path(place) / f"alone-{number}", "--steps", found["steps"])
                row["Dice of as many steps alone"] = alone["metrics"]["dice/mean"]["value"]
                held &= abs(row["Dice of as many steps alone"] - dice) <= NEAR and row["share of steps"] >= least
            held &= row["of the minutes"] <= LATE
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    claim = f"within {LATE} of the time, 0.45 and 0.2 of the steps, Dice within {NEAR}"
    return {"rows": rows, "claim": claim, "bound": LATE, "held": bool(held)}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.rounds)))
