"""Forty pairs of hippocampi of different people, ours beside ANTs' SyN with its defaults, in the same run.

Both images are padded to 64 voxels a side and registered by their intensities alone; then the labels of the moving one
are moved, and compared with those of the fixed one. ``--peers`` names a Python that has antspyx and nibabel; without
it, and without the data, nothing is measured.

Bound: a mean Dice above SyN's, folding under 0.1 %, and at least 5 times as fast by the processor's seconds. Neither
side looks for turns, since the images lie alike; what looking for them costs is told beside it.
"""

from __future__ import annotations

import csv
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _race import Side, serve, settings, timed, told

DATA = Path(os.environ.get("MEDGRAD_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIDE, BOUND, FOLDING = 64, 5.0, 0.001


def pairs() -> list[tuple[str, str]]:
    """List the pairs, fixed and moving."""
    with (DATA / "registration" / "hippocampus_pairs_ants_reference.csv").open(newline="") as file:
        return [(row["fixed"], row["moving"]) for row in csv.DictReader(file)]


def padded(folder: str, name: str) -> Any:
    """Read an image or its labels, in the middle of a cube."""
    import nibabel

    array = np.asarray(nibabel.load(DATA / "seg3d_hippocampus" / folder / f"hippocampus_{name}.nii.gz").dataobj)
    spare = [SIDE - s for s in array.shape]
    return np.pad(array, [(s // 2, s - s // 2) for s in spare])


def dice(one: Any, other: Any) -> float:
    """Give the mean Dice of both labels."""
    each = [2 * ((one == k) & (other == k)).sum() / ((one == k).sum() + (other == k).sum()) for k in (1, 2)]
    return float(np.mean(each))


def ours(fixed: Any, moving: Any, turns: float) -> Callable[[Any], tuple[Any, float]]:
    """Register, and give what moves labels and tells the folding."""
    from medgrad.data import Grid, Image, LabelMap
    from medgrad.data.transform import moved_labels
    from medgrad.engine.register import Settings, register
    from medgrad.metrics import folding

    grid = Grid.of(fixed.shape)
    found = register(Image(fixed, grid), Image(moving, grid), settings=Settings(turns=turns)).transform

    def move(labels: Any) -> tuple[Any, float]:
        moved = moved_labels(LabelMap(labels.astype(np.uint8), grid), found).array
        return moved, float(folding.compute(None, found.deformation())["folding"] or 0.0)

    return move


def theirs(fixed: Any, moving: Any) -> Callable[[Any], tuple[Any, float]]:
    """Register by SyN, and give what moves labels."""
    import ants

    one, other = (ants.from_numpy(a.astype("float32")) for a in (fixed, moving))
    found = ants.registration(one, other, type_of_transform="SyN")["fwdtransforms"]

    def move(labels: Any) -> tuple[Any, float]:
        moved = ants.apply_transforms(
            one, ants.from_numpy(labels.astype("float32")), found, interpolator="nearestNeighbor"
        )
        return moved.numpy(), float("nan")

    return move


def one_after_another(side: str) -> Callable[[], dict[str, float]]:
    """Give what registers the next pair each time, and tells its processor's seconds, Dice and folding."""
    left = iter(pairs())
    if side != "theirs":
        import torch

        from medgrad.engine.device import keep_memory

        keep_memory()
        torch.set_num_threads(1)
        name, other = pairs()[0]
        ours(padded("images", name), padded("images", other), 0.0)  # the first call loads torch's kernels

    def step() -> dict[str, float]:
        names = next(left)
        images, labels = ([padded(folder, name) for name in names] for folder in ("images", "labels"))
        turns = 60.0 if side == "turning" else 0.0
        _, cpu, move = timed(lambda: theirs(*images) if side == "theirs" else ours(*images, turns))
        moved, folded = move(labels[1])
        return {"cpu": cpu, "dice": dice(labels[0], moved), "folding": folded}

    return step


def run(threads: int = 1, rounds: int = 0, peers: str = "") -> dict[str, Any]:
    """Race over all pairs; ``held`` tells whether the bounds do."""
    del threads
    if not peers or not (DATA / "registration").is_dir():
        return {"skipped": "Needs --peers PYTHON with antspyx, and the data (MEDGRAD_DATA)."}
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    pythons = {"ours": sys.executable, "turning": sys.executable, "theirs": peers}
    sides = {s: Side(__file__, s, python=python) for s, python in pythons.items()}
    found: dict[str, list[dict[str, float]]] = {s: [] for s in sides}
    for _ in pairs()[: rounds or None]:
        for name, side in sides.items():
            found[name].append(side.ask()["value"])
    for side in sides.values():
        side.close()
    seconds = {s: statistics.mean(r["cpu"] for r in rows) for s, rows in found.items()}
    titles = {"ours": "medgrad", "turning": "medgrad, turns up to 60 degrees", "theirs": "ANTs SyN"}
    rows = [
        {
            "side": titles[s],
            "pairs": len(each),
            "Dice": statistics.mean(r["dice"] for r in each),
            "worst Dice": min(r["dice"] for r in each),
            "folding": statistics.mean(r["folding"] for r in each),
            "seconds a pair": seconds[s],
            "ratio": seconds["theirs"] / seconds[s],
        }
        for s, each in found.items()
    ]
    held = rows[0]["Dice"] > rows[2]["Dice"] and rows[0]["folding"] < FOLDING and rows[0]["ratio"] >= BOUND
    return {"rows": rows, "claim": f"better Dice than SyN, folding under 0.1 %, {BOUND:g} times as fast", "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(one_after_another(given.side[0]))
    else:
        sys.exit(told(run(given.threads, given.rounds, given.peers)))
