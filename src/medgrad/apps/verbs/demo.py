"""``medgrad demo``: all steps of a project on synthetic patients."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.progress import Progress, Silent
from ...errors import MedgradError, SettingError
from ._arguments import Seed
from ._journey import DemoState, numbers_held_out, numbers_to_learn, reserve_folder
from ._options import check_budget, check_new_folder

if TYPE_CHECKING:
    from ...data import LabelMap
    from ...data.cohorts import Cohort
    from ...engine.evaluation.evaluate import Evaluation
    from ...report.read import Picture
    from ...survey.dataset import Look

DRAWN = ("lung", "liver", "nodule", "lesion")
LESIONS = ("nodule", "lesion", "3", "4")
"""What the lesions are called: masks in NIfTI, for want of highdicom, have numbers for names."""

SHARES = {"segmentation": 0.42, "classification": 0.18, "detection": 0.16}
"""Which share of the minutes each training gets; the rest is for making patients, judging and writing."""

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "segmentation": {
        "task": {"loss_settings": {"batch": True, "weights": (1.0, 1.0, 1.0, 6.0, 6.0)}},
        "training": {"foreground": 0.66, "average": 0.98, "brief": 0, "min_steps": 60},
    },
    "classification": {"training": {"min_steps": 30}},
    "detection": {"training": {"batch": 1, "min_steps": 30}},
}
"""What is laid over the plan: nodules and lesions are small, so that in a few hundred steps they must weigh more.

As they weigh more, they are found at the planned rate too, and steps need not be longer.
A detector has time for a few dozen steps on a slow machine, so that they must be short.
With fewer than ``min_steps`` there would be nothing to show: a machine that others use too takes longer instead.
"""

FEWEST = 8
SHOWN_HU = (-500, 350)
LATE = 1.25
BODY: Mapping[str, Any] = {
    "shape": (72, 72, 48), "spacing_mm": (3.0, 3.0, 3.0), "dates": (2, 2), "nodules": (4, 6), "lesions": (3, 4),
    "diameters_mm": (16.0, 28.0),
}  # fmt: skip
"""Small scans with many lesions, so that minutes of learning are enough."""


def make_patients(journey: DemoState) -> None:
    """Write the synthetic patients as DICOM: training patients, test patients, and one new patient."""
    from ...data.cohorts.phantom import make_patient, write_cohort, write_lesions, write_series

    parts = {"learn": numbers_to_learn(journey), "held-out": numbers_held_out(journey)}
    with journey.progress.bar("Making patients") as bar:
        for name, numbers in parts.items():
            made = []
            whole = journey.folder / "patients" / name
            for patient in write_cohort(whole, journey.phantom, numbers=numbers, labels=DRAWN):
                made.append(patient)
                bar(int(patient.id[1:]), journey.phantom.patients, "")
            write_lesions(journey.folder / "lesions" / name, made)
        new = make_patient(journey.phantom, journey.phantom.patients - 1)
        write_series(journey.folder / "new" / new.id, journey.phantom, new, new.studies[-1])
    journey.tell(
        f"{journey.n_learn} synthetic patients to learn from, {journey.phantom.patients - 1 - journey.n_learn} "
        "held out, 1 new; each was scanned at several dates."
    )


def look_at_them(journey: DemoState) -> None:
    """Survey the training patients as a real cohort would be."""
    _, seen = looked_at(journey, "patients", Silent())
    words = f"{len(seen.faults)} faults" if seen.faults else "no faults"
    about = seen.fingerprint
    journey.tell(
        f"{seen.layout}: {about['cases']} {str(about['modality']).upper()} series of {about['patients']} patients, "
        f"{words}, {len(seen.leaks)} leaks."
    )


def looked_at(journey: DemoState, data: str, progress: Progress) -> tuple[Cohort, Look]:
    """Find and survey the cohort of the training patients, once."""
    from ._cohort import find_cohort

    if data not in journey.looked:
        journey.looked[data] = find_cohort(
            journey.folder / data / "learn",
            truth=None,
            roi=None,
            task=None,
            seed=journey.phantom.seed,
            progress=progress,
        )
    return journey.looked[data]


def learn_to_segment(journey: DemoState) -> None:
    """Train a segmentation of organs and lesions, and evaluate it on the test patients."""
    found = learned(journey, "segmentation", "patients")
    rows = [lesion_dice(j.row) for j in found.judged]
    from ...trust.intervals import bootstrap

    whole = bootstrap(rows, patients=[j.patient for j in found.judged])["dice"]
    journey.metrics["lesion dice"] = {"value": whole.value, "low": whole.low, "high": whole.high, "n": whole.n}


def lesion_dice(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Average the Dice of nodules and lesions in one case, where there are any.

    >>> lesion_dice({"dice/nodule": 0.8, "dice/lesion": None})
    {'dice': 0.8}
    """
    held = [row[f"dice/{name}"] for name in LESIONS if row.get(f"dice/{name}") is not None]
    return {"dice": sum(held) / len(held) if held else None}


