"""The part of the demo that cleans one series and fills another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ...data import Image
    from ._demo_state import DemoState

NOISE_HU = 60.0
LOST_SLICES = (0.35, 0.36, 0.6)
"""Where slices are lost, as shares of their number: two side by side, and one."""
AIR_HU = -1024


def process_new_scan(state: DemoState) -> None:
    """Denoise the new patient's scan under noise, and fill it where slices are lost; show both beside the truth."""
    import numpy as np

    from ...data.cohorts.phantom import make_patient, write_series
    from .process import process

    patient = make_patient(state.phantom, state.phantom.patients - 1)
    study = patient.studies[-1]
    truth = study.image
    rng, count = np.random.default_rng(state.phantom.seed), truth.grid.shape[2]
    lost = sorted({int(share * count) + (place == 1) for place, share in enumerate(LOST_SLICES)})
    noisy = np.rint(truth.array + rng.normal(0, NOISE_HU, truth.grid.shape)).astype(np.int16)
    gaps = truth.array.astype(np.int16)
    gaps[:, :, lost] = AIR_HU
    for step, array, plane in (("denoise", noisy, count // 2), ("fill", gaps, lost[0])):
        shown = replace(truth, array=array)
        series = state.folder / "processing" / f"{step}_input"
        write_series(series, state.phantom, patient, replace(study, image=shown))
        answer = processed(process, step, series)
        figures = [decibels(truth, image, lost if step == "fill" else None) for image in (shown, answer)]
        words = f"{NOISE_HU:g} HU of noise" if step == "denoise" else f"{len(lost)} lost slices"
        said = f"{words}, {figures[0]:.1f} dB before and {figures[1]:.1f} after"
        title = f"{'Denoised' if step == 'denoise' else 'Filled'}: {said}"
        state.processed.append(make_comparison(title, shown, answer, truth, plane))
        state.add_message(f"process {step} on the new scan: {said}.")


def processed(process: Any, step: str, series: Path) -> Image:
    """Process a DICOM series by a step as the command does, and read the derived series."""
    from ...data.formats import read

    out = series.parent / f"{step}_output"
    if not (out / "process.json").exists():
        process(step, series, out=out)
    made: Image = read(out / series.name)
    return made


def decibels(truth: Image, image: Image, slices: list[int] | None) -> float:
    """Give the PSNR of an image, or of some of its slices."""
    import numpy as np

    where = slice(None) if slices is None else slices
    errors = (image.array.astype(np.float64) - truth.array)[:, :, where]
    return float(20 * np.log10(float(np.ptp(truth.array)) / np.sqrt((errors**2).mean())))


def make_comparison(title: str, shown: Image, answer: Image, truth: Image, index: int) -> Any:
    """Make a picture of one slice as it was shown, as it was answered, and as it is, and of what they differ by."""
    import numpy as np

    from ...answers import kind_named
    from ...data.display import eight_bit, plane_at, plane_window
    from ...report.read_run import Picture

    plane, (rows, columns) = plane_at(truth.grid, index)
    window = plane_window(truth.array, truth.grid, plane)
    has_values = float(np.ptp(shown.array[plane])) > 0
    answered, wanted = (kind_named("image").drawn(image, shown, plane) for image in (answer, truth))
    return Picture(
        title,
        eight_bit(shown.array, shown.grid, plane, window),
        (truth.grid.spacing[rows], truth.grid.spacing[columns]),
        truth_image=eight_bit(truth.array, truth.grid, plane, window),
        answer_image=eight_bit(answer.array, answer.grid, plane, window),
        answer_residual=answered.get("residual") if has_values else None,
        truth_residual=wanted.get("residual") if has_values else None,
    )
