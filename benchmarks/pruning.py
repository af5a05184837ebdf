"""How small networks become and how little they lose: U-Nets, a classifier and a detector, pruned by gradients.

Each parent learns with the plan made for it; then ``medgrad prune --target flops=0.1`` has the minutes that are named
below, and no other flag. A narrow network that learns from nothing, for as long, stands beside the first; the other
searches leave it out. What this page shows had one core each, beside other work. Losses of the pruned
and the narrow network are of the validation patients that chose nothing, paired, with the one-sided 95 % bound; those
of the stages are of the patients that chose. Times are of one answer to one patch, parent and children in one process.

Bound: the hippocampus network keeps at most 0.1 of the multiply-adds in 40 minutes and at most 0.2 in 20, loses at
most 0.005 of its Dice and answers, in 40 minutes, at least 3.5 times as fast. The others keep at most 0.2 of the
multiply-adds and lose at most 0.01, or the line says what was reached and what it would take. A search uses at least
0.9 of its minutes.

``MEDGRAD_PRUNED`` names a folder in which runs are kept; what is finished there is not made again. ``--rounds N`` takes
the first N sets only; ``run_all.py pruning --sets "breast,blood cells"`` those that are named.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from _race import settings, told

UNUSED = 0.1
DATA = Path(__file__).parents[2] / "shared" / "data"
SETS: dict[str, dict[str, Any]] = {
    "hippocampus": {
        "data": "seg3d_hippocampus",
        "fit": {"minutes": 20.0},
        "minutes": 40.0,
        "bound": {"flops": 0.1, "loss": 0.005, "faster": 3.5},
    },
    "hippocampus, 20 minutes": {
        "data": "seg3d_hippocampus",
        "of": "hippocampus",
        "minutes": 20.0,
        "baselines": False,
        "bound": {"flops": 0.2, "loss": 0.005},
    },
    "vessels": {
        "data": "seg2d_drive",
        "fit": {"minutes": 10.0},
        "minutes": 30.0,
        "baselines": False,
        "bound": {"flops": 0.2, "loss": 0.01, "or": "told"},
    },
    "breast": {
        "data": "cls_medmnist/breastmnist.npz",
        "fit": {"minutes": 4.0, "allow_leak": True},
        "minutes": 30.0,
        "baselines": False,
        "bound": {"flops": 0.2, "loss": 0.01, "or": "told"},
    },
    "blood cells": {
        "data": "det2d_bccd",
        "fit": {"minutes": 10.0, "allow_leak": True},
        "minutes": 30.0,
        "baselines": False,
        "bound": {"flops": 0.2, "loss": 0.01, "or": "told"},
    },
}


def pruned(name: str, home: Path) -> dict[str, Any]:
    """Train and prune one network if that was not done, and give what was told of it, or why there is none."""
    import medgrad
    from medgrad.errors import SettingError

    asked, folder = SETS[name], home / name.replace(" ", "_")
    parent = home / str(asked.get("of", name)).replace(" ", "_") / "parent"
    if not (parent / "evaluation.json").exists():
        medgrad.fit(str(DATA / asked["data"]), out=parent, **SETS[asked.get("of", name)]["fit"])
    if not (folder / "child" / "pruned.json").exists():
        try:
            how = {"target": "flops=0.1", "minutes": asked["minutes"], "baselines": asked.get("baselines", True)}
            medgrad.prune(parent, out=folder / "child", **how)
        except SettingError as reason:
            return {"failed": str(reason)}
    return dict(json.loads((folder / "child" / "pruned.json").read_text()))


def rows_of(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the parent, what was pruned, the narrow network, and every stage."""
    if "failed" in found:
        return [{"set": name, "network": found["failed"]}]
    whole = found["whole"]
    every = [("parent", whole), ("pruned", found["best"]), *((c["made"], c) for c in found["controls"])]
    every += [(f"stage {n + 1}, by those that chose", r) for n, r in enumerate(found["rungs"])]
    return [
        {
            "set": name,
            "network": made,
            "flops": one["flops"] / whole["flops"],
            "parameters": one["parameters"] / whole["parameters"],
            "times as fast": whole["milliseconds"] / one["milliseconds"],
            "score": one["score"],
            "loses": one["verdict"]["loss"] if "verdict" in one else 0.0,
            "at most": one["verdict"]["bound"] if "verdict" in one else 0.0,
            "patients": one["verdict"]["n"] if "verdict" in one else None,
            "steps": one.get("steps"),
        }
        for made, one in every
    ]


def holds(name: str, found: dict[str, Any]) -> bool:
    """Tell whether what was chosen keeps the bounds of its set."""
    bound = SETS[name]["bound"]
    if "failed" in found:
        return bound.get("or") == "told" and "more minutes" in found["failed"]
    whole, best = found["whole"], found["best"]
    kept = best["flops"] <= bound["flops"] * whole["flops"] and best["verdict"]["loss"] <= bound["loss"]
    kept &= whole["milliseconds"] >= bound.get("faster", 0.0) * best["milliseconds"]
    kept |= bound.get("or") == "told" and found["missed"] is not None
    return bool(kept and found["unused"] <= UNUSED * found["minutes"])


def run(rounds: int = 0, sets: str = "") -> dict[str, Any]:
    """Prune on every set that is there, or on those that are named."""
    asked = sets.split(",") if sets else list(SETS)
    there = [name for name in SETS if name in asked and (DATA / SETS[name]["data"]).exists()][: rounds or len(SETS)]
    if not there:
        return {"skipped": f"None of the sets of {DATA.name!r} is beside this folder, so there is nothing to prune."}
    home = Path(os.environ.get("MEDGRAD_PRUNED", "") or tempfile.mkdtemp())
    found = {name: pruned(name, home) for name in there}
    rows = [row for name in there for row in rows_of(name, found[name])]
    claim = f"every bound of {', '.join(there)}"
    return {"rows": rows, "claim": claim, "held": all(holds(name, found[name]) for name in there)}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.rounds)))
