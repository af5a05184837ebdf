"""``medgrad demo``: all steps of a project on synthetic patients."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.progress import Progress, SilentProgress
from ...errors import MedgradError, SettingError
from ._arguments import Seed
from ._checks import check_budget, check_new_folder
from ._demo_processing import process_new_scan
from ._demo_state import DemoState, held_out_patient_numbers, reserve_folder, training_patient_numbers

if TYPE_CHECKING:
    from ...data import LabelMap
    from ...data.cohorts import Cohort
    from ...engine.evaluation.evaluate import Evaluation
    from ...report.read_run import Picture
    from ...survey.dataset import Look

DRAWN_LABELS = ("lung", "liver", "nodule", "lesion")
LESIONS = ("nodule", "lesion", "3", "4")
"""What the lesions are called: masks in NIfTI, for want of highdicom, have numbers for names."""

TIME_SHARES = {"segmentation": 0.42, "classification": 0.18, "detection": 0.16}
"""Which share of the minutes each training gets; the rest is for making patients, judging and writing."""

RECIPE_CHANGES: Mapping[str, Mapping[str, Any]] = {
    "segmentation": {
        "task": {"loss_settings": {"batch": True, "weights": (1.0, 1.0, 1.0, 6.0, 6.0)}},
        "training": {"foreground_share": 0.66, "ema": 0.98, "boost_below_steps": 0, "min_steps": 60},
    },
    "classification": {"training": {"min_steps": 30}},
    "detection": {"training": {"batch": 1, "min_steps": 30}},
}
"""What is laid over the plan: nodules and lesions are small, so that in a few hundred steps they must weigh more.

As they weigh more, they are found at the planned rate too, and steps need not be longer.
A detector has time for a few dozen steps on a slow machine, so that they must be short.
With fewer than ``min_steps`` there would be nothing to show: a machine that others use too takes longer instead.
"""

MIN_PATIENTS = 8
DISPLAY_WINDOW_HU = (-500, 350)
LATE_FACTOR = 1.25
PHANTOM_SETTINGS: Mapping[str, Any] = {
    "shape": (72, 72, 48), "spacing_mm": (3.0, 3.0, 3.0), "dates": (2, 2), "nodules": (4, 6), "lesions": (3, 4),
    "diameters_mm": (16.0, 28.0),
}  # fmt: skip
"""Small scans with many lesions, so that minutes of learning are enough."""


def write_patients(state: DemoState) -> None:
    """Write the synthetic patients as DICOM: training patients, test patients, and one new patient."""
    from ...data.cohorts.phantom import make_patient, write_cohort, write_lesions, write_series

    parts = {"learn": training_patient_numbers(state), "held-out": held_out_patient_numbers(state)}
    with state.progress.bar("Making patients") as bar:
        for name, numbers in parts.items():
            made = []
            whole = state.folder / "patients" / name
            for patient in write_cohort(whole, state.phantom, patient_numbers=numbers, labels=DRAWN_LABELS):
                made.append(patient)
                bar(int(patient.id[1:]), state.phantom.patients, "")
            write_lesions(state.folder / "lesions" / name, made)
        new = make_patient(state.phantom, state.phantom.patients - 1)
        write_series(state.folder / "new" / new.id, state.phantom, new, new.studies[-1])
    state.add_message(
        f"{state.n_training_patients} synthetic patients to learn from, "
        f"{state.phantom.patients - 1 - state.n_training_patients} "
        "held out, 1 new; each was scanned at several dates."
    )


def survey_patients(state: DemoState) -> None:
    """Survey the training patients as a real cohort would be."""
    _, seen = find_demo_cohort(state, "patients", SilentProgress())
    words = f"{len(seen.issues)} faults" if seen.issues else "no faults"
    about = seen.statistics
    state.add_message(
        f"{seen.layout}: {about['cases']} {str(about['modality']).upper()} series of {about['patients']} patients, "
        f"{words}, {len(seen.leaks)} leaks."
    )


def find_demo_cohort(state: DemoState, data: str, progress: Progress) -> tuple[Cohort, Look]:
    """Find and survey the cohort of the training patients, once."""
    from ._cohort import find_cohort

    if data not in state.cohorts:
        state.cohorts[data] = find_cohort(
            state.folder / data / "learn",
            truth=None,
            roi=None,
            task=None,
            seed=state.phantom.seed,
            progress=progress,
        )
    return state.cohorts[data]


def fit_segmentation(state: DemoState) -> None:
    """Train a segmentation of organs and lesions, and evaluate it on the test patients."""
    found = fit_and_evaluate(state, "segmentation", "patients")
    rows = [mean_lesion_dice(j.row) for j in found.judged_cases]
    from ...trust.intervals import bootstrap_intervals

    whole = bootstrap_intervals(rows, patients=[j.patient for j in found.judged_cases])["dice"]
    state.metrics["lesion dice"] = {"value": whole.value, "low": whole.low, "high": whole.high, "n": whole.n}


def mean_lesion_dice(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Average the Dice of nodules and lesions in one case, where there are any.

    >>> mean_lesion_dice({"dice/nodule": 0.8, "dice/lesion": None})
    {'dice': 0.8}
    """
    dices = [row[f"dice/{name}"] for name in LESIONS if row.get(f"dice/{name}") is not None]
    return {"dice": sum(dices) / len(dices) if dices else None}


