"""Artefacts of CT and MR taken away, by exact steps and by learned runs, on images that no run has learned from.

Runs learn on one thread for 300 of the processor's seconds, from images that their recipe degrades; then they are
shown artefacts that are simulated by other means (``_artefacts.py``) and in strengths that nothing was tuned to. CT
runs learn from slices of eight phantoms, a lung and an abdomen, and are judged on two other phantoms and on the CT of a
thigh. MR runs learn from the training images of the hippocampus set and are judged on its validation images.

Rings: detectors of uneven gain, whole rings and arcs (40 %), 0.7 to 3.5 elements wide, in each slice others. What is
left is the mean square (and the root of it) of corrected minus clean, against ringed minus clean. Motion: lines of
k-space from four positions. Metal: steel in a scan of four energies with photon noise; RMSE outside of the metal in the
slices that have some. Gibbs: k-space cut to half (hippocampi, in planes of 1 mm) or to an eighth (Shepp and Logan's
head); PSNR against the mean over each element of the image that was not cut. Clean: what changes in images that have no
artefact.

Bounds: 70 % of the energy of rings gone, by the exact step or by the run; 40 % of the mean square error of motion and
50 % of the RMSE of metal gone; PSNR after the exact step no worse than after dipy's ``gibbs_removal``; clean images
changed by at most 2 HU RMS in CT and 0.5 % of the range in MR.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import _artefacts as simulate
import numpy as np
from _race import Side, serve, settings, told

SHARED = Path(__file__).parents[2] / "shared" / "data"
HIPPOCAMPI, THIGH = SHARED / "seg3d_hippocampus", SHARED / "dicom_zoo" / "series_STS_002" / "CT" / "image"
LUNG = SHARED / "radiomics_ibsi" / "ct_phantom" / "image" / "phantom.nii.gz"
ABDOMEN = SHARED / "dicom_zoo" / "dcmqi"
SECONDS = 300.0
STRENGTHS_HU = (40, 80)
DEGREES, SHIFT = 4.0, 3.0
SLICES = slice(16, 32)
RINGS_LEFT, MOTION_LEFT, METAL_LEFT, CLEAN_HU, CLEAN_SHARE = 0.3, 0.6, 0.5, 2.0, 0.005
OPTIMISER = {"name": "muon", "rate": 0.02, "decay": 0.01}
FLAT = {"name": "image_unet", "channels": (32, 64, 64), "strides": ((2, 2), (2, 2)), "normalise": "batch"}
SOLID = {"name": "image_unet", "channels": (16, 32, 64), "strides": ((2, 2, 2), (2, 2, 2)), "normalise": "batch"}
CT = {"name": "normalise", "method": "window", "low": -1e6, "high": 1e6, "mean": 0.0, "deviation": 400.0}
DEGRADED = {
    "rings": {"name": "rings", "min_std": 0.02, "max_std": 0.25, "offset": 0.6},
    "metal": {"name": "metal", "min_std": 0.03, "max_std": 1.0, "min_value": 7.6, "max_value": 7.7},
    "motion": {"name": "motion", "p": 0.85, "degrees": 8.0, "shift": 5.0, "axis": 1},
}


def phantom(number: int) -> Any:
    """Give the first CT of a patient of the phantom."""
    from medgrad.data.cohorts.phantom import Phantom, make_patient

    return make_patient(Phantom(dates=(1, 1)), number).studies[0].image


def judged_ct() -> dict[str, tuple[Any, float]]:
    """Give slices of the CT that are judged in HU, with their spacing in the plane, by name."""
    from medgrad.data.formats import read

    images = {"phantom 21": phantom(20), "phantom 22": phantom(21), "thigh": read(THIGH)}
    return {name: (np.float32(i.array[..., SLICES]), float(i.grid.spacing[0])) for name, i in images.items()}


def hippocampi(side: str) -> dict[str, Any]:
    """Give the images of one side of the split, by name."""
    import nibabel

    names = json.loads((HIPPOCAMPI / "split.json").read_text(encoding="utf-8"))[side]
    paths = {name: HIPPOCAMPI / "images" / f"hippocampus_{name}.nii.gz" for name in names}
    return {name: np.asarray(nibabel.load(path).dataobj, np.float32) for name, path in paths.items()}


def write_slices(folder: Path) -> None:
    """Write the slices of CT to learn from."""
    from medgrad.data import Grid, Image
    from medgrad.data.formats import read, write

    lung, abdomen = read(LUNG), [read(path) for path in sorted(ABDOMEN.glob("segmentations__ct-3slice__0*.dcm"))]
    found = [(lung.array[..., k], lung.grid.spacing) for k in range(2, lung.array.shape[2], 2)]
    found += [(np.squeeze(one.array), one.grid.spacing) for one in abdomen]
    for number in range(8):
        image = phantom(number)
        found += [(image.array[..., k], image.grid.spacing) for k in range(4, image.array.shape[2], 7)]
    for number, (array, spacing) in enumerate(found):
        values = np.ascontiguousarray(np.clip(array, -1024, 3071), np.float32)
        image = Image(values, Grid.from_shape(values.shape, spacing=spacing[:2]), "ct")
        write(folder / f"slice_{number:03d}.nii.gz", image)


def learn(what: str) -> tuple[Any, float, int]:
    """Train a run for some of the processor's seconds; give it, the seconds that it took, and its steps."""
    from medgrad.data.cohorts.layouts import Hints, recognise
    from medgrad.engine.evaluation.opened_run import open_run
    from medgrad.engine.training.fit import fit

    folder = Path(tempfile.mkdtemp())
    changes: dict[str, Any] = {
        "optimiser": OPTIMISER,
        "model": SOLID if what == "motion" else FLAT,
        "augment": [{"name": "flip", "axes": [0, 1, 2] if what == "motion" else [0, 1]}, DEGRADED[what]],
        "training": {"threads": 1, "validations": 1, "validation_cases": 2},
    }
    if what != "motion":
        write_slices(folder / "ct")
        changes["prepare"] = [CT]
        changes["training"] |= {"patch": [96, 96], "batch": 8}
    source = HIPPOCAMPI if what == "motion" else folder / "ct"
    cohort = recognise(source, Hints(task="restoration", kind="self"))
    taken = {}
    for steps in (4, 64):
        began = time.process_time()
        fit(cohort, folder / str(steps), steps=steps, changes=changes)
        taken[steps] = time.process_time() - began
    steps = int(SECONDS * 60 / max(1.0, taken[64] - taken[4]))
    began = time.process_time()
    fit(cohort, folder / "run", steps=steps, changes=changes)
    return open_run(folder / "run"), time.process_time() - began, steps


