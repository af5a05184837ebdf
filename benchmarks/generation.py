"""Made images beside real ones that were blurred, and translation against a critic beside regression.

A rectified flow learns ultrasound crops (BreastMNIST, its training split) for so many processor's seconds on one
thread. As many images as there are validation images are made, and compared with these by KID on our 24 features;
beside them stand the training images themselves, whole and blurred by a Gaussian of one element.

Synthetic CT patients are translated into an image of uptake, which each tissue takes up by itself with a grain of a few
millimetres that the CT does not show: by regression, and against a critic with the same generator for the same seconds.
Sharpness is the root mean square of the Laplacian as a share of that of the truth.

Bounds: the flow's KID below that of blurred real images; against the critic sharper, at no more than 5 % more error.
"""

from __future__ import annotations

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

SECONDS = {"flow": 300.0, "regression": 200.0, "adversarial": 200.0}
MORE_ERROR = 1.05
BREAST = denoise.DATA.parent / "cls_medmnist" / "breastmnist.npz"
PATIENTS, HELD_OUT = 24, 8
UPTAKE = np.array([0.1, 0.6, 3.0, 5.0, 2.0, 1.5, 4.0, 2.5, 1.0, 6.0])


def flow() -> Callable[[], dict[str, float]]:
    """Give what trains the flow and compares what it makes."""

    def measure() -> dict[str, float]:
        from scipy import ndimage

        from medgrad import metrics
        from medgrad.data import Grid, Image
        from medgrad.data.cohorts.layouts import Hints, recognise
        from medgrad.engine.evaluation.opened_run import open_run
        from medgrad.engine.training.fit import fit

        folder = Path(tempfile.mkdtemp())
        changes = {"training": {"threads": 1, "validations": 1, "validation_cases": 4}}
        cohort = recognise(BREAST, Hints(task="generation", kind="synthetic_self"))
        pace = seconds_a_step(cohort, folder / "pace", changes)
        fit(cohort, folder / "run", steps=int(SECONDS["flow"] / pace), changes=changes)
        opened = open_run(folder / "run")
        with np.load(BREAST) as arrays:
            real, train = (arrays[f"{side}_images"].astype(np.float64) for side in ("val", "train"))
        chosen = train[np.random.default_rng(0).permutation(len(train))[: len(real)]]
        made = [opened.predict_case(opened.task.noise_case(str(i), (0, i))).array for i in range(len(real))]
        sets = {
            "rectified flow": made,
            "training images": chosen,
            "training images, blurred": [ndimage.gaussian_filter(image, 1.0) for image in chosen],
            "noise of their moments": list(np.random.default_rng(1).normal(real.mean(), real.std(), real.shape)),
        }
        grid = Grid.from_shape(real.shape[1:])
        found = {}
        for name, images in sets.items():
            pairs = [(Image(a, grid), Image(np.asarray(b), grid)) for a, b in zip(real, images, strict=True)]
            found[name] = float(metrics.pool(["kid"], [metrics.judge(["kid"], a, b) for a, b in pairs])["kid"] or 0)
        return found

    return measure


def write_patients(folder: Path) -> None:
    """Write CT and uptake of synthetic patients; the last of them are held out."""
    from scipy import ndimage

    from medgrad.data import Image
    from medgrad.data.cohorts.phantom import Phantom, make_patient
    from medgrad.data.formats import write

    phantom = Phantom(patients=PATIENTS, seed=0, shape=(56, 56, 32), spacing_mm=(4.0, 4.0, 4.0))
    for number in range(PATIENTS):
        study = make_patient(phantom, number).studies[0]
        labels, rng = study.labels.array.astype(int), np.random.default_rng(number)
        grain = ndimage.gaussian_filter(rng.normal(size=labels.shape), 0.7)
        uptake = UPTAKE[labels % len(UPTAKE)] * np.exp(0.6 * grain / grain.std() * 0.5)
        side = "held" if number >= PATIENTS - HELD_OUT else "learn"
        write(folder / side / "ct" / f"p_{number:02d}.nii.gz", study.image)
        write(folder / side / "uptake" / f"p_{number:02d}.nii.gz", Image(uptake.astype(np.float32), study.image.grid))


def translation(kind: str) -> Callable[[], dict[str, float]]:
    """Give what trains a translator, and measures error and sharpness on held-out patients."""

    def measure() -> dict[str, float]:
        from scipy import ndimage

        from medgrad.data.cohorts.layouts import Hints, recognise
        from medgrad.data.formats import read
        from medgrad.engine.evaluation.opened_run import open_run
        from medgrad.engine.training.fit import fit

        folder = Path(tempfile.mkdtemp())
        write_patients(folder)
        changes: dict[str, Any] = {"training": {"threads": 1, "validations": 1, "validation_cases": 4}}
        if kind == "adversarial":
            changes |= {
                "model": {"name": "adversarial_pair"},
                "gradients": [{"name": "adversarial"}, {"name": "clipped", "norm": 1.0}],
                "rates": [{"match": "critic*", "rate": 0.5}],
            }
        else:
            changes |= {"model": {"name": "unet", "channels": [16, 32, 64], "normalise": "batch"}}
        cohort = recognise(folder / "learn", Hints(truth="uptake", task="translation", kind="synthetic_image"))
        pace = seconds_a_step(cohort, folder / "pace", changes)
        fit(cohort, folder / "run", steps=int(SECONDS[kind] / pace), changes=changes)
        opened, errors, sharp, wanted = open_run(folder / "run"), [], [], []
        for path in sorted((folder / "held" / "ct").glob("*.nii.gz")):
            answer = opened.predict(path).array.astype(np.float64)
            truth = read(folder / "held" / "uptake" / path.name).array.astype(np.float64)
            errors.append(np.abs(answer - truth).mean())
            sharp.append(np.sqrt((ndimage.laplace(answer) ** 2).mean()))
            wanted.append(np.sqrt((ndimage.laplace(truth) ** 2).mean()))
        return {"error": float(np.mean(errors)), "sharpness": float(np.mean(sharp) / np.mean(wanted))}

    return measure


def run() -> dict[str, Any]:
    """Measure all, two at a time, and give a row for each."""
    if not BREAST.exists():
        return {"skipped": f"There is no {BREAST.name!r} beside this folder, so there is nothing to learn from."}
    sides = {name: Side(__file__, name) for name in SECONDS}
    with ThreadPoolExecutor(2) as pool:
        asked = {name: pool.submit(side.ask) for name, side in sides.items()}
        found = {name: answer.result()["value"] for name, answer in asked.items()}
    for side in sides.values():
        side.close()
    kids, plain, critic = found["flow"], found["regression"], found["adversarial"]
    rows: list[dict[str, Any]] = [{"what": name, "KID": value} for name, value in kids.items()]
    rows += [{"what": f"translated, {name}", **found[name]} for name in ("regression", "adversarial")]
    is_sharper = critic["sharpness"] > plain["sharpness"] and critic["error"] <= MORE_ERROR * plain["error"]
    is_nearer = kids["rectified flow"] < kids["training images, blurred"]
    claim = (
        f"the flow nearer than blurred images: {'yes' if is_nearer else 'no'}; against the critic sharper at 5 % more "
        f"error: {'yes' if is_sharper else 'no'}"
    )
    return {"rows": rows, "claim": claim, "held": is_nearer and is_sharper}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        what = given.side[0]
        serve(flow() if what == "flow" else translation(what))
        sys.exit(0)
    sys.exit(told(run()))
