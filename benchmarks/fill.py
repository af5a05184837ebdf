"""Filling of lost slices, of holes and of gaps in tables: ours beside linear and cubic interpolation and scikit-image.

Slices: of 40 brain crops every second slice along the last axis is lost, or three of four. PSNR in dB is over the lost
slices between known ones, its range is the maximum of the image, and the mean is over the images. Nothing is learned
from other images: motion and variogram are fitted on each by itself. Settings were chosen on other images.
"kriging alone" takes no motion, "motion alone" averages the two neighbours along it.

Holes: a cube of 12 voxels a side in each image, filled by ours and by scikit-image's ``inpaint_biharmonic``, a turn
after the other; PSNR is over the hole. A cube of 60 in a smooth random image of 128, in the middle and in a corner.

Tables: values are taken away at random from scikit-learn's sets; errors are in standard deviations of a column.

Bounds: every second slice at least 0.3 dB better than linear; the hole of 12 no worse than scikit-image's by 0.1 dB and
in less time; the hole of 60 in 10 s by the clock; every table nearer to the truth than by the median.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from _race import Side, race, serve, settings, told
from scipy import ndimage
from scipy.interpolate import CubicSpline

DATA = Path(__file__).parents[2] / "shared" / "data" / "seg3d_hippocampus"
DECIBELS, SECONDS, NEAR = 0.3, 10.0, 0.1
HOLE, LARGE_HOLE, SIDE = 12, 60, 128
HOLE_IMAGES = 8
TABLES, SHARES, SEEDS = ("iris", "diabetes", "breast_cancer"), (0.05, 0.2), 5


def images() -> Iterator[Any]:
    """Give every validation image."""
    import nibabel

    for name in json.loads((DATA / "split.json").read_text(encoding="utf-8"))["val"]:
        yield np.asarray(nibabel.load(DATA / "images" / f"hippocampus_{name}.nii.gz").dataobj, np.float32)


def psnr(found: Any, image: Any, where: Any) -> float:
    """Give the peak signal-to-noise ratio in dB over a part of an image."""
    return float(10 * np.log10(float(image.max()) ** 2 / np.mean((found - image)[where] ** 2, dtype=np.float64)))


def linear(stack: Any, lost: Sequence[int]) -> Any:
    """Interpolate slices linearly."""
    from medgrad.prepare._lost_slices import interpolate_slices

    return interpolate_slices(stack, lost)


def cubic(stack: Any, lost: Sequence[int]) -> Any:
    """Interpolate slices by a cubic spline."""
    known = np.setdiff1d(np.arange(len(stack)), lost)
    filled = stack.copy()
    filled[lost] = CubicSpline(known, stack[known])(lost)
    return filled


def motion_alone(stack: Any, lost: Sequence[int]) -> Any:
    """Average the two known neighbours along the motion, by nearness."""
    from medgrad.prepare import _lost_slices as ours

    known, filled = ours.known_slices(stack, lost), stack.copy()
    gaps = ours.list_gaps(known)
    for gap, motion in zip(gaps, ours.all_motions(stack, gaps, (1.0, 1.0, 1.0), ours.PULLS[1]), strict=True):
        for s in range(gap[0] + 1, gap[1]):
            seen = ours.followed(stack, known, gap, s, motion)
            share = (s - gap[0]) / (gap[1] - gap[0])
            filled[s] = (1 - share) * seen[gap[0] - s] + share * seen[gap[1] - s]
    return filled


def kriging_alone(stack: Any, lost: Sequence[int]) -> Any:
    """Krige slices without a motion."""
    from medgrad.prepare import _lost_slices as ours

    known, filled = ours.known_slices(stack, lost), stack.copy()
    for place, plane in ours.krige_gaps(stack, known, ours.list_gaps(known), (1.0, 1.0, 1.0), np.inf).items():
        filled[place] = plane
    return filled


def both(stack: Any, lost: Sequence[int]) -> Any:
    """Krige slices along the motion: the step's own way."""
    from medgrad.prepare._lost_slices import krige_slices

    return krige_slices(stack, lost, (1.0, 1.0, 1.0))


SLICE_WAYS: dict[str, Callable[[Any, Sequence[int]], Any]] = {
    "linear": linear,
    "cubic": cubic,
    "kriging alone": kriging_alone,
    "motion alone": motion_alone,
    "medgrad fill": both,
}


