"""Anomalies found by a network that learned from normal images alone, beside the plain z-score of the same images.

Hippocampi of MR (the split of the set: 160 to learn from, 40 held out), each judged as it is and with one planted ball
of 4 to 8 mm whose contrast is 1 to 3 standard deviations of its image, lighter or darker: the proposed recipe, which is
shown coarse noise, with two seeds, and the same steps with hidden blocks or white noise instead. Phantoms of CT: 32
normal patients to learn from and 8 to calibrate on; judged on 16 others with planted balls, and on 16 others with the
nodules and lesions of the phantom, of 4 to 8 mm. Ultrasound of breasts (BUSI, resized to 64 by 64): learned from images
that are normal, judged on held-out images by class, normal beside benign or malignant; text and callipers are burnt
into some of them, and some are nearly the same, so part of what is told apart may be these.

The z-score is that of each element over the training images, laid on each other by their middles. Both maps are
smoothed with their sign by a Gaussian of 1 mm. Differences are of the network less the z-score, with 95 % intervals
paired by patient. Held-out hippocampi and breasts also set the scale of the map, which changes no figure here, and are
asked about once, at the end, so that they choose no weights. Every side learns on one thread; the processor's seconds
are of fit in all, judging included.

Bound: on hippocampi the average precision of elements above the z-score by the whole interval, with both seeds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import denoise
import numpy as np
from _race import Side, serve, settings, told

BUSI = denoise.DATA.parent / "cls2d_busi"
FIGURES = {
    "element_average_precision": "AP of elements",
    "element_auroc": "AUROC of elements",
    "image_auroc": "AUROC of images",
}
HIDDEN = [{"name": "masked", "p": 1.0, "ratio": 0.3, "size": 6}]
WHITE = [{"name": "noise", "p": 1.0, "max_std": 0.4}]
TRAINING = {"threads": 1, "validations": 1, "validation_cases": 4}
SIDES: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "hippocampi, coarse noise, seed 0": ("hippocampi", "0", 150, {}),
    "hippocampi, coarse noise, seed 1": ("hippocampi", "1", 150, {}),
    "hippocampi, hidden blocks": ("hippocampi", "0", 150, {"augment": HIDDEN}),
    "hippocampi, white noise": ("hippocampi", "0", 150, {"augment": WHITE}),
    "phantoms of CT": ("phantoms", "0", 150, {}),
    "ultrasound of breasts": ("breasts", "0", 200, {}),
}


def learned(side: str) -> Callable[[], list[dict[str, Any]]]:
    """Give what trains one side, and gives a row for each set that it is judged on."""
    what, seed, steps, changes = SIDES[side]

    def measure() -> list[dict[str, Any]]:
        folder = Path(tempfile.mkdtemp())
        made = {"training": TRAINING, **changes}
        return {"hippocampi": hippocampi, "phantoms": phantoms, "breasts": breasts}[what](
            side, folder, int(seed), steps, made
        )

    return measure


def trained(cohort: Any, folder: Path, seed: int, steps: int, changes: dict[str, Any]) -> tuple[Any, float]:
    """Train a run, and give its evaluation and the processor's seconds."""
    from medgrad.engine.training.fit import fit

    began = time.process_time()
    fitted = fit(cohort, folder / "run", steps=steps, changes=changes, seed=seed)
    assert fitted is not None
    return fitted.evaluation, time.process_time() - began


