"""Synthetic cohorts with known truth: CT of chests with nodules and livers with lesions, at several dates."""

from .cohort import LABELS, Patient, Phantom, Study, cases_of, make_patient, patients
from .lesions import Lesion
from .write import write_cohort, write_lesions, write_series

__all__ = [
    "LABELS",
    "Lesion",
    "Patient",
    "Phantom",
    "Study",
    "cases_of",
    "make_patient",
    "patients",
    "write_cohort",
    "write_lesions",
    "write_series",
]
