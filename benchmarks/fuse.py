"""Fusion of several focuses, and of a PET with a CT: ours beside PyWavelets and OpenCV.

Focuses: 48 ultrasound images of BUSI (8 bit) and the 40 validation volumes of the hippocampus set, every second one
with each third slice alone (spacing 1 x 1 x 3 mm). Each gives two or three inputs, which are sharp in one part of it
and blurred elsewhere: parts of random shape, Gaussians of 1, 2 or 3 pixels (1, 1.5 or 2 mm in the volumes), seams sharp
or 4 pixels wide (2 mm). PSNR is against the image before the blur; its range is 255, or the maximum of the volume.

PyWavelets: `wavedecn` by db2 in at most 5 levels, the coefficient of largest size in each band, the mean of the
coarsest; once more by the undecimated `swtn`, flat images alone. OpenCV: `createMergeMertens` with weights 1, 0, 0
(contrast alone), flat images alone. Of ours, the number of levels and the sharpness of the choice were set on 24 of the
ultrasound images, and nothing on the volumes. The peers have their own defaults otherwise. What is fused of 8 bit is
rounded to 8 bit on every side; the mean that gains are counted from is not.

PET and CT: the patient of dicom_zoo/series_STS_002, with our defaults, on the grid of either. The distance of the
hottest point of the PET to the maximum of the whole fused image, and to the maximum within 15 mm of that point, in
elements of the PET along the axis where it is largest. That guided filters compare saliency at the larger elements
was decided on this patient. The maximum of the whole is the harder claim and the one that
is bound: nothing of the CT may outshine the lesion.

Equal inputs: the largest difference over the range, 2D and 3D, odd shapes and single slices, in the unit and rescaled.

Bound: each of pyramid, wavelet and guided at least 3 dB above the mean of the inputs on every image, the hottest point
within one element of the PET by all methods, and equal inputs back within 1e-5.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from _race import Side, race, serve, settings, told

DATA = Path(__file__).parents[2] / "shared" / "data"
PATIENT = DATA / "dicom_zoo" / "series_STS_002"
FLAT, GAIN, NEAR, EQUAL = 48, 3.0, 1.0, 1e-5
METHODS = ("pyramid", "wavelet", "guided", "mean")
PEERS = {"PyWavelets wavedecn": "pywt", "PyWavelets swtn": "pywt", "OpenCV MergeMertens": "cv2"}
SHAPES = ((64, 64), (37, 51), (1, 17), (33, 29, 21), (40, 31, 1), (1, 1, 1))


def scenes(dims: int) -> Iterator[tuple[Any, list[Any], tuple[float, ...]]]:
    """Give an image, its focuses and its spacing, of every image of 2 or 3 axes."""
    from scipy import ndimage

    for number, (image, spacing) in enumerate(flat_images() if dims == 2 else volumes()):
        rng, count = np.random.default_rng(number), 2 + number % 2
        blur = ((1, 2, 3) if dims == 2 else (1, 1.5, 2))[number // 4 % 3]
        seam = (0, 4 if dims == 2 else 2)[number // 2 % 2]
        widths = [[w / s for s in spacing] for w in (40 if dims == 2 else 8, blur, seam)]
        fields = [ndimage.gaussian_filter(rng.normal(size=image.shape), widths[0]) for _ in range(count)]
        parts = [(np.argmax(fields, axis=0) == part).astype(np.float32) for part in range(count)]
        parts = [ndimage.gaussian_filter(part, widths[2]) for part in parts] if seam else parts
        soft = ndimage.gaussian_filter(image, widths[1], mode="nearest")
        inputs = [part * image + (1 - part) * soft for part in parts]
        yield image, [np.rint(i).astype(np.uint8) for i in inputs] if dims == 2 else inputs, spacing


def flat_images() -> Iterator[tuple[Any, tuple[float, ...]]]:
    """Read the ultrasound images."""
    from PIL import Image

    names = sorted((DATA / "cls2d_busi" / "images").glob("*.jpg"))
    for path in names[:: len(names) // FLAT][:FLAT]:
        yield np.asarray(Image.open(path).convert("L"), np.float32), (1.0, 1.0)


def volumes() -> Iterator[tuple[Any, tuple[float, ...]]]:
    """Read the validation volumes, every second one with each third slice alone."""
    import nibabel

    folder = DATA / "seg3d_hippocampus"
    for number, name in enumerate(json.loads((folder / "split.json").read_text(encoding="utf-8"))["val"]):
        image = np.asarray(nibabel.load(folder / "images" / f"hippocampus_{name}.nii.gz").dataobj, np.float32)
        yield (image[..., ::3], (1.0, 1.0, 3.0)) if number % 2 else (image, (1.0, 1.0, 1.0))


def fuser(side: str) -> Callable[[Sequence[Any], tuple[float, ...]], Any]:
    """Give one side's function of inputs and their spacing."""
    if side in METHODS:
        from medgrad.data import Case, Grid, Image
        from medgrad.prepare.fuse import Fuse

        def ours(inputs: Sequence[Any], spacing: tuple[float, ...]) -> Any:
            grid = Grid.from_shape(inputs[0].shape, spacing=spacing)
            images = {str(place): Image(array, grid, "us") for place, array in enumerate(inputs)}
            return Fuse(method=side).apply(Case("a", images))[0].images["0"].array  # type: ignore[arg-type]

        return ours
    if side == "OpenCV MergeMertens":
        import cv2

        merge = cv2.createMergeMertens(1, 0, 0)
        return lambda inputs, _: np.rint(
            np.clip(merge.process([cv2.merge([i] * 3) for i in inputs])[..., 0], 0, 1) * 255
        )
    return lambda inputs, _: largest_coefficients(inputs, is_decimated=side == "PyWavelets wavedecn")


