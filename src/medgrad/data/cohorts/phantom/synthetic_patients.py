"""Make synthetic patients: CT scans at several dates, labels of organs and lesions, and the deformation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from ...case import Case
from ...grid import Grid, matrix_to_tuples
from ...types import Deformation, Image, LabelMap
from ._distance_fields import Field, Points
from .anatomy import ORGANS, Anatomy
from .lesions import Lesion, PlannedLesion, paint_lesion, plan_lesions
from .respiratory_motion import RespiratoryMotion
from .scanner import SITES, Site, simulate_scan

LABELS = (*ORGANS, "nodule", "lesion")
MIN_VOXELS = 8


@dataclass(frozen=True)
class Phantom:
    """The settings of a synthetic cohort; the same settings give the same pixels.

    The trunk fills the field of view (``shape`` times ``spacing_mm``), so organs shrink with it; lesions do not.
    ``nodules`` (in the lungs) and ``lesions`` (in the liver) are the minimum and maximum count of a patient;
    ``diameters_mm`` is the range of their diameters at the first date. Only the texture of a lesion shows whether
    it is malignant. ``breath_mm`` is how far the diaphragm may move between dates; ``sites`` is the number of
    scanners used.
    """

    patients: int = 12
    dates: tuple[int, int] = (2, 3)
    shape: tuple[int, int, int] = (96, 96, 64)
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 3.0)
    seed: int = 0
    nodules: tuple[int, int] = (2, 4)
    lesions: tuple[int, int] = (1, 3)
    diameters_mm: tuple[float, float] = (12.0, 26.0)
    breath_mm: float = 8.0
    sites: int = 3

    def __post_init__(self) -> None:
        if self.patients < 1 or not 1 <= self.dates[0] <= self.dates[1]:
            raise ValueError(f"A cohort needs patients and dates, but got {self.patients} and {self.dates}.")
        if min(self.shape) < MIN_VOXELS or min(self.spacing_mm) <= 0:
            raise ValueError(
                f"A phantom needs at least {MIN_VOXELS} voxels along each axis and spacings above 0, but "
                f"got {self.shape} "
                f"and {self.spacing_mm}."
            )
        if not 1 <= self.sites <= len(SITES):
            raise ValueError(f"There are 1 to {len(SITES)} sites, but got {self.sites}.")


@dataclass(frozen=True)
class Study:
    """One patient at one date. ``deformation`` maps each point of this scan to the first date."""

    date: date
    day: int
    image: Image
    labels: LabelMap
    lesions: tuple[Lesion, ...]
    deformation: Deformation


@dataclass(frozen=True)
class Patient:
    """One synthetic patient. ``vanished_lesions`` lists the numbers of lesions that have vanished by the last date."""

    id: str
    sex: str
    age_years: int
    site: Site
    studies: tuple[Study, ...]

    @property
    def vanished_lesions(self) -> tuple[int, ...]:
        last = {lesion.number for lesion in self.studies[-1].lesions}
        return tuple(sorted({x.number for s in self.studies for x in s.lesions} - last))


@dataclass(frozen=True)
class PatientPlan:
    """What is drawn for a patient before the first scan.

    ``points`` (3, *shape) are the voxel positions, in mm from the centre ``centre_mm`` of the trunk, which is in
    world RAS. ``motions`` has one motion for each of ``days``, None for the first. ``hu`` and ``organs`` are the
    body at the first date, without lesions. A boundary is ``width_mm`` wide.
    """

    anatomy: Anatomy
    grid: Grid
    centre_mm: NDArray[np.float64]
    points: Points
    width_mm: float
    days: tuple[int, ...]
    motions: tuple[RespiratoryMotion | None, ...]
    hu: Field
    organs: NDArray[np.uint8]
    planned_lesions: tuple[PlannedLesion, ...]


def make_patient(phantom: Phantom, number: int) -> Patient:
    """Make patient ``number`` of a cohort, from 0; it does not depend on how many there are.

    >>> tiny = Phantom(shape=(24, 24, 16), spacing_mm=(10, 10, 12))
    >>> make_patient(tiny, 3).id
    'P004'
    """
    rng = np.random.default_rng((phantom.seed, number))
    site = SITES[int(rng.integers(phantom.sites))]
    plan = plan_patient(phantom, site, rng)
    begin = date(2021, 1, 4) + timedelta(days=int(rng.integers(0, 700)))
    person = Patient(f"P{number + 1:03}", str(rng.choice(["F", "M"])), int(rng.integers(38, 85)), site, ())
    studies = tuple(
        scan_study(plan, which, person, begin, np.random.default_rng((phantom.seed, number, which, 1)))
        for which in range(len(plan.days))
    )
    return replace(person, studies=studies)


def plan_patient(phantom: Phantom, site: Site, rng: np.random.Generator) -> PatientPlan:
    """Draw a patient's anatomy, the scan dates, the respiratory motion at each, and the lesions."""
    grid = make_scan_grid(phantom, site, rng)
    half = np.array(grid.shape) * np.array(grid.spacing) / 2
    trunk = (0.90 * float(half[0]), 0.80 * float(half[1]), float(half[2]))
    anatomy = Anatomy.random(rng, trunk)
    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    points = np.moveaxis(voxel_positions(grid) - middle, -1, 0).astype(np.float32)
    days = [0]
    for _ in range(int(rng.integers(phantom.dates[0], phantom.dates[1] + 1)) - 1):
        days.append(days[-1] + int(rng.integers(60, 150)))
    breaths = (None, *(RespiratoryMotion.random(rng, trunk, phantom.breath_mm) for _ in days[1:]))
    width_mm = float(np.prod(grid.spacing) ** (1 / 3))
    hu, organs = anatomy.paint_ct(points, width_mm)
    seeds = plan_lesions(
        rng,
        organs,
        grid.spacing,
        np.moveaxis(points, 0, -1).astype(float),
        organs=ORGANS,
        counts={
            "nodule": int(rng.integers(phantom.nodules[0], phantom.nodules[1] + 1)),
            "lesion": int(rng.integers(phantom.lesions[0], phantom.lesions[1] + 1)),
        },
        diameters_mm=phantom.diameters_mm,
        days=days,
        motion_mm=1.5 * phantom.breath_mm if len(days) > 1 else 0.0,
    )
    return PatientPlan(anatomy, grid, middle, points, width_mm, tuple(days), breaths, hu, organs, tuple(seeds))


