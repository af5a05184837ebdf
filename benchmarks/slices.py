"""Lost and thick slices of brain crops: learned and classical, beside linear and cubic interpolation.

Every second slice along the last axis is taken away (from the second on), or four slices are averaged into one; the
figures are PSNR on the validation images, over the slices that were lost and have known ones on both sides, or over the
whole image, the range being its maximum. Learned: ``fit --task restoration`` on the training images for so many
processor's seconds on one thread, with ``dropped_slices`` or ``thick_slices`` in the recipe, then ``process`` as its
chain has it: known slices come back to the bit, and the thin slices average to the thick one. Answers
about all flips of an image are averaged (``tta_flips``), which was chosen on the validation images: 1.88 dB above cubic
interpolation for thick slices, without them 1.35.

Bounds: lost slices learned 1.5 dB above linear interpolation, ``fill`` 0.3; known voxels equal to the bit; thick slices
learned 1.5 dB above cubic interpolation, averages within 0.5 % of the range.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import denoise
import numpy as np
from _race import Side, serve, settings, told
from restoration import seconds_a_step

SECONDS, FACTOR = 300.0, 4
ABOVE = {"lost learned": 1.5, "lost fill": 0.3, "thick learned": 1.5}
AVERAGES = 0.005


def validation_images() -> list[Any]:
    """Read the validation images."""
    import nibabel

    names = json.loads((denoise.DATA / "split.json").read_text(encoding="utf-8"))["val"]
    paths = [denoise.DATA / "images" / f"hippocampus_{name}.nii.gz" for name in names]
    return [np.asarray(nibabel.load(path).dataobj, np.float32) for path in paths]


def decibels(answer: Any, image: Any, slices: Any) -> float:
    """Give the PSNR over some slices along the last axis."""
    error = float(np.sqrt(((answer[..., slices] - image[..., slices]) ** 2).mean()))
    return 20 * float(np.log10(float(image.max()) / error))


def learned(folder: Path, recipe: dict[str, Any]) -> Any:
    """Train a run on the training images, and give it as a step."""
    from medgrad.data.cohorts.layouts import Hints, recognise
    from medgrad.engine.evaluation.run_step import load_run_step
    from medgrad.engine.training.fit import fit

    cohort = recognise(denoise.DATA, Hints(task="restoration", kind="self"))
    changes = recipe | {"training": {"threads": 1, "validations": 1, "validation_cases": 4}}
    pace = seconds_a_step(cohort, folder / "pace", changes)
    fit(cohort, folder / "run", steps=int(SECONDS / pace), changes=changes)
    return load_run_step(folder / "run")


def lost() -> Callable[[], dict[str, float]]:
    """Give what measures lost slices."""

    def measure() -> dict[str, float]:
        from medgrad.data import Case, Grid, Image
        from medgrad.prepare import build_steps

        reorient, scale = {"name": "reorient", "to": "RAS"}, {"name": "normalise", "method": "scale"}
        prepare = [reorient, {"name": "fill", "method": "interpolate"}, scale]
        recipe = {
            "prepare": prepare,
            "augment": [{"name": "flip", "axes": [0, 1, 2]}, {"name": "dropped_slices"}],
            "inference": {"tta_flips": [0, 1, 2]},
        }
        ways = {
            "linear": build_steps([{"name": "fill", "method": "interpolate"}])[0],
            "fill": build_steps([{"name": "fill"}])[0],
            "learned": learned(Path(tempfile.mkdtemp()), recipe),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        changed = 0
        for image in validation_images():
            gaps = np.arange(1, image.shape[-1] - 1, 2)
            spoiled = image.copy()
            spoiled[..., gaps] = np.nan
            known = np.isfinite(spoiled)
            grid = Grid.from_shape(image.shape, spacing=(1, 1, 1))
            for name, step in ways.items():
                answer = step.apply(Case("a", {"image": Image(spoiled, grid)}))[0].images["image"].array
                found[name].append(decibels(answer, image, gaps))
                changed += int((answer[known] != spoiled[known]).sum())
        return {name: float(np.mean(values)) for name, values in found.items()} | {"known changed": float(changed)}

    return measure


def thick() -> Callable[[], dict[str, float]]:
    """Give what measures thick slices."""

    def measure() -> dict[str, float]:
        from scipy import ndimage

        from medgrad.data import Case, Grid, Image
        from medgrad.prepare import build_steps
        from medgrad.prepare.thin_slices import group_means

        augment = [{"name": "flip", "axes": [0, 1, 2]}, {"name": "thick_slices", "factor": FACTOR}]
        recipe = {"augment": augment, "inference": {"tta_flips": [0, 1, 2]}}
        run, thin = learned(Path(tempfile.mkdtemp()), recipe), build_steps([{"name": "thin_slices"}])[0]
        found: dict[str, list[float]] = {"cubic": [], "thin_slices": [], "learned": []}
        averages = 0.0
        for whole in validation_images():
            image = whole[..., : whole.shape[-1] // FACTOR * FACTOR]
            means = group_means(image, 2, FACTOR).astype(np.float32)
            at = (np.arange(image.shape[-1]) + 0.5) / FACTOR - 0.5
            places = np.meshgrid(*(np.arange(n) for n in image.shape[:2]), at, indexing="ij")
            case = Case("a", {"image": Image(means, Grid.from_shape(means.shape, spacing=(1, 1, FACTOR)))})
            split = thin.apply(case)[0]
            answers = {
                "cubic": ndimage.map_coordinates(means, places, order=3, mode="nearest"),
                "thin_slices": split.images["image"].array,
                "learned": run.apply(split)[0].images["image"].array,
            }
            for name, answer in answers.items():
                found[name].append(decibels(answer, image, slice(None)))
            apart = np.abs(group_means(answers["learned"], 2, FACTOR) - means).max()
            averages = max(averages, float(apart / np.ptp(means)))
        return {name: float(np.mean(values)) for name, values in found.items()} | {"averages apart": averages}

    return measure


def run() -> dict[str, Any]:
    """Measure both at once, and give a row for each way."""
    if not denoise.DATA.exists():
        return {"skipped": f"There is no {denoise.DATA.name!r} beside this folder, so there is nothing to learn from."}
    sides = {name: Side(__file__, name) for name in ("lost", "thick")}
    with ThreadPoolExecutor(2) as pool:
        asked = {name: pool.submit(side.ask) for name, side in sides.items()}
        found = {name: answer.result()["value"] for name, answer in asked.items()}
    for side in sides.values():
        side.close()
    base = {"lost": "linear", "thick": "cubic"}
    rows = [
        {"slices": name, "way": way, "PSNR dB": value, "above": value - values[base[name]]}
        for name, values in found.items()
        for way, value in values.items()
        if " " not in way
    ]
    changed, averages = found["lost"]["known changed"], found["thick"]["averages apart"]
    above = {f"{row['slices']} {row['way']}": row["above"] for row in rows}
    held = all(above[name] >= more for name, more in ABOVE.items()) and not changed and averages <= AVERAGES
    claim = (
        f"learned 1.5 dB and fill 0.3 dB above linear, known voxels changed: {changed:g}, learned 1.5 dB above cubic, "
        f"averages apart by {100 * averages:.2g} % of the range"
    )
    return {"rows": rows, "claim": claim, "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve({"lost": lost, "thick": thick}[given.side[0]]())
        sys.exit(0)
    sys.exit(told(run()))
