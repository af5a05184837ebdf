"""Which optimiser comes furthest on three public sets in the same minutes, and whether it is the one that is planned.

Each entrant gets the same cases in the same order, a search of its own for a rate (each of a grid for a quarter of the
time), and the same minutes a run, from three seeds. Intervals are by patient over all seeds; p is of a paired test of
the first against each other one, with Holm's correction. The minutes are few, so the figures are those of a beginning.

Bound: on each set the first is the planned optimiser, and its best rate the planned one.

``MEDGRAD_RACES`` names a folder in which races are kept and gone on with.
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from _race import settings, told

DATA = Path(__file__).parents[2] / "shared" / "data"
SETS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "breast": ("cls_medmnist/breastmnist.npz", 1.5, {"allow_leak": True}),
    "hippo": ("seg3d_hippocampus", 3.0, {}),
    "adrenal": ("cls_medmnist/adrenalmnist3d_trainval.npz", 1.5, {}),
}
ENTRANTS, SEEDS = "muon,adamw,momentum", 3


def planned(data: Path, folder: Path, words: dict[str, Any]) -> tuple[str, float]:
    """Give the optimiser and the rate of the plan of a set."""
    import medgrad

    path = folder / "recipe.toml"
    medgrad.plan(str(data), out=path, **words)
    found = tomllib.loads(path.read_text())["optimiser"]
    return found["name"], float(found["rate"])


def run(rounds: int = 0) -> dict[str, Any]:
    """Let them race on each set, and give a row for each entrant."""
    import medgrad

    if not DATA.exists():
        return {"skipped": "There are no public sets beside this folder, so there is nothing to learn from."}
    home = Path(os.environ.get("MEDGRAD_RACES", "") or tempfile.mkdtemp())
    rows, held = [], []
    for name, (place, minutes, words) in SETS.items():
        out = home / f"race_{name}"
        found = medgrad.race(
            str(DATA / place), out=out, optimisers=ENTRANTS, minutes=minutes, seeds=rounds or SEEDS, **words
        )
        choice, rate = planned(DATA / place, out, {k: v for k, v in words.items() if k != "allow_leak"})
        for row in found["table"]:
            rows.append({
                "set": Path(place).stem, "optimiser": row["entrant"], "rate": row["rate"], "minutes": minutes,
                "steps": row["steps"], "ms a step": 1000 * row["seconds_a_step"],
                "figure": found["aim"], "value": row["value"],
                "from": row["low"], "to": row["high"], "p": row.get("behind", {}).get("p_holm"),
                "planned": "yes" if row["entrant"] == choice and abs(row["rate"] / rate - 1) < 0.1 else "",
            })  # fmt: skip
        held.append(bool(next(r["planned"] for r in rows if r["set"] == Path(place).stem)))
    return {"rows": rows, "claim": "the first on each set is what is planned", "bound": 1.0, "held": all(held)}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.rounds)))