def hippocampi(side: str, folder: Path, seed: int, steps: int, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Train on hippocampi."""
    from medgrad.data.cohorts.layouts import Hints, recognise

    cohort = recognise(denoise.DATA, Hints(task="anomaly", kind="synthetic_self"))
    found, seconds = trained(cohort, folder, seed, steps, changes)
    return [row_of(side, found, seconds)]


def write_phantoms(folder: Path, first: int, count: int, lesions: tuple[int, int]) -> Path:
    """Write patients of the phantom, images and masks of what does not belong, and give their folder."""
    from medgrad.data import LabelMap
    from medgrad.data.cohorts.phantom import LABELS, Phantom, make_patient
    from medgrad.data.formats import write

    phantom = Phantom(
        seed=0, shape=(64, 64, 40), dates=(1, 1), nodules=lesions, lesions=lesions, diameters_mm=(4.0, 8.0)
    )
    ill = [value for value, name in enumerate(LABELS, 1) if name in ("nodule", "lesion")]
    for number in range(first, first + count):
        study = make_patient(phantom, number).studies[0]
        mask = np.isin(study.labels.array, ill).astype(np.uint8)
        write(folder / "images" / f"p_{number:03d}.nii.gz", study.image)
        if lesions[1]:
            write(folder / "labels" / f"p_{number:03d}.nii.gz", LabelMap(mask, study.labels.grid))
    return folder


def phantoms(side: str, folder: Path, seed: int, steps: int, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Train on normal phantoms; judge on others with planted balls, and on others with lesions of the phantom."""
    from medgrad.data.cohorts.layouts import Hints, recognise
    from medgrad.engine.evaluation.evaluate_run import evaluate_run
    from medgrad.engine.runs.run import open_run

    normal = write_phantoms(folder / "normal", 0, 40, (0, 0))
    own = Hints(task="anomaly", kind="synthetic_self")
    _, seconds = trained(recognise(normal, own), folder, seed, steps, changes)
    run = open_run(folder / "run")
    planted = evaluate_run(run, recognise(write_phantoms(folder / "planted", 100, 16, (0, 0)), own), folder / "a")
    ill = recognise(write_phantoms(folder / "ill", 200, 16, (1, 2)))
    known = replace(run, task=replace(run.task, abnormal=ill.labels))  # type: ignore[call-arg]
    told_of = evaluate_run(known, ill, folder / "b")
    return [row_of(f"{side}, planted", planted, seconds), row_of(f"{side}, its own lesions", told_of, seconds)]


def breasts(side: str, folder: Path, seed: int, steps: int, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Train on normal ultrasound."""
    from medgrad.data.cohorts.layouts import recognise

    changes = changes | {
        "task": {"kind": "anomaly", "abnormal": ["benign", "malignant"]},
        "prepare": [{"name": "resize_pad", "shape": [64, 64], "stretch": True}, {"name": "normalise"}],
        "model": {"name": "image_unet", "channels": [32, 64, 128], "strides": [[2, 2], [2, 2]]},
        "training": TRAINING | {"patch": [64, 64], "batch": 16},
    }
    found, seconds = trained(recognise(BUSI), folder, seed, steps, changes)
    return [row_of(side, found, seconds)]


def row_of(what: str, evaluation: Any, seconds: float) -> dict[str, Any]:
    """Give the figures of an evaluation as a row."""
    row: dict[str, Any] = {"what": what, "patients": evaluation.n_patients, "CPU s": seconds}
    for name, title in FIGURES.items():
        figures = evaluation.metrics
        if figures.get(name, {}).get("value") is None:
            continue
        gain = figures[f"{name}_gain"]
        ends = "" if gain["low"] is None else f" ({gain['low']:+.3f} to {gain['high']:+.3f})"
        row |= {
            title: figures[name]["value"],
            f"{title}, z-score": figures[f"{name}_zscore"]["value"],
            f"{title}, difference": f"{gain['value']:+.3f}{ends}",
        }
    return row


def is_above(row: dict[str, Any]) -> bool:
    """Tell whether the first figure of a row is above the z-score by the whole interval."""
    return " (+" in next(str(row[f"{title}, difference"]) for title in FIGURES.values() if title in row)


def run() -> dict[str, Any]:
    """Train every side, one after another."""
    missing = [path.name for path in (denoise.DATA, BUSI) if not path.exists()]
    if missing:
        return {"skipped": f"{' and '.join(missing)} is not beside this folder, so there is nothing to learn from."}
    rows: list[dict[str, Any]] = []
    for name in SIDES:
        side = Side(__file__, name)
        rows += side.ask()["value"]
        side.close()
    proposed = [row for row in rows if "coarse noise" in row["what"]]
    missed = [row["what"] for row in rows if row not in proposed and not is_above(row)]
    claim = "average precision of elements in hippocampi above the z-score by the whole interval, both seeds"
    claim += f"; the network is not above it on: {'; '.join(missed)}" if missed else ""
    return {"rows": rows, "claim": claim, "held": all(is_above(row) for row in proposed)}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(learned(given.side[0]))
        sys.exit(0)
    sys.exit(told(run()))