def learn_to_classify(journey: DemoState) -> None:
    """Train a classification of malignant lesions, and evaluate it on the test patients."""
    found = learned(journey, "classification", "lesions")
    journey.metrics["auroc"] = dict(found.metrics["auroc"])


def learn_to_find(journey: DemoState) -> None:
    """Train a detection of nodules, and evaluate it on the test patients."""
    nodules = LESIONS[0] if find_spec("highdicom") else LESIONS[2]
    found = learned(journey, "detection", "patients", only=nodules)
    journey.metrics["nodules found"] = dict(found.metrics[f"sensitivity@1fp/{nodules}"])


def align_dates(journey: DemoState) -> None:
    """Register the first scan of each test patient to the last, and measure the error against the known deformation."""
    from ...data import LabelMap
    from ...data.cohorts.phantom import make_patient
    from ...metrics.tre_mm import THIS as LANDMARKS
    from ...registration.register import Settings, register
    from ...trust.intervals import bootstrap

    rows, whose = [], []
    with journey.progress.bar("Aligning") as bar:
        for number in range(journey.n_learn, journey.phantom.patients - 1):
            patient = make_patient(journey.phantom, number)
            first, last = patient.studies[0], patient.studies[-1]
            if first is last:
                continue
            found = register(last.image, first.image, settings=Settings(turns=0), similarity="lncc")
            organs = LabelMap((last.labels.array > 0).astype("uint8"), last.labels.grid, {1: "organs"})
            rows.append(LANDMARKS.compute(last.deformation, found.transform.deformation(), region=organs))
            whose.append(patient.id)
            bar(len(rows), journey.phantom.patients - 1 - journey.n_learn, "")
    if not rows:
        return
    whole = bootstrap(rows, patients=whose)
    journey.metrics["tre_mm"] = {k: getattr(whole["tre_mm"], k) for k in ("value", "low", "high", "n")}
    before, after = whole["tre_before_mm"].value, whole["tre_mm"].value
    journey.tell(
        f"The dates of {len(rows)} patients were laid on each other: organs lay {before:.1f} mm apart, now {after:.1f}."
    )


def learned(journey: DemoState, name: str, data: str, *, only: str | None = None) -> Evaluation:
    """Fit a run on the training patients, evaluate it on the test patients, and write both reports."""
    from ...data.cohorts.cohort import narrowed
    from ...data.cohorts.layouts import Hints, recognise
    from ...engine.evaluation.evaluate_run import evaluate_run
    from ...engine.training.fit import fit
    from ...report import write

    folder, seed = journey.folder / data, journey.phantom.seed
    task = "detection" if name == "detection" else None
    cohort, look = looked_at(journey, data, journey.progress)
    if task:
        cohort = narrowed(replace(cohort, task=task), [only] if only else cohort.labels)
    run = journey.folder / name
    planned = 60 * journey.minutes * SHARES[name]
    fitted = fit(
        cohort, run, minutes=planned / 60, seed=seed, look=look, progress=journey.progress,
        changes=laid_over(RECIPES.get(name, {}), journey.changes),
    )  # fmt: skip
    if fitted:
        journey.learned_seconds += fitted.seconds
        journey.tell(f"The {name} run took {fitted.steps} steps in {told_time(fitted.seconds, planned)}.")
    journey.pages.append((f"The {name} run", write(run)))
    judged = journey.folder / f"{name}-held-out"
    found = evaluate_run(run, recognise(folder / "held-out", Hints(task=task)), judged, progress=journey.progress)
    journey.pages.append((f"The {name} run, judged on {found.patients} patients held out", write(judged)))
    return found


