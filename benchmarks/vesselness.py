"""Vesselness on DRIVE's retinal photographs and on tubes through thick slices: ours beside scikit-image's filters.

DRIVE: green channel of 20 photographs, pixels inside the field of view, first annotator; means over the images of AUC
and of the best F1, and seconds of the processor an image, on one thread. All sides have the same radii. `border` is
the rim of the field of view that ours does not read, in pixels; the peers have none. Nothing is trained, but border,
radii and elongation were chosen on these photographs. Tubes: eight directions through voxels of 1 x 1 x 3 mm, with
partial volume, the middle of each on the middle of a voxel; the least and the most of their largest responses.

Bounds: with `local_contrast` and `border` AUC at least .94 and F1 at least .70, at most twice the seconds of the faster
peer, and responses to tubes of 1 to 4 mm within 15 % of one another. Those thinner than 2 mm fill a slice in part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _race import Side, race, serve, settings, told

DATA = Path(os.environ.get("MEDGRAD_DRIVE", Path(__file__).parents[2] / "shared" / "data" / "seg2d_drive"))
RADII, BORDER, ROUNDS = (1.4, 2.0, 3.0), 6.0, 3
TUBE_RADII, TUBE_SCALES = (1.0, 1.4, 2.0, 2.8, 4.0), (1.0, 1.4, 2.0, 2.8, 4.0)
DIRECTIONS = ((1, 0, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 2), (1, 1, 1), (1, 2, 0.5), (2, 1, 3))
SPACING, SHAPE = (1.0, 1.0, 3.0), (48, 48, 20)
OURS = {
    "ours": {},
    "ours, border": {"border": BORDER},
    "ours, border, local contrast": {"border": BORDER, "local_contrast": True},
}
MAIN = "ours, border, local contrast"
PEERS = {"scikit-image frangi": "frangi", "scikit-image sato": "sato"}


def photographs() -> list[tuple[Any, Any, Any]]:
    """Read the green channel, the vessels and the field of view of every photograph."""
    from PIL import Image

    def read(kind: str, name: str) -> Any:
        return np.asarray(Image.open(DATA / kind / name).convert("RGB"))[..., 1]

    names = sorted(p.name for p in (DATA / "images").glob("*.png"))
    return [(read("images", n).astype(np.float32), read("vessel", n) > 127, read("fov", n) > 127) for n in names]


def ours(words: dict[str, Any], array: Any, region: Any, spacing: Sequence[float]) -> Any:
    """Give our response."""
    from medgrad.data import Case, Grid, Image, LabelMap
    from medgrad.prepare.vesselness import Vesselness

    grid = Grid.from_shape(array.shape, spacing=tuple(spacing))
    roi = None if region is None else LabelMap(region.astype(np.uint8), grid)
    case = Case("a", {"image": Image(array, grid)}, roi=roi)
    return Vesselness(**words).apply(case)[0].images["image"].array


def task_of(name: str) -> Callable[[], dict[str, float]]:
    """Give one side's task: the responses to all photographs, and how good they are."""
    from time import process_time

    read = photographs()

    def task() -> dict[str, float]:
        start, found = process_time(), []
        for array, _, region in read:
            if name in OURS:
                found.append(ours({"radii": RADII, "dark": True, **OURS[name]}, array, region, (1.0, 1.0)))
            else:
                from skimage import filters

                found.append(getattr(filters, PEERS[name])(array, sigmas=RADII, black_ridges=True))
        seconds = (process_time() - start) / len(read)
        figures = [auc_and_f1(f[region], vessel[region]) for f, (_, vessel, region) in zip(found, read, strict=True)]
        auc, f1 = np.mean(figures, axis=0)
        return {"AUC": float(auc), "F1": float(f1), "CPU s": seconds}

    return task


def auc_and_f1(scores: Any, truth: Any) -> tuple[float, float]:
    """Give the area under the ROC curve and the best F1 over all thresholds."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(truth[order])[ends].astype(float)
    false = ends + 1 - hits
    area = np.trapezoid(np.append(0, hits) / hits[-1], np.append(0, false) / false[-1])
    return float(area), float((2 * hits / (hits + false + hits[-1])).max())


def tube(radius: float, direction: Sequence[float], parts: Sequence[int] = (4, 4, 12)) -> Any:
    """Give a tube of contrast 1 through the middle voxel, averaged over each voxel."""
    along = np.array(direction, np.float32) / np.linalg.norm(direction)
    sides = zip(SHAPE, SPACING, parts, strict=True)
    axes = [((np.arange(n * p) + 0.5) / p - 0.5 - n // 2) * s for n, s, p in sides]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float32)
    inside = (at**2).sum(-1) - (at @ along) ** 2 <= radius**2
    cut = inside.reshape([m for pair in zip(SHAPE, parts, strict=True) for m in pair])
    return cut.mean((1, 3, 5), dtype=np.float32)


def tube_rows() -> list[dict[str, Any]]:
    """Give the smallest and the largest response to tubes of each radius."""
    rows = []
    for radius in TUBE_RADII:
        found = []
        for direction in DIRECTIONS:
            response = ours({"radii": TUBE_SCALES}, tube(radius, direction), None, SPACING)
            found.append(float(response[12:-12, 12:-12, 6:-6].max()))
        rows.append({"what": f"tubes of {radius:g} mm", "least": min(found), "most": max(found)})
    return rows


def spread(rows: Sequence[dict[str, Any]]) -> float:
    """Give the largest response over the smallest."""
    return float(max(r["most"] for r in rows) / min(r["least"] for r in rows))


def run(threads: int = 1, rounds: int = 0, peers: str = "") -> dict[str, Any]:
    """Compare all; ``held`` tells whether the bound does."""
    if not (DATA / "images").is_dir():
        return {"skipped": "DRIVE is not here: name its folder in MEDGRAD_DRIVE."}
    if not peers:
        return {"skipped": "No scikit-image: name a Python that has it by --peers."}
    sides = {name: Side(__file__, name, threads=threads) for name in OURS}
    sides |= {name: Side(__file__, name, python=peers, threads=threads) for name in PEERS}
    found = race(sides, rounds or ROUNDS, warm=0)
    best = {name: min((row["value"] for row in rows), key=lambda v: v["CPU s"]) for name, rows in found.items()}
    tubes = tube_rows()
    wide = [row for row, radius in zip(tubes, TUBE_RADII, strict=True) if radius >= 2]
    rows = [{"what": name, **figures} for name, figures in best.items()] + tubes
    rows += [
        {"what": "all tubes, most over least", "most": spread(tubes)},
        {"what": "of 2 mm and more", "most": spread(wide)},
    ]
    seconds = best[MAIN]["CPU s"] / min(best[name]["CPU s"] for name in PEERS)
    bounds = {
        "AUC": best[MAIN]["AUC"] >= 0.94,
        "F1": best[MAIN]["F1"] >= 0.70,
        "seconds": seconds <= 2,
        "tubes of 2 to 4 mm": spread(wide) <= 1.15,
        "tubes of 1 to 4 mm": spread(tubes) <= 1.15,
    }
    held, claim = all(bounds.values()), ", ".join(f"{name}: {'yes' if ok else 'no'}" for name, ok in bounds.items())
    return {"rows": rows, "seconds_over_peer": seconds, "claim": claim, "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(task_of(given.side[0]))
    else:
        sys.exit(told(run(given.threads, given.rounds, given.peers)))