def largest_coefficients(inputs: Sequence[Any], *, is_decimated: bool) -> Any:
    """Fuse by the largest coefficients of PyWavelets, and the mean of the coarsest."""
    import pywt

    shape = inputs[0].shape
    levels = min(5, *(pywt.dwt_max_level(n, "db2") or 1 for n in shape))
    if is_decimated:
        trees = [pywt.wavedecn(np.asarray(i, float), "db2", "symmetric", levels) for i in inputs]
        details = [
            {band: largest([t[at][band] for t in trees]) for band in trees[0][at]} for at in range(1, levels + 1)
        ]
        found = pywt.waverecn([np.mean([t[0] for t in trees], axis=0), *details], "db2", "symmetric")
    else:
        padded = [np.pad(np.asarray(i, float), [(0, -n % 2**levels) for n in shape], mode="symmetric") for i in inputs]
        trees = [pywt.swtn(p, "db2", levels, trim_approx=True) for p in padded]
        details = [
            {band: largest([t[at][band] for t in trees]) for band in trees[0][at]} for at in range(1, levels + 1)
        ]
        found = pywt.iswtn([np.mean([t[0] for t in trees], axis=0), *details], "db2")
    found = found[tuple(slice(n) for n in shape)]
    return np.clip(np.rint(found), 0, 255) if inputs[0].dtype == np.uint8 else found


def largest(parts: Sequence[Any]) -> Any:
    """Give at each place the value that is farthest from 0."""
    stacked = np.stack(parts)
    return np.take_along_axis(stacked, np.abs(stacked).argmax(0)[None], 0)[0]


def task_of(side: str) -> Callable[[], dict[str, Any]]:
    """Give a task that fuses all scenes, and tells PSNR, what it is above the mean of the inputs, and seconds."""
    fuse, read = fuser(side), cache(lambda dims: list(scenes(dims)))

    def task() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for dims in (2,) if side in ("OpenCV MergeMertens", "PyWavelets swtn") else (2, 3):
            psnrs, gains, seconds = [], [], 0.0
            for image, inputs, spacing in read(dims):
                began = process_time()
                fused = fuse(inputs, spacing)
                seconds += process_time() - began
                top = 255.0 if dims == 2 else float(image.max())
                psnrs.append(psnr(fused, image, top))
                gains.append(psnrs[-1] - psnr(np.mean(inputs, axis=0, dtype=np.float64), image, top))
            found[f"{dims}D"] = {
                "images": len(psnrs),
                "PSNR dB": float(np.mean(psnrs)),
                "gain dB": float(np.mean(gains)),
                "least gain dB": min(gains),
                "CPU ms": 1e3 * seconds / len(psnrs),
            }
        return found

    return task


