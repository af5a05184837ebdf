"""Write a synthetic cohort: DICOM series with their truth, a table of lesions, and an image crop of each lesion."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from ...dicom.write.ct import SeriesHeader, uid_from_words, write_ct
from ...formats import write
from ...grid import Grid, matrix_to_tuples
from ...source import Source
from ...types import Image, LabelMap
from .lesions import KINDS, Lesion
from .synthetic_patients import LABELS, Patient, Phantom, Study, make_patient

MaskFormat = Literal["dicomseg", "nifti"]
SOFT_TISSUE = (-100.0, 180.0)
COLUMNS = (
    "patient", "date", "day", "lesion", "label", "kind", "x_mm", "y_mm", "z_mm", "diameter_mm", "volume_mm3",
    "doubling_days", "change", "is_new",
)  # fmt: skip


def write_cohort(
    folder: Path | str,
    phantom: Phantom,
    *,
    patient_numbers: Iterable[int] | None = None,
    labels: Sequence[str] = LABELS,
    mask_format: MaskFormat | None = None,
    deformations: bool = False,
) -> Iterator[Patient]:
    """Write a cohort patient by patient, and yield each patient once its files are written.

    Files are ``PATIENT/DATE/CT/*.dcm`` and ``PATIENT/DATE/SEG/truth.dcm``, and a table ``lesions.csv``. With
    ``masks="nifti"``, the default where highdicom is not installed, the truth is ``PATIENT/DATE/truth.nii.gz``
    with a ``cases.csv``. ``patient_numbers`` are the patients to write, by default all; ``labels`` those of the truth.
    With ``deformations`` there is also ``PATIENT/DATE/deformation.nii.gz``: (x, y, z, 3) in world mm, towards the
    first date. The same settings give the same bytes.
    """
    root = Path(folder)
    mask_format = mask_format or ("dicomseg" if find_spec("highdicom") else "nifti")
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lesions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        cases: list[tuple[str, str, str, str]] = []
        for number in range(phantom.patients) if patient_numbers is None else patient_numbers:
            patient = make_patient(phantom, number)
            for study in patient.studies:
                place = write_study(root, phantom, patient, study, labels=labels, mask_format=mask_format)
                if deformations:
                    field = study.deformation
                    write(place / "deformation.nii.gz", Image(field.field, field.grid))
                table.writerows(lesion_table_row(patient, study, lesion) for lesion in study.lesions)
                inside = place.relative_to(root).as_posix()
                cases.append((patient.id, f"{study.date:%Y%m%d}", f"{inside}/CT", f"{inside}/truth.nii.gz"))
            yield patient
    if mask_format == "nifti":
        write_case_table(root / "cases.csv", cases)


def write_case_table(path: Path, cases: Sequence[tuple[str, ...]]) -> None:
    """Write the table that says which mask goes with which series."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("patient", "date", "image", "mask"))
        table.writerows(cases)


def write_study(
    root: Path,
    phantom: Phantom,
    patient: Patient,
    study: Study,
    *,
    labels: Sequence[str] = LABELS,
    mask_format: MaskFormat,
) -> Path:
    """Write one date of a patient, its series and its truth, and give its folder."""
    place = root / patient.id / f"{study.date:%Y%m%d}"
    write_series(place / "CT", phantom, patient, study)
    truth = select_labels(study.labels, labels)
    if mask_format == "nifti":
        write(place / "truth.nii.gz", truth)
        return place
    from ...dicom.write.equipment import Algorithm
    from ...dicom.write.seg import make_seg, save_dataset

    key = f"{uid_key(phantom, patient)}/{study.day}/truth"
    save_dataset(
        make_seg(truth, Source(place / "CT"), made_by=Algorithm("medgrad phantom"), key=key),
        place / "SEG" / "truth.dcm",
    )
    return place


def write_series(folder: Path, phantom: Phantom, patient: Patient, study: Study) -> list[Path]:
    """Write the scan of one date as a DICOM series."""
    key = f"{uid_key(phantom, patient)}/{study.day}"
    elements: dict[str, Any] = {
        "PatientID": patient.id,
        "PatientName": f"Phantom^{patient.id}",
        "PatientSex": patient.sex,
        "PatientAge": f"{patient.age_years:03}Y",
        "PatientComments": "Synthetic: no such person",
        "StudyDate": f"{study.date:%Y%m%d}",
        "SeriesDate": f"{study.date:%Y%m%d}",
        "AcquisitionDate": f"{study.date:%Y%m%d}",
        "ContentDate": f"{study.date:%Y%m%d}",
        "StudyTime": "090000",
        "StudyDescription": "Chest and upper abdomen",
        "SeriesDescription": "Synthetic CT",
        "BodyPartExamined": "CHEST",
        "InstitutionName": patient.site.name,
        "StationName": f"{patient.site.name} 1",
        "Manufacturer": "medgrad",
        "ManufacturerModelName": "phantom",
        "ConvolutionKernel": patient.site.kernel,
    }
    return write_ct(folder, study.image, SeriesHeader(f"{key}/ct", f"{key}/study", f"{key}/frame", elements))


def uid_key(phantom: Phantom, patient: Patient) -> str:
    """Give the key from which a patient's UIDs are made: everything that decides the pixels."""
    return uid_from_words(repr(replace(phantom, patients=1)), patient.id)


def select_labels(truth: LabelMap, label_names: Sequence[str]) -> LabelMap:
    """Keep only the named labels, renumbered 1, 2, ... in the order of the names."""
    unknown = [n for n in label_names if n not in truth.names.values()]
    if unknown:
        raise ValueError(f"The phantom has no label {unknown[0]!r}. It has {', '.join(truth.names.values())}.")
    table = np.zeros(max(truth.names) + 1, np.uint8)
    for value, name in truth.names.items():
        table[value] = label_names.index(name) + 1 if name in label_names else 0
    return LabelMap(table[truth.array], truth.grid, dict(enumerate(label_names, 1)))


def lesion_table_row(patient: Patient, study: Study, lesion: Lesion) -> tuple[Any, ...]:
    """Give the table row of a lesion at one date; the doubling time is empty if it does not grow."""
    doubling = round(lesion.doubling_days, 1) if np.isfinite(lesion.doubling_days) else ""
    return (
        patient.id, f"{study.date:%Y%m%d}", study.day, lesion.number, lesion.label, lesion.kind,
        *(round(v, 3) for v in lesion.centre_mm), round(lesion.diameter_mm, 3), round(lesion.volume_mm3, 2), doubling,
        lesion.change, int(lesion.is_new),
    )  # fmt: skip


def write_lesions(
    folder: Path | str,
    patients: Iterable[Patient],
    *,
    side_mm: float = 36.0,
    window_hu: tuple[float, float] | None = SOFT_TISSUE,
) -> int:
    """Write an image crop of every lesion at every date into a folder for its kind, and give their number.

    The files are named after patient, date and lesion, so that a split can keep patients together. Values are
    clipped to the window: beside the air of a lung, the texture of a nodule would hardly be visible.
    """
    written = 0
    for kind in KINDS:
        (Path(folder) / kind).mkdir(parents=True, exist_ok=True)
    for patient in patients:
        for study in patient.studies:
            for lesion in study.lesions:
                name = f"{patient.id}_{study.date:%Y%m%d}_{lesion.label}{lesion.number}.nii.gz"
                write(
                    Path(folder) / lesion.kind / name,
                    resample_lesion_crop(study, lesion, side_mm=side_mm, window_hu=window_hu),
                )
                written += 1
    return written


def resample_lesion_crop(
    study: Study,
    lesion: Lesion,
    *,
    side_mm: float = 36.0,
    n_voxels: int = 16,
    window_hu: tuple[float, float] | None = None,
) -> Image:
    """Resample a cube around a lesion to ``n_voxels`` per side by cubic splines, the same at every site."""
    near = crop_around_lesion(study, lesion, side_mm=side_mm + 6 * max(study.image.grid.spacing))
    step = side_mm / n_voxels
    matrix = np.eye(4)
    matrix[:3, :3] = near.grid.directions * step
    matrix[:3, 3] = np.array(lesion.centre_mm) - matrix[:3, :3] @ np.full(3, (n_voxels - 1) / 2)
    grid = Grid((n_voxels,) * 3, matrix_to_tuples(matrix))
    places = np.moveaxis(near.grid.to_index(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))), -1, 0)
    array = ndimage.map_coordinates(near.array.astype(np.float32), places, order=3, mode="nearest")
    if window_hu is not None:
        array = np.clip(array, *window_hu)
    return Image(np.round(array).astype(np.int16), grid, "ct", study.image.tags)


def crop_around_lesion(study: Study, lesion: Lesion, *, side_mm: float = 36.0) -> Image:
    """Crop the voxels around a lesion without resampling; beyond the scan the edge values are repeated."""
    grid = study.image.grid
    shape = [max(4, round(side_mm / s)) for s in grid.spacing]
    start = np.round(grid.to_index(lesion.centre_mm) - (np.array(shape) - 1) / 2).astype(int)
    reach = [np.clip(np.arange(a, a + n), 0, s - 1) for a, n, s in zip(start, shape, grid.shape, strict=True)]
    return Image(study.image.array[np.ix_(*reach)], grid.crop(start.tolist(), shape), "ct", study.image.tags)