def scan_study(
    plan: PatientPlan, date_index: int, patient: Patient, first_date: date, rng: np.random.Generator
) -> Study:
    """Simulate the scan of a patient at one of the planned dates."""
    breath, day = plan.motions[date_index], plan.days[date_index]
    moved = np.zeros_like(plan.points) if breath is None else breath(plan.points)
    original = plan.points + moved
    if breath is None:
        hu, labels = plan.hu.copy(), plan.organs.copy()
    else:
        hu, labels = plan.anatomy.paint_ct(original, plan.width_mm)
    present = [s for s in plan.planned_lesions if s.growth.first_date <= date_index < s.growth.last_date]
    lesions = tuple(add_lesion(plan, seed, date_index, hu, labels, original) for seed in present)
    when = first_date + timedelta(days=day)
    image = Image(simulate_scan(hu, patient.site, rng), plan.grid, "ct", scan_tags(patient, when))
    truth = LabelMap(labels, plan.grid, dict(enumerate(LABELS, 1)))
    return Study(when, day, image, truth, lesions, Deformation(np.moveaxis(moved, 0, -1), plan.grid))


def make_scan_grid(phantom: Phantom, site: Site, rng: np.random.Generator) -> Grid:
    """Make the grid of a patient's scans: columns to the left, rows to the back, slices upwards, as scanners do."""
    size = np.array(phantom.shape) * np.array(phantom.spacing_mm)
    spacing = np.array(phantom.spacing_mm) * np.array(site.spacing_factors)
    spacing = np.round(spacing, 4)
    shape = tuple(max(MIN_VOXELS, round(float(s / p))) for s, p in zip(size, spacing, strict=True))
    matrix = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    middle = np.round(rng.uniform(-60, 60, 3), 1)
    matrix[:3, 3] = np.round(middle - matrix[:3, :3] @ ((np.array(shape) - 1) / 2), 4)
    return Grid(shape, matrix_to_tuples(matrix))


def voxel_positions(grid: Grid) -> NDArray[np.float64]:
    """Give the world coordinates of every voxel, (*shape, 3)."""
    return grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))


def add_lesion(
    plan: PatientPlan,
    planned_lesion: PlannedLesion,
    date_index: int,
    hu: Field,
    labels: NDArray[np.uint8],
    first_date_points: Points,
) -> Lesion:
    """Paint a lesion at one date into ``hu`` and ``labels``, and describe it."""
    first_centre, breath = np.array(planned_lesion.centre_mm), plan.motions[date_index]
    centre = first_centre if breath is None else breath.invert(first_centre)
    radius = planned_lesion.growth.radius_mm(planned_lesion.radius_mm, plan.days[date_index])
    paint_lesion(
        hu,
        labels,
        plan.points,
        first_date_points,
        planned_lesion=planned_lesion,
        centre_mm=centre.tolist(),
        radius_mm=radius,
        width_mm=plan.width_mm,
        label_value=LABELS.index(planned_lesion.label) + 1,
    )
    rate = planned_lesion.growth.doublings_per_day
    world = centre + plan.centre_mm
    return Lesion(
        planned_lesion.number,
        planned_lesion.label,
        planned_lesion.kind,
        (float(world[0]), float(world[1]), float(world[2])),
        4 / 3 * float(np.pi) * radius**3,
        2 * radius,
        planned_lesion.growth.doubling_days,
        "growing" if rate > 0 else "shrinking" if rate < 0 else "stable",
        date_index == planned_lesion.growth.first_date > 0,
    )


def scan_tags(patient: Patient, scan_date: date) -> dict[str, str]:
    """Give the DICOM-like tags of a scan."""
    return {
        "patient": patient.id,
        "sex": patient.sex,
        "age": f"{patient.age_years:03}Y",
        "study_date": f"{scan_date:%Y%m%d}",
        "institution": patient.site.name,
        "modality": "CT",
    }


def make_patients(phantom: Phantom) -> Iterator[Patient]:
    """Make all patients of a cohort, one after another."""
    for number in range(phantom.patients):
        yield make_patient(phantom, number)


def to_cases(patient: Patient) -> list[Case]:
    """Give each date of a patient as a case, with its labels as the truth."""
    return [
        Case(
            f"{patient.id}_{study.date:%Y%m%d}",
            {"image": study.image},
            study.labels,
            patient.id,
            metadata={"date": f"{study.date:%Y%m%d}", "day": study.day, "sex": patient.sex,
                   "age_years": patient.age_years, "site": patient.site.name},
        )
        for study in patient.studies
    ]  # fmt: skip
