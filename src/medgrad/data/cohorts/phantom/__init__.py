"""Synthetic cohorts with known truth: CT of chests with nodules and livers with lesions, at several dates."""

from .lesions import Lesion
from .synthetic_patients import LABELS, Patient, Phantom, Study, make_patient, make_patients, to_cases
from .write import write_cohort, write_lesions, write_series

__all__ = [
    "LABELS",
    "Lesion",
    "Patient",
    "Phantom",
    "Study",
    "make_patient",
    "make_patients",
    "to_cases",
    "write_cohort",
    "write_lesions",
    "write_series",
]