def answer_slices(run: Any, values: Any, spacing: float) -> Any:
    """Give a run's answers about slices (x, y, slices)."""
    from medgrad.data import Grid, Image

    grid = Grid.from_shape(values.shape[:2], spacing=(spacing, spacing))
    slices = [np.ascontiguousarray(values[..., k], np.float32) for k in range(values.shape[2])]
    return np.stack([run.predict(Image(one, grid, "ct")).array for one in slices], -1)


def row(what: str, how: str, on: str, before: float, after: float, **more: Any) -> dict[str, Any]:
    """Give a row of root mean squares before and after."""
    left = (after / before) ** 2 if before else None
    kept = {"RMS before": before or None, "RMS after": after, "left, mean square": left}
    return {"what": what, "how": how, "on": on, **kept, "left, RMS": after / before if before else None, **more}


def rms(difference: Any) -> float:
    """Give the root mean square."""
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


def ringed(how: str, fix: Callable[[Any, float], Any]) -> list[dict[str, Any]]:
    """Give rows of rings and of clean images, by what corrects slices of a spacing."""
    rows = []
    for number, (name, (clean, spacing)) in enumerate(judged_ct().items()):
        centre = ((clean.shape[0] - 1) / 2, (clean.shape[1] - 1) / 2)
        for strength in STRENGTHS_HU:
            rng = np.random.default_rng((number, strength))
            added = simulate.rings(clean, rng, strength=strength, centre=centre)
            found = fix(clean + added, spacing)
            rows.append(row(f"rings of {strength} HU", how, name, rms(added), rms(found - clean)))
        rows.append(row("clean CT, HU", how, name, 0.0, rms(fix(clean, spacing) - clean)))
    return rows


def exact_rings() -> list[dict[str, Any]]:
    """Judge the step that takes rings away."""
    from medgrad.prepare.dering import Dering

    return ringed("dering", lambda values, spacing: Dering().change(values, (spacing, spacing, 3.0))[0])


def learned_rings() -> list[dict[str, Any]]:
    """Train and judge the run that takes rings away."""
    run, seconds, steps = learn("rings")
    rows = ringed("run", lambda values, spacing: answer_slices(run, values, spacing))
    return [*rows, {"what": "rings", "how": "run", "CPU s": seconds, "steps": steps}]


def learned_metal() -> list[dict[str, Any]]:
    """Train and judge the run that takes streaks of metal away."""
    run, seconds, steps = learn("metal")
    rows = []
    for number, (name, (clean, spacing)) in enumerate(judged_ct().items()):
        shown, is_metal = simulate.metal(clean[..., ::2], spacing, np.random.default_rng((number, 7)))
        has_metal = is_metal.any((0, 1))
        outside = ~is_metal[..., has_metal]
        found = answer_slices(run, shown[..., has_metal], spacing)
        wanted = clean[..., ::2][..., has_metal]
        before = rms((shown[..., has_metal] - wanted)[outside])
        rows.append(row("metal, HU", "run", name, before, rms((found - wanted)[outside])))
        rows.append(row("clean CT, HU", "run of metal", name, 0.0, rms(answer_slices(run, clean, spacing) - clean)))
    return [*rows, {"what": "metal", "how": "run", "CPU s": seconds, "steps": steps}]


