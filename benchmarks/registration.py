"""Forty pairs of hippocampi of different people, ours beside ANTs' SyN and FireANTs on the CPU, in the same run.

Both images are padded to 64 voxels a side and registered by their intensities alone; then the labels of the moving one
are moved, and compared with those of the fixed one. All sides have one thread. ``--peers`` names a Python that has
antspyx and nibabel; without it, and without the data, nothing is measured. ``--fireants`` names one that has fireants
and nibabel; without it that side is left out.

SyN has its defaults. FireANTs 1.5.0 runs its own CPU path as it is, without the fused kernels that it has for a GPU:
30 affine steps on half the resolution, then its greedy deformable registration with Adam on half and on the whole.
Its settings were searched by the Dice of six of these pairs, which is to its favour: 26 settings, among them local
correlation over 3, 5 and 7 voxels, learning rates of 0.25, 0.5 and 1, gradients smoothed by 1, 2 and 3 voxels, the
warp by 0.25, 0.5 and 1, none or 20 to 60 affine steps, 50 to 200 steps on half and none to 25 on the whole resolution,
and its own SyN once, which was slower and no better. The best of what took about as long as SyN is one side (100 and
10 steps, over 5 voxels, rate 1, smoothed by 2 and 0.5), the same with half as many steps another; 25 steps on the whole
resolution at a rate of 0.5 gave 0.002 more Dice in half as long again.

Bound: a mean Dice of at least 0.732 and above SyN's, folding under 0.1 %, at least 5 times as fast as SyN and 1.5 times
as fast as FireANTs by the processor's seconds, at no less Dice than either. No side looks for turns, since the images
lie alike; what looking for them costs is told beside it.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _fireants import STEPS, by_fireants
from _race import Side, serve, settings, timed, told

DATA = Path(os.environ.get("MEDGRAD_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIDE, FOLDING, DICE = 64, 0.001, 0.732
FASTER = {"theirs": 5.0, "fireants": 1.5, "fireants_quick": 1.5}
TITLES = {
    "ours": "medgrad",
    "turning": "medgrad, turns up to 60 degrees",
    "theirs": "ANTs SyN",
    "fireants": "FireANTs",
    "fireants_quick": "FireANTs, half as many steps",
}


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
    from medgrad.data.transform import warp_labels
    from medgrad.metrics import folded_fraction
    from medgrad.registration.register import RegistrationOptions, register

    grid = Grid.from_shape(fixed.shape)
    found = register(Image(fixed, grid), Image(moving, grid), options=RegistrationOptions(max_rotation=turns)).transform

    def move(labels: Any) -> tuple[Any, float]:
        moved = warp_labels(LabelMap(labels.astype(np.uint8), grid), found).array
        return moved, float(folded_fraction.compute(None, found.to_deformation())["folded_fraction"] or 0.0)

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


def registered(side: str, fixed: Any, moving: Any) -> Callable[[Any], tuple[Any, float]]:
    """Register as a side does."""
    if side == "theirs":
        return theirs(fixed, moving)
    if side in STEPS:
        return by_fireants(fixed, moving, STEPS[side])
    return ours(fixed, moving, 60.0 if side == "turning" else 0.0)


def one_after_another(side: str) -> Callable[[], dict[str, float]]:
    """Give what registers the next pair each time, and tells its processor's seconds, Dice and folding."""
    left = iter(pairs())
    if side != "theirs":
        import torch

        torch.set_num_threads(1)
        if side not in STEPS:
            from medgrad.engine.compute.device import keep_freed_memory

            keep_freed_memory()
        name, other = pairs()[0]
        registered(side, padded("images", name), padded("images", other))  # the first call loads torch's kernels

    def step() -> dict[str, float]:
        names = next(left)
        images, labels = ([padded(folder, name) for name in names] for folder in ("images", "labels"))
        _, cpu, move = timed(lambda: registered(side, *images))
        moved, folded = move(labels[1])
        return {"cpu": cpu, "dice": dice(labels[0], moved), "folded_fraction": folded}

    return step


def run(threads: int = 1, rounds: int = 0, peers: str = "", fireants: str = "") -> dict[str, Any]:
    """Race over all pairs; ``held`` tells whether the bounds do."""
    del threads
    if not peers or not (DATA / "registration").is_dir():
        return {"skipped": "Needs --peers PYTHON with antspyx, and the data (MEDGRAD_DATA)."}
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    pythons = {"ours": sys.executable, "turning": sys.executable, "theirs": peers}
    pythons |= dict.fromkeys(STEPS, fireants) if fireants else {}
    sides = {s: Side(__file__, s, python=python) for s, python in pythons.items()}
    found: dict[str, list[dict[str, float]]] = {s: [] for s in sides}
    for _ in pairs()[: rounds or None]:
        for name, side in sides.items():
            found[name].append(side.ask()["value"])
    for side in sides.values():
        side.close()
    rows = {
        s: {
            "side": TITLES[s],
            "pairs": len(each),
            "Dice": statistics.mean(r["dice"] for r in each),
            "worst Dice": min(r["dice"] for r in each),
            "folded_fraction": statistics.mean(r["folded_fraction"] for r in each),
            "seconds a pair": statistics.mean(r["cpu"] for r in each),
        }
        for s, each in found.items()
    }
    for row in rows.values():
        row["times ours"] = row["seconds a pair"] / rows["ours"]["seconds a pair"]
    claim = f"a Dice of {DICE}, folding under 0.1 %, and at no less Dice {FASTER['theirs']:g} times as fast as SyN"
    claim += f" and {FASTER['fireants']:g} times as fast as FireANTs" if fireants else "; FireANTs was not asked"
    return {"rows": list(rows.values()), "claim": claim, "held": holds(rows)}


def holds(rows: dict[str, dict[str, Any]]) -> bool:
    """Tell whether ours is good enough, and better and faster than each peer that was asked."""
    own, peers = rows["ours"], [(rows[s], times) for s, times in FASTER.items() if s in rows]
    better = own["Dice"] > rows["theirs"]["Dice"] and all(own["Dice"] >= row["Dice"] for row, _ in peers)
    faster = all(row["times ours"] >= times for row, times in peers)
    return own["Dice"] >= DICE and own["folded_fraction"] < FOLDING and better and faster


if __name__ == "__main__":
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--fireants", default="")
    chosen, sys.argv[1:] = early.parse_known_args()
    given = settings(__doc__ or "")
    if given.side:
        serve(one_after_another(given.side[0]))
    else:
        sys.exit(told(run(given.threads, given.rounds, given.peers, chosen.fireants)))