def psnr(found: Any, image: Any, top: float) -> float:
    """Give the peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(top**2 / np.mean((np.asarray(found, np.float64) - image) ** 2)))


def hottest_rows() -> list[dict[str, Any]]:
    """Give how far the maximum of fused PET and CT lies from the hottest point of the PET, in its elements."""
    from medgrad.data import Case
    from medgrad.data.formats import read
    from medgrad.prepare.fuse import Fuse

    images = {name: read(PATIENT / name / "image") for name in ("PET", "CT")}
    pet = images["PET"].grid
    hot = np.array(np.unravel_index(images["PET"].array.argmax(), pet.shape))
    rows = []
    for first, other in (("CT", "PET"), ("PET", "CT")):
        for method in METHODS:
            case = Case("a", {first: images[first], other: images[other]})
            fused = Fuse(method=method).apply(case)[0].images[first]  # type: ignore[arg-type]
            at = np.moveaxis(np.indices(fused.grid.shape), 0, -1).reshape(-1, 3)
            world = fused.grid.to_world(at)
            is_near = np.linalg.norm(world - pet.to_world(hot), axis=1) <= 15
            values = fused.array.reshape(-1)
            tops = [world[values.argmax()], world[np.where(is_near, values, -np.inf).argmax()]]
            far = [float(np.abs(pet.to_index(top) - hot).max()) for top in tops]
            rows.append({"what": f"PET and CT on {first}, {method}", "hottest, whole": far[0], "within 15 mm": far[1]})
    return rows


def equal_row() -> dict[str, Any]:
    """Give the largest difference of fused equal inputs to what went in, over its range."""
    from medgrad.data import Case, Grid, Image
    from medgrad.prepare.fuse import Fuse

    worst = 0.0
    for shape in SHAPES:
        array = np.random.default_rng(0).normal(500, 100, shape).astype(np.float32)
        image, span = Image(array, Grid.from_shape(shape), "ct"), max(float(np.ptp(array)), 1e-6)
        for method in METHODS:
            for rescale in ("never", "always"):
                step = Fuse(method=method, rescale=rescale, percentiles=(0, 100))  # type: ignore[arg-type]
                fused = step.apply(Case("a", {"a": image, "b": image, "c": image}))[0].images["a"].array
                wanted = array if rescale == "never" else (array - array.min()) / span
                worst = max(worst, float(np.abs(fused - wanted).max()) / (span if rescale == "never" else 1))
    return {"what": "equal inputs, largest difference over range", "difference": worst}


def has(python: str, module: str) -> bool:
    """Tell whether a Python can import a module."""
    return bool(python) and subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


def run(peers: str = "", threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Compare all; ``held`` tells whether the bounds do, ``skipped`` why nothing was measured."""
    absent = [p.name for p in (DATA / "cls2d_busi", DATA / "seg3d_hippocampus", PATIENT) if not p.exists()]
    if absent:
        return {"skipped": f"{absent[0]!r} is not beside this folder, so there is nothing to fuse."}
    sides = {method: Side(__file__, method, threads=threads) for method in METHODS}
    known = [name for name, module in PEERS.items() if has(peers, module)]
    sides |= {name: Side(__file__, name, python=peers, threads=threads) for name in known}
    found = race(sides, max(1, rounds), warm=0)
    rows: list[dict[str, Any]] = []
    for dims in ("2D", "3D"):
        for name, turns in found.items():
            if dims in turns[0]["value"]:
                best = min((turn["value"][dims] for turn in turns), key=lambda v: v["CPU ms"])
                rows.append({"what": f"{dims}, {'ours, ' if name in METHODS else ''}{name}", **best})
    ours = [row for row in rows if "ours" in row["what"] and not row["what"].endswith("mean")]
    hottest, equal = hottest_rows(), equal_row()
    held = (
        all(row["least gain dB"] >= GAIN for row in ours)
        and all(row["hottest, whole"] <= NEAR for row in hottest)
        and equal["difference"] <= EQUAL
    )
    claim = "3 dB above the mean on every image, the hottest point within one element of the PET, equal inputs to 1e-5"
    return {"rows": [*rows, *hottest, equal], "bound": GAIN, "claim": claim, "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(task_of(given.side[0]))
    else:
        sys.exit(told(run(given.peers, given.threads, given.rounds)))