def fit_classification(state: DemoState) -> None:
    """Train a classification of malignant lesions, and evaluate it on the test patients."""
    found = fit_and_evaluate(state, "classification", "lesions")
    state.metrics["auroc"] = dict(found.metrics["auroc"])


def fit_detection(state: DemoState) -> None:
    """Train a detection of nodules, and evaluate it on the test patients."""
    nodules = LESIONS[0] if find_spec("highdicom") else LESIONS[2]
    found = fit_and_evaluate(state, "detection", "patients", only_label=nodules)
    state.metrics["nodules found"] = dict(found.metrics[f"sensitivity@1fp/{nodules}"])


def register_dates(state: DemoState) -> None:
    """Register the first scan of each test patient to the last, and measure the error against the known deformation."""
    from ...data import LabelMap
    from ...data.cohorts.phantom import make_patient
    from ...metrics.tre_mm import THIS as LANDMARKS
    from ...registration.register import RegistrationOptions, register
    from ...trust.intervals import bootstrap_intervals

    rows, whose = [], []
    with state.progress.bar("Aligning") as bar:
        for number in range(state.n_training_patients, state.phantom.patients - 1):
            patient = make_patient(state.phantom, number)
            first, last = patient.studies[0], patient.studies[-1]
            if first is last:
                continue
            found = register(last.image, first.image, options=RegistrationOptions(max_rotation=0))
            organs = LabelMap((last.labels.array > 0).astype("uint8"), last.labels.grid, {1: "organs"})
            rows.append(LANDMARKS.compute(last.deformation, found.transform.to_deformation(), region=organs))
            whose.append(patient.id)
            bar(len(rows), state.phantom.patients - 1 - state.n_training_patients, "")
    if not rows:
        return
    whole = bootstrap_intervals(rows, patients=whose)
    state.metrics["tre_mm"] = {k: getattr(whole["tre_mm"], k) for k in ("value", "low", "high", "n")}
    before, after = whole["tre_before_mm"].value, whole["tre_mm"].value
    state.add_message(
        f"The dates of {len(rows)} patients were laid on each other: organs lay {before:.1f} mm apart, now {after:.1f}."
    )


def fit_and_evaluate(
    state: DemoState, task_name: str, data_folder: str, *, only_label: str | None = None
) -> Evaluation:
    """Fit a run on the training patients, evaluate it on the test patients, and write both reports."""
    from ...data.cohorts.cohort import with_labels
    from ...data.cohorts.layouts import Hints, recognise
    from ...engine.evaluation.evaluate_run import evaluate_run
    from ...engine.training.fit import fit
    from ...report import write

    folder, seed = state.folder / data_folder, state.phantom.seed
    task = "detection" if task_name == "detection" else None
    cohort, look = find_demo_cohort(state, data_folder, state.progress)
    if task:
        cohort = with_labels(cohort.serving(task, "boxes"), [only_label] if only_label else cohort.labels)
    run = state.folder / task_name
    planned = 60 * state.minutes * TIME_SHARES[task_name]
    fitted = fit(
        cohort, run, minutes=planned / 60, seed=seed, look=look, progress=state.progress,
        changes=merge_tables(RECIPE_CHANGES.get(task_name, {}), state.changes),
    )  # fmt: skip
    if fitted:
        state.training_seconds += fitted.seconds
        state.add_message(
            f"The {task_name} run took {fitted.steps} steps in {format_training_time(fitted.seconds, planned)}."
        )
    state.pages.append((f"The {task_name} run", write(run)))
    judged = state.folder / f"{task_name}-held-out"
    found = evaluate_run(run, recognise(folder / "held-out", Hints(task=task)), judged, progress=state.progress)
    state.pages.append((f"The {task_name} run, judged on {found.n_patients} patients held out", write(judged)))
    return found


