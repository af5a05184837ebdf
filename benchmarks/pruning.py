"""How small networks become and how little they lose: a U-Net, a classifier and a detector, pruned by gradients.

Each parent learns with the plan made for it; then ``medgrad prune`` goes down to the share of the multiply-adds that is
named below. Beside it stand, as small and with the same minutes each, but for the detector: the same way down by
magnitude, the same by chance from the widest layers, and a narrow network that learns from nothing. Losses are of
validation patients, paired, with the one-sided 95 % bound; times are of one answer to one patch, parent and children
in one process.

Bound: the hippocampus network keeps at most 0.1 of the multiply-adds and 0.2 of the parameters, loses at most 0.005 of
its Dice, answers at least 4 times as fast, and beats all three controls. The others keep at most 0.2 of the
multiply-adds and lose at most 0.01.

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

DATA = Path(__file__).parents[2] / "shared" / "data"
SETS: dict[str, dict[str, Any]] = {
    "hippocampus": {
        "data": "seg3d_hippocampus",
        "fit": {"minutes": 20.0},
        "prune": {
            "target": "flops=0.1,parameters=0.2,latency=0.24",
            "minutes": 68.0,
            "layers": 3,
            "least": 4,
            "multiple": 4,
            "floor": 0.25,
            "taught": 0.0,
            "reach": True,
        },
        "bound": {"flops": 0.1, "parameters": 0.2, "loss": 0.005, "faster": 4.0},
    },
    "breast": {
        "data": "cls_medmnist/breastmnist.npz",
        "fit": {"minutes": 5.0, "allow_leak": True},
        "prune": {"target": "flops=0.2", "minutes": 12.0, "reach": True},
        "bound": {"flops": 0.2, "loss": 0.01},
    },
    "blood cells": {
        "data": "det2d_bccd",
        "fit": {"minutes": 12.0, "allow_leak": True},
        "prune": {"target": "flops=0.2", "minutes": 15.0, "reach": True, "controls": False},
        "bound": {"flops": 0.2, "loss": 0.01},
    },
}


def pruned(name: str, home: Path) -> dict[str, Any]:
    """Train and prune one network if that was not done, and give what was told of it."""
    import medgrad

    asked, folder = SETS[name], home / name.replace(" ", "_")
    if not (folder / "parent" / "evaluation.json").exists():
        medgrad.fit(str(DATA / asked["data"]), out=folder / "parent", **asked["fit"])
    if not (folder / "child" / "pruned.json").exists():
        medgrad.prune(folder / "parent", out=folder / "child", **asked["prune"])
    return dict(json.loads((folder / "child" / "pruned.json").read_text()))


def rows_of(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the parent, every step of the way down and the controls."""
    whole, chosen = found["whole"], found["rungs"][found["chosen"]]
    every = [("parent", whole), *((f"by {r['made']}", r) for r in found["rungs"])]
    every += [(f"control: {c['made']}", c) for c in found["controls"]]
    return [
        {
            "set": name,
            "network": made + (" (chosen)" if one is chosen else ""),
            "flops": one["flops"] / whole["flops"],
            "parameters": one["parameters"] / whole["parameters"],
            "times as fast": whole["milliseconds"] / one["milliseconds"],
            "score": one["score"],
            "loses": one["verdict"]["loss"] if "verdict" in one else 0.0,
            "at most": one["verdict"]["bound"] if "verdict" in one else 0.0,
            "steps": one.get("steps"),
        }
        for made, one in every
    ]


def holds(name: str, found: dict[str, Any]) -> bool:
    """Tell whether what was chosen keeps the bounds of its set."""
    bound, whole, best = SETS[name]["bound"], found["whole"], found["rungs"][found["chosen"]]
    kept = all(best[k] <= bound[k] * whole[k] for k in ("flops", "parameters") if k in bound)
    kept &= best["verdict"]["loss"] <= bound["loss"]
    if "faster" in bound:
        kept &= whole["milliseconds"] >= bound["faster"] * best["milliseconds"]
        kept &= all(best["score"] > c["score"] for c in found["controls"])
    return bool(kept)


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
