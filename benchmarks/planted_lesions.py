"""Lesions planted into brain crops, after denoising and super-resolution: what is kept, removed and invented.

Five balls of 4 to 8 mm are planted into each of the 40 validation images of the hippocampus set, lighter or darker
than what is around them by a quarter of the image's range. Then the images get Rician noise of 5 % of their maximum, or
every two slices along the last axis are averaged into one. They are answered by an exact step (``denoise``, told that
the noise is Rician, its strength estimated; ``thin_slices``) and by a run of the task restoration that learned from
clean images without any planted lesion, for so many processor's seconds on one thread.

Contrast is recovered where 0.9 to 1.1 of the planted one is left, in the answer less the image without lesion and
noise. Something is invented where such a difference of a clean image's answer holds a ball of half the contrast. AUC is
that of local contrast, at lesions against other places of the same image, before on what is shown: the noisy image, or
the interpolated one.

Translators: CT of synthetic patients into an image of uptake, in which lesions are hot and every other tissue has a
level of its own. One learns from patients with lesions, one from patients without. Judged by the lesions of held-out
patients (the share of their contrast that the answer has), and by what ``fit`` itself does, which knows no lesion: it
plants tissue where it does not belong, and flags a run that loses it.

Bounds, for the better way: recovered in at least 90 %, at most 1 invented in 40 images, AUC at most .02 below that of
what is shown; the translator without lesions is flagged, the other one is not.
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

SECONDS, LEVEL, FACTOR, LESIONS, CONTRAST = 300.0, 0.05, 2, 5, 0.25
RECOVERED, INVENTED, LOST = 0.9, 1, 0.02
DEGRADED = {
    "noise": {"name": "rician"},
    "slices": {"name": "thick_slices", "factor": FACTOR},
}
TRANSLATORS = ("without lesions", "with lesions")
HOT = 8.0
UPTAKE = np.array([0.1, 0.6, 3.0, 5.0, 2.0, 1.5, 4.0, 2.5, 1.0, 6.0])


def validation_images() -> list[Any]:
    """Read the validation images."""
    import nibabel

    names = json.loads((denoise.DATA / "split.json").read_text(encoding="utf-8"))["val"]
    paths = [denoise.DATA / "images" / f"hippocampus_{name}.nii.gz" for name in names]
    return [np.asarray(nibabel.load(path).dataobj, np.float64) for path in paths]


def learned(what: str) -> Any:
    """Train a run on the training images, and give it as a step."""
    from medgrad.data.cohorts.layouts import Hints, recognise
    from medgrad.engine.evaluation.run_step import load_run_step
    from medgrad.engine.training.fit import fit

    folder = Path(tempfile.mkdtemp())
    changes: dict[str, Any] = {
        "augment": [{"name": "flip", "axes": [0, 1, 2]}, DEGRADED[what]],
        "training": {"threads": 1, "validations": 1, "validation_cases": 4},
        "inference": {"tta_flips": [0, 1, 2]},
    }
    cohort = recognise(denoise.DATA, Hints(task="restoration", kind="self"))
    pace = seconds_a_step(cohort, folder / "pace", changes)
    fit(cohort, folder / "run", steps=int(SECONDS / pace), changes=changes)
    return load_run_step(folder / "run")


def as_noisy(image: Any, number: int, top: float) -> Any:
    """Give an image under Rician noise, as float32."""
    rng, sigma = np.random.default_rng(number), LEVEL * top
    return np.hypot(image + rng.normal(0, sigma, image.shape), rng.normal(0, sigma, image.shape)).astype(np.float32)


def ways_of(what: str) -> dict[str, Callable[[Any, int, float], tuple[Any, Any]]]:
    """Give ways to answer: each gives what is shown and what is answered of an image, its number and its maximum."""
    from medgrad.data import Case, Grid, Image
    from medgrad.prepare import build_steps
    from medgrad.prepare.thin_slices import group_means

    run = learned(what)
    first = build_steps([{"name": "denoise", "noise": "rician"} if what == "noise" else {"name": "thin_slices"}])[0]

    def shown_as(image: Any, number: int, top: float) -> Any:
        if what == "noise":
            grid = Grid.from_shape(image.shape, spacing=(1, 1, 1))
            return Case("a", {"image": Image(as_noisy(image, number, top), grid)})
        whole = image[..., : image.shape[-1] // FACTOR * FACTOR]
        means = group_means(whole, 2, FACTOR).astype(np.float32)
        return Case("a", {"image": Image(means, Grid.from_shape(means.shape, spacing=(1, 1, FACTOR)))})

    def by_step(image: Any, number: int, top: float) -> tuple[Any, Any]:
        case = shown_as(image, number, top)
        answer = first.apply(case)[0].images["image"].array
        return (case.images["image"].array if what == "noise" else answer), answer

    def by_run(image: Any, number: int, top: float) -> tuple[Any, Any]:
        case = shown_as(image, number, top)
        if what == "slices":
            case = first.apply(case)[0]
        return case.images["image"].array, run.apply(case)[0].images["image"].array

    return {"step": by_step, "run": by_run}


def measured(what: str) -> Callable[[], dict[str, dict[str, Any]]]:
    """Give what trains and judges all ways for one kind of spoiled image."""

    def measure() -> dict[str, dict[str, Any]]:
        from medgrad.trust.planted_lesions import judge_planted, plant

        spacing, found = (1.0, 1.0, 1.0), {}
        for name, way in ways_of(what).items():
            trials, clean_trials = [], []
            for number, image in enumerate(validation_images()):
                clean = image[..., : image.shape[-1] // FACTOR * FACTOR]
                low, high = np.percentile(clean, [1, 99])
                share, top = CONTRAST * float(high - low), float(clean.max())
                scaled = clean / share  # in units of the contrast, so that all images count alike
                planted, lesions = plant(scaled, spacing, np.random.default_rng(number), count=LESIONS, contrast=1.0)
                shown, answer = (one.astype(np.float64) / share for one in way(planted * share, number, top))
                trials.append((scaled, shown, answer, lesions))
                clean_trials.append((scaled, way(clean, number, top)[1].astype(np.float64) / share))
            found[name] = judge_planted(trials, clean_trials, spacing).as_dict()
        return found

    return measure


def write_patients(folder: Path, with_lesions: bool, first: int, count: int) -> None:
    """Write CT and uptake of synthetic patients, and where their lesions are."""
    from medgrad.data import Image, LabelMap
    from medgrad.data.cohorts.phantom import Phantom, make_patient
    from medgrad.data.formats import write

    many = (3, 6) if with_lesions else (0, 0)
    phantom = Phantom(
        patients=first + count, shape=(64, 64, 40), spacing_mm=(2.5, 2.5, 2.5), nodules=many, lesions=many, seed=0,
        diameters_mm=(8.0, 16.0),
    )  # fmt: skip
    for number in range(first, first + count):
        study = make_patient(phantom, number).studies[0]
        labels, grid = study.labels.array.astype(int), study.image.grid
        hot = {n for n, name in study.labels.names.items() if name in ("nodule", "lesion")}
        level = np.array([HOT if n in hot else UPTAKE[n % len(UPTAKE)] for n in range(labels.max() + 1)])
        write(folder / "ct" / f"p_{number:02d}.nii.gz", study.image)
        write(folder / "uptake" / f"p_{number:02d}.nii.gz", Image(level[labels].astype(np.float32), grid))
        marks = np.isin(labels, list(hot)).astype(np.uint8)
        write(folder.with_name(f"{folder.name} lesions") / f"p_{number:02d}.nii.gz", LabelMap(marks, grid))


def translated(which: str) -> Callable[[], dict[str, dict[str, Any]]]:
    """Give what trains a translator on patients with or without lesions, and judges it."""

    def measure() -> dict[str, dict[str, Any]]:
        from scipy import ndimage

        from medgrad.data.cohorts.layouts import Hints, recognise
        from medgrad.data.formats import read, read_labels
        from medgrad.engine.evaluation.opened_run import open_run
        from medgrad.engine.training.fit import fit

        folder = Path(tempfile.mkdtemp())
        write_patients(folder / "learn", which == "with lesions", 0, 20)
        write_patients(folder / "held", True, 20, 8)
        changes = {"training": {"threads": 1, "validations": 1, "validation_cases": 4}}
        cohort = recognise(folder / "learn", Hints(truth="uptake", task="translation", kind="synthetic_image"))
        pace = seconds_a_step(cohort, folder / "pace", changes)
        fit(cohort, folder / "run", steps=int(SECONDS / pace), changes=changes)
        opened, kept = open_run(folder / "run"), []
        for path in sorted((folder / "held" / "ct").glob("*.nii.gz")):
            answer = opened.predict(path).array.astype(np.float64)
            truth = read(folder / "held" / "uptake" / path.name).array.astype(np.float64)
            marks = read_labels(folder / "held lesions" / path.name).array > 0
            around = ndimage.binary_dilation(marks, iterations=3) & ~ndimage.binary_dilation(marks)
            kept.append((answer[marks].mean() - answer[around].mean()) / (truth[marks].mean() - truth[around].mean()))
        facts = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))["planted_lesions"]
        return {which: facts | {"contrast of true lesions kept": float(np.mean(kept))}}

    return measure


def run() -> dict[str, Any]:
    """Measure both at once, and give a row for each way."""
    if not denoise.DATA.exists():
        return {"skipped": f"There is no {denoise.DATA.name!r} beside this folder, so there is nothing to learn from."}
    sides = {what: Side(__file__, what) for what in (*DEGRADED, *TRANSLATORS)}
    with ThreadPoolExecutor(2) as pool:
        asked = {what: pool.submit(side.ask) for what, side in sides.items()}
        found = {what: answer.result()["value"] for what, answer in asked.items()}
    for side in sides.values():
        side.close()
    rows = [
        {"spoiled by": what, "answered by": way, **figures}
        for what, ways in found.items()
        for way, figures in ways.items()
    ]
    held = {what: any(holds(figures) for figures in found[what].values()) for what in DEGRADED}
    without, given = (found[which][which].get("is_flagged") for which in TRANSLATORS)
    held |= {"a translator without lesions flagged": without is True, "with lesions not": given is False}
    claim = ", ".join(f"{what}: {'yes' if ok else 'no'}" for what, ok in held.items())
    return {"rows": rows, "claim": claim, "held": all(held.values())}


def holds(figures: dict[str, Any]) -> bool:
    """Tell whether every bound holds for one way."""
    return (
        bool(figures["is_control_met"])
        and figures["recovered"] >= RECOVERED
        and figures["invented"] <= INVENTED
        and figures["auc_before"] - figures["auc_after"] <= LOST
    )


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        what = given.side[0]
        serve(measured(what) if what in DEGRADED else translated(what))
        sys.exit(0)
    sys.exit(told(run()))