def format_training_time(seconds: float, planned_seconds: float) -> str:
    """Format the time of a training, with the reason where it took longer than planned.

    >>> format_training_time(60, 60)
    '1 min'
    """
    from ...report.html import format_duration

    longer = (
        f" instead of {format_duration(planned_seconds, in_minutes=True)}: this machine is slow, or others use it too"
    )
    return format_duration(seconds, in_minutes=True) + (longer if seconds > LATE_FACTOR * planned_seconds else "")


def predict_new_patient(state: DemoState) -> None:
    """Predict a scan of the new patient, as DICOM SEG (or NIfTI where highdicom is not installed)."""
    from ...engine.evaluation.predict import predict_with_run
    from ...engine.runs.run import open_run

    kind = "dicomseg" if find_spec("highdicom") else "nifti"
    trained = open_run(state.folder / "segmentation")
    (new,) = sorted((state.folder / "new").iterdir())
    for answered in predict_with_run(trained, new, state.folder / "answers", file_format=kind):
        if answered.failure_reason:
            raise MedgradError(f"The new scan could not be answered about: {answered.failure_reason}")
        state.answer = answered.written_files[0]
        state.picture = make_answer_picture(state, answered.answer)
        state.add_message(f"The answer about the new patient {new.name} lies in {str(state.answer)!r}.")


def make_answer_picture(state: DemoState, answer: LabelMap) -> Picture:
    """Make a picture of the new scan's slice with the most lesions, with outlines of truth and answer."""
    import numpy as np

    from ...answers import best_plane
    from ...data.cohorts.phantom import make_patient
    from ...data.cohorts.phantom.write import select_labels
    from ...data.display import eight_bit, upright
    from ...report.read_run import Picture

    study = make_patient(state.phantom, state.phantom.patients - 1).studies[-1]
    image = replace(study.image, array=np.clip(study.image.array, *DISPLAY_WINDOW_HU))
    truth, lesions = select_labels(study.labels, DRAWN_LABELS), select_labels(study.labels, DRAWN_LABELS[2:])
    plane, (rows, columns) = best_plane(image, lesions)
    return Picture(
        "The new patient",
        eight_bit(image.array, image.grid, plane),
        (image.grid.spacing[rows], image.grid.spacing[columns]),
        DRAWN_LABELS,
        truth_labels=upright(truth.array[plane], image.grid),
        answer_labels=upright(answer.array[plane], image.grid),
    )


def merge_tables(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two sets of tables; the second overrides the first.

    >>> merge_tables({"training": {"steps": 1, "seed": 2}}, {"training": {"steps": 3}})
    {'training': {'steps': 3, 'seed': 2}}
    """
    found = {**base, **changes}
    for name in base.keys() & changes.keys():
        if isinstance(base[name], Mapping) and isinstance(changes[name], Mapping):
            found[name] = {**base[name], **changes[name]}
    return found


DEMO_STEPS: tuple[tuple[str, Callable[[DemoState], None]], ...] = (
    ("Making patients", write_patients),
    ("Looking at them", survey_patients),
    ("Learning to segment", fit_segmentation),
    ("Learning to classify", fit_classification),
    ("Learning to find nodules", fit_detection),
    ("Aligning two dates", register_dates),
    ("Answering about a new patient", predict_new_patient),
    ("Cleaning and filling a scan", process_new_scan),
)


def demo(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write everything into.")] = Path("demo"),
    patients: Annotated[int, typer.Option(help="How many synthetic patients to make.")] = 30,
    minutes: Annotated[float, typer.Option(help="About how long it may take, all in all.")] = 9.0,
    seed: Seed = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make synthetic CT patients, learn to segment and classify their lesions, and report how well that went."""
    from ...data.cohorts.phantom import Phantom

    check_budget(minutes, seed=seed)
    check_new_folder(out)
    if patients < MIN_PATIENTS:
        raise SettingError(
            f"The demo needs at least {MIN_PATIENTS} patients to learn, judge and answer, not {patients}."
        )
    phantom = Phantom(patients=patients, seed=seed, **PHANTOM_SETTINGS)
    return run_demo(DemoState(out, phantom, minutes, progress or SilentProgress()))


def run_demo(state: DemoState) -> dict[str, Any]:
    """Run all steps of the demo, and write its summary page."""
    from ._demo_page import write_demo_page

    reserve_folder(state)
    began = time.perf_counter()
    for number, (what, step) in enumerate(DEMO_STEPS, 1):
        state.progress.say(f"{number} of {len(DEMO_STEPS)}: {what}")
        step(state)
    seconds = time.perf_counter() - began
    page = write_demo_page(state, seconds)
    return {
        "folder": str(state.folder),
        "answer": str(state.answer),
        "seconds": round(seconds, 1),
        "metrics": state.metrics,
        "report": str(page),
    }


THIS = demo