def learned_motion() -> list[dict[str, Any]]:
    """Train and judge the run that takes motion away; values are shares of each image's maximum."""
    from medgrad.data import Grid, Image

    run, seconds, steps = learn("motion")
    errors = []
    for name, image in hippocampi("val").items():
        clean, grid = image / image.max(), Grid.from_shape(image.shape, spacing=(1, 1, 1))
        shown = simulate.move(clean, np.random.default_rng(int(name)), degrees=DEGREES, shift=SHIFT, axis=1)
        answers = [run.predict(Image(np.float32(one), grid, "mr")).array for one in (shown, clean)]
        errors.append([rms(shown - clean), rms(answers[0] - clean), rms(answers[1] - clean)])
    before, after, changed = (rms(column) for column in np.transpose(errors))
    rows = [row("motion, share of range", "run", "40 hippocampi", before, after)]
    rows.append(row("clean MR, share of range", "run of motion", "40 hippocampi", 0.0, changed))
    return [*rows, {"what": "motion", "how": "run", "CPU s": seconds, "steps": steps}]


def gibbs(how: str) -> list[dict[str, Any]]:
    """Judge the exact step, or dipy's."""
    if how == "ours":
        from medgrad.prepare.degibbs import Degibbs

        def fix(values: Any) -> Any:
            return Degibbs().change(values, (1.0, 1.0, 3.0)[: values.ndim])[0]

    else:
        from dipy.denoise.gibbs import gibbs_removal

        def fix(values: Any) -> Any:
            return gibbs_removal(values, slice_axis=2, inplace=False)

    found: dict[str, list[tuple[float, float, float]]] = {}
    for name, shown, wanted in gibbs_images():
        began = time.process_time()
        fixed = fix(shown)
        seconds, peak = time.process_time() - began, float(wanted.max())
        noise = [20 * np.log10(peak / rms(one - wanted)) for one in (shown, fixed)]
        found.setdefault(name, []).append((*noise, seconds))
    rows = []
    for name, values in found.items():
        before, after, seconds = np.mean(values, 0).tolist()
        rows.append({"what": "gibbs", "how": how, "on": name, "PSNR before": before, "PSNR after": after,
                     "CPU s": seconds})  # fmt: skip
    return rows


def gibbs_images() -> list[tuple[str, Any, Any]]:
    """Give name, truncated image, and what it should be."""
    found = []
    for image in hippocampi("val").values():
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        found.append(("40 hippocampi", *simulate.cut_frequencies(even, 2)))
    for n in (64, 96, 128):
        found.append((f"head of {n}", *simulate.cut_frequencies(simulate.head(8 * n), 8)))
    return found


TASKS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "rings": learned_rings,
    "metal": learned_metal,
    "motion": learned_motion,
    "dering": exact_rings,
    "ours": lambda: gibbs("ours"),
    "dipy": lambda: gibbs("dipy"),
}


def run(peers: str = "") -> dict[str, Any]:
    """Train and judge all, two at a time, and give the rows."""
    missing = [p.name for p in (HIPPOCAMPI, THIGH, LUNG, ABDOMEN) if not p.exists()]
    if missing:
        return {"skipped": f"There is no {missing[0]!r} beside this folder, so there is nothing to judge on."}
    sides = {name: Side(__file__, name, python=sys.executable) for name in TASKS if name != "dipy"}
    if peers:
        sides["dipy"] = Side(__file__, "dipy", python=peers)
    with ThreadPoolExecutor(2) as pool:
        answers = {name: pool.submit(side.ask) for name, side in sides.items()}
        rows = [one for answer in answers.values() for one in answer.result()["value"]]
    for side in sides.values():
        side.close()
    held = bounds(rows)
    claim = ", ".join(f"{name}: {'yes' if ok else 'no'}" for name, ok in held.items())
    return {"rows": rows, "claim": claim, "held": all(held.values())}


def bounds(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Tell which bounds hold, each on all of its images."""

    def of(begin: str, *hows: str) -> list[dict[str, Any]]:
        return [r for r in rows if r["what"].startswith(begin) and "on" in r and (not hows or r["how"] in hows)]

    def left(begin: str, key: str, most: float, how: str) -> bool:
        return all(r[key] <= most for r in of(begin, how))

    held = {
        "rings by the step": left("rings", "left, mean square", RINGS_LEFT, "dering"),
        "rings by a run": left("rings", "left, mean square", RINGS_LEFT, "run"),
        "motion": left("motion", "left, mean square", MOTION_LEFT, "run"),
        "metal": left("metal", "left, RMS", METAL_LEFT, "run"),
        "clean CT": all(r["RMS after"] <= CLEAN_HU for r in of("clean CT")),
        "clean MR": all(r["RMS after"] <= CLEAN_SHARE for r in of("clean MR")),
    }
    theirs = {r["on"]: r["PSNR after"] for r in of("gibbs", "dipy")}
    if theirs:
        held["gibbs"] = all(r["PSNR after"] >= theirs[r["on"]] for r in of("gibbs", "ours"))
    return held


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(TASKS[given.side[0]])
        sys.exit(0)
    sys.exit(told(run(given.peers)))