def slice_rows(every: int) -> list[dict[str, Any]]:
    """Measure each way with one known slice of so many."""
    found: dict[str, list[float]] = {way: [] for way in SLICE_WAYS}
    seconds = dict.fromkeys(SLICE_WAYS, 0.0)
    for image in images():
        stack = np.ascontiguousarray(np.moveaxis(image, 2, 0))
        lost = [i for i in range((len(stack) - 1) // every * every) if i % every]
        damaged = stack.copy()
        damaged[lost] = 0
        for way, fill in SLICE_WAYS.items():
            start = process_time()
            filled = fill(damaged, lost)
            seconds[way] += process_time() - start
            found[way].append(psnr(filled, stack, lost))
    gains = {way: np.array(values) - np.array(found["linear"]) for way, values in found.items()}
    return [
        {
            "what": f"1 slice of {every}: {way}",
            "images": len(values),
            "PSNR dB": float(np.mean(values)),
            "over linear dB": float(gains[way].mean()),
            "least over linear dB": float(gains[way].min()),
            "CPU s": seconds[way] / len(values),
        }
        for way, values in found.items()
    ]


def holes() -> Iterator[tuple[Any, Any]]:
    """Give images and the mask of a hole in each."""
    for number, image in enumerate(images()):
        rng = np.random.default_rng(number)
        mask = np.zeros(image.shape, bool)
        mask[tuple(slice(o, o + HOLE) for o in (rng.integers(4, n - HOLE - 4) for n in image.shape))] = True
        yield image, mask
        if number + 1 == HOLE_IMAGES:
            return


def task_of(side: str) -> Callable[[], list[float]]:
    """Give a task that fills the hole of every image, and tells the PSNR of each."""
    made = list(holes())

    def ours(image: Any, mask: Any) -> Any:
        from medgrad.data import Case, Grid, Image, LabelMap
        from medgrad.prepare.fill import Fill

        grid = Grid.from_shape(image.shape)
        case = Case("a", {"image": Image(image, grid)}, roi=LabelMap(mask.astype(np.uint8), grid))
        return Fill("biharmonic").apply(case)[0].images["image"].array

    def theirs(image: Any, mask: Any) -> Any:
        from skimage.restoration import inpaint_biharmonic

        return inpaint_biharmonic(image, mask)

    fill = ours if side == "ours" else theirs
    return lambda: [psnr(fill(np.where(mask, 0, image), mask), image, mask) for image, mask in made]


def hole_rows(peers: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Race ours and scikit-image on small holes."""
    names = {"ours": "medgrad fill, biharmonic", "skimage": "scikit-image inpaint_biharmonic"}
    sides = {s: Side(__file__, s, python=sys.executable if s == "ours" else peers, threads=threads) for s in names}
    found = race(sides, max(1, rounds))
    return [
        {
            "what": f"hole of {HOLE}: {names[side]}",
            "images": HOLE_IMAGES,
            "PSNR dB": float(np.mean(rows[0]["value"])),
            "CPU s": min(r["cpu"] for r in rows) / HOLE_IMAGES,
        }
        for side, rows in found.items()
    ]


def large_rows() -> list[dict[str, Any]]:
    """Fill a large hole in the middle and in a corner, and tell whether what is known stayed."""
    from medgrad.data import Case, Grid, Image, LabelMap
    from medgrad.prepare.fill import Fill

    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(SIDE,) * 3), 6).astype(np.float32)
    rows = []
    for where, start, spacing in (("middle", 34, 1.0), ("corner", 0, 1.0), ("corner, slices of 3 mm", 0, 3.0)):
        mask = np.zeros(smooth.shape, bool)
        mask[(slice(start, start + LARGE_HOLE),) * 3] = True
        grid = Grid.from_shape(smooth.shape, spacing=(1.0, 1.0, spacing))
        case = Case("a", {"image": Image(smooth, grid)}, roi=LabelMap(mask.astype(np.uint8), grid))
        wall, cpu = perf_counter(), process_time()
        filled = Fill("biharmonic").apply(case)[0].images["image"].array
        rows.append(
            {
                "what": f"hole of {LARGE_HOLE} in {SIDE}: {where}",
                "clock s": perf_counter() - wall,
                "CPU s": process_time() - cpu,
                "known equal": "yes" if np.array_equal(filled[~mask], smooth[~mask]) else "NO",
            }
        )
    return rows


def table_rows() -> list[dict[str, Any]]:
    """Fill tables from which a share of the values was taken away."""
    from sklearn import datasets

    from medgrad.prepare._table_rows import fill_table
    from medgrad.prepare.fill import Fill

    rows = []
    for name in TABLES:
        values = np.asarray(getattr(datasets, f"load_{name}")().data, np.float64)
        for share in SHARES:
            error: dict[str, list[float]] = {"median": [], "mean": [], "nearest": []}
            for seed in range(SEEDS):
                gaps = np.random.default_rng(seed).random(values.shape) < share
                for method in error:
                    filled = fill_table(np.where(gaps, np.nan, values), method, Fill().neighbours)
                    error[method].append(float(np.sqrt(np.mean(((filled - values) / values.std(0))[gaps] ** 2))))
            means = {f"RMSE {method}": float(np.mean(found)) for method, found in error.items()}
            rows.append({"what": f"{name}, {share:.0%} missing", **means})
    return rows


def run(peers: str = "", threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Measure all; ``held`` tells whether the bounds do, ``skipped`` why nothing was measured."""
    if not DATA.exists():
        return {"skipped": f"{DATA.name!r} is not beside this folder, so there is nothing to fill."}
    if not peers:
        return {"skipped": "Skipped: this needs a Python with scikit-image and nibabel; name it with --peers."}
    second, fourth = slice_rows(2), slice_rows(4)
    small, large, tables = hole_rows(peers, threads, rounds), large_rows(), table_rows()
    good = second[-1]["over linear dB"] >= DECIBELS
    small_good = small[0]["PSNR dB"] >= small[1]["PSNR dB"] - NEAR and small[0]["CPU s"] < small[1]["CPU s"]
    quick = all(row["clock s"] <= SECONDS and row["known equal"] == "yes" for row in large)
    near = all(row["RMSE nearest"] < row["RMSE median"] for row in tables)
    claim = (
        f"every second slice {DECIBELS:g} dB over linear, a hole of {HOLE} as near as scikit-image and sooner, one of "
        f"{LARGE_HOLE} in {SECONDS:g} s, tables nearer than by the median"
    )
    rows = [*second, *fourth, *small, *large, *tables]
    return {"rows": rows, "bound": DECIBELS, "claim": claim, "held": good and small_good and quick and near}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(task_of(given.side[0]))
    else:
        sys.exit(told(run(given.peers, given.threads, given.rounds)))