def told_time(seconds: float, planned: float) -> str:
    """Format the time of a training, with the reason where it took longer than planned.

    >>> told_time(60, 60)
    '1 min'
    """
    from ...report.html import duration

    longer = f" instead of {duration(planned, rough=True)}: this machine is slow, or others use it too"
    return duration(seconds, rough=True) + (longer if seconds > LATE * planned else "")


def answer_about_the_new(journey: DemoState) -> None:
    """Predict a scan of the new patient, as DICOM SEG (or NIfTI where highdicom is not installed)."""
    from ...engine.evaluation.predict import predict
    from ...engine.runs.run import open_run

    kind = "dicomseg" if find_spec("highdicom") else "nifti"
    trained = open_run(journey.folder / "segmentation")
    (new,) = sorted((journey.folder / "new").iterdir())
    for answered in predict(trained, new, journey.folder / "answers", file_format=kind):
        if answered.failed:
            raise MedgradError(f"The new scan could not be answered about: {answered.failed}")
        journey.answer = answered.written[0]
        journey.picture = pictured(journey, answered.answer)
        journey.tell(f"The answer about the new patient {new.name} lies in {str(journey.answer)!r}.")


def pictured(journey: DemoState, said: LabelMap) -> Picture:
    """Make a picture of the new scan's slice with the most lesions, with outlines of truth and answer."""
    import numpy as np

    from ...answers import best_plane
    from ...data.cohorts.phantom import make_patient
    from ...data.cohorts.phantom.write import chosen
    from ...data.display import eight_bit, upright
    from ...report.read import Picture

    study = make_patient(journey.phantom, journey.phantom.patients - 1).studies[-1]
    image = replace(study.image, array=np.clip(study.image.array, *SHOWN_HU))
    truth, lesions = chosen(study.labels, DRAWN), chosen(study.labels, DRAWN[2:])
    plane, (rows, columns) = best_plane(image, lesions)
    return Picture(
        "The new patient",
        eight_bit(image, plane),
        (image.grid.spacing[rows], image.grid.spacing[columns]),
        DRAWN,
        truth_labels=upright(truth.array[plane], image),
        answer_labels=upright(said.array[plane], image),
    )


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two sets of tables; the second overrides the first.

    >>> laid_over({"training": {"steps": 1, "seed": 2}}, {"training": {"steps": 3}})
    {'training': {'steps': 3, 'seed': 2}}
    """
    found = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            found[name] = {**below[name], **above[name]}
    return found


STEPS: tuple[tuple[str, Callable[[DemoState], None]], ...] = (
    ("Making patients", make_patients),
    ("Looking at them", look_at_them),
    ("Learning to segment", learn_to_segment),
    ("Learning to classify", learn_to_classify),
    ("Learning to find nodules", learn_to_find),
    ("Aligning two dates", align_dates),
    ("Answering about a new patient", answer_about_the_new),
)


def demo(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write everything into.")] = Path("demo"),
    patients: Annotated[int, typer.Option(help="How many synthetic patients to make.")] = 30,
    minutes: Annotated[float, typer.Option(help="About how long it may take, all in all.")] = 9.0,
    seed: Seed = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make synthetic CT patients, train models to segment and classify their lesions, and report how well they do."""
    from ...data.cohorts.phantom import Phantom

    check_budget(minutes, seed=seed)
    check_new_folder(out)
    if patients < FEWEST:
        raise SettingError(f"The demo needs at least {FEWEST} patients to learn, judge and answer, not {patients}.")
    phantom = Phantom(patients=patients, seed=seed, **BODY)
    return run_steps(DemoState(out, phantom, minutes, progress or Silent()))


def run_steps(journey: DemoState) -> dict[str, Any]:
    """Run all steps of the demo, and write its summary page."""
    from ._demo_page import write_page

    reserve_folder(journey)
    began = time.perf_counter()
    for number, (what, step) in enumerate(STEPS, 1):
        journey.progress.say(f"{number} of {len(STEPS)}: {what}")
        step(journey)
    seconds = time.perf_counter() - began
    page = write_page(journey, seconds)
    return {
        "folder": str(journey.folder),
        "answer": str(journey.answer),
        "seconds": round(seconds, 1),
        "metrics": journey.metrics,
        "report": str(page),
    }


THIS = demo
