"""Which of the three detectors finds blood cells best in the same minutes, and whether it is the one that is planned.

Each learns with the plan made for it, one after another, on as many threads as ``--threads`` says, and is judged on the
validation images that the set names. ``--rounds N`` gives each N minutes (default 30). Intervals are by image, and so
is the paired test of the first against each other one. Steps are planned for the minutes; where others use the machine
meanwhile they take longer, as ``took`` tells.

Bound: the first is the one that is planned.

``MEDGRAD_DETECTORS`` names a folder in which runs are kept; what is finished there is not learned again.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from _race import settings, told

DATA = Path(__file__).parents[2] / "shared" / "data" / "det2d_bccd"
DETECTORS, MINUTES, AIM = ("retina", "yolo", "faster_rcnn"), 30, "map@0.5"


def learned(name: str, folder: Path, minutes: int) -> dict[str, Any]:
    """Train a detector if that was not done, and give its row."""
    import medgrad

    if not (folder / "evaluation.json").exists():
        medgrad.fit(str(DATA), out=folder, model=name, minutes=minutes, allow_leak=True)
    found = json.loads((folder / "evaluation.json").read_text())["metrics"]
    steps = tomllib.loads((folder / "recipe.toml").read_text())["training"]["steps"]
    main = found[AIM]
    return {
        "detector": name, "minutes": minutes, "took": json.loads((folder / "run.json").read_text())["seconds"] / 60,
        "steps": steps, AIM: main["value"], "from": main["low"],
        "to": main["high"], "images": main["n"], "map": found["map"]["value"], "cpm": found["cpm"]["value"],
    }  # fmt: skip


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Let each learn for so many minutes, the planned one among them."""
    import torch

    import medgrad

    if not DATA.exists():
        return {"skipped": f"{DATA.name!r} is not beside this folder, so there is nothing to learn from."}
    torch.set_num_threads(threads)
    home = Path(os.environ.get("MEDGRAD_DETECTORS", "") or tempfile.mkdtemp())
    home.mkdir(parents=True, exist_ok=True)
    rows = [learned(name, home / name, rounds or MINUTES) for name in DETECTORS]
    rows.sort(key=lambda row: -row[AIM])
    with tempfile.TemporaryDirectory() as made:
        medgrad.plan(str(DATA), out=Path(made) / "recipe.toml", task="detection", minutes=rounds or MINUTES)
        planned = tomllib.loads((Path(made) / "recipe.toml").read_text())["model"]["name"]
    for row in rows:
        first, other = home / rows[0]["detector"], home / row["detector"]
        row |= {f"p of {name}": None if row is rows[0] else p_of(first, other, name) for name in (AIM, "map")}
        row["planned"] = "yes" if row["detector"] == planned else ""
    return {"rows": rows, "claim": "the first is the one that is planned", "held": bool(rows[0]["planned"])}


def p_of(first: Path, second: Path, name: str) -> float | None:
    """Give p of the paired test of a figure."""
    import medgrad

    return next(row["p"] for row in medgrad.compare(first, second)["table"] if row["name"] == name)


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.threads, given.rounds)))
