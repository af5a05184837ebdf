"""Identify the patient of each case: by a column or a tag, else from file names where that is unambiguous."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from .cohort import Cohort

ONE_PATIENT_PER_CASE = "one patient a case"

PATIENT_PREFIXES = "patient|pat|pt|subject|subj|sub|participant|case|person|volunteer|pid|mrn"
WITHIN_PATIENT_WORDS = (
    "date|day|week|month|visit|session|ses|time|timepoint|tp|t|study|scan|series|exam|follow|fu|baseline|"
    "slice|sl|slc|frame|fr|image|img|view|z|patch|tile|crop|roi|lesion|nodule|aug|copy|run|rep|page|channel"
)
VIEW_WORDS = "left|right|l|r|od|os|cc|mlo|ap|pa|lat|lateral|frontal|ax|axial|cor|coronal|sag|sagittal|2ch|3ch|4ch|es|ed"

NOT_A_PATIENT = re.compile(r"(batch|part|fold|set|group|site|cent(er|re)|hospital|class|label|grade|stage)", re.I)

# Each gives the patient as its first group. The strict ones come first.
PATIENT_PATTERNS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(p, re.IGNORECASE)
    for p in (
        r"^(sub-[a-z0-9]+)(?=[_/]|$)",  # BIDS
        r"(?<![a-z0-9])(TCGA[-_.][a-z0-9]{2}[-_.][a-z0-9]{4})(?![a-z0-9])",
        r"^(brats-[a-z0-9]+-\d{4,})-\d{3}(?![0-9])",  # BraTS 2023: patient, then time point
        rf"(?<![a-z])((?:{PATIENT_PREFIXES})[-_ .]?\d+)(?=[-_ ./]|$)",  # patient012_frame01, case_0001_date2
        r"(?:^|/)(p[-_]?\d+)(?=[-_ ./]|$)",  # P001-L-CC
        rf"^(.*?\d.*?)[-_ ./](?:{WITHIN_PATIENT_WORDS})[-_ .]?\d+(?![a-z0-9])",  # 0012_slice_07
        rf"^(.*?\d.*?)[-_ ./](?:{VIEW_WORDS})(?![a-z0-9])",  # 21_left
    )
)


def guess_patients(names: Sequence[str]) -> tuple[list[str] | None, str]:
    """Guess the patient of each case from its name, or None; and say how, with an example.

    A pattern is used only if every name matches, there are several patients, and one of them has several cases: a
    guess that changes nothing is not made.

    >>> guess_patients(["p01_slice_1", "p01_slice_2", "p02_slice_1"])
    (['p01', 'p01', 'p02'], "patient = 'p01' in 'p01_slice_1'")
    """
    for pattern in PATIENT_PATTERNS:
        found = [pattern.search(name) for name in names]
        if not all(found):
            continue
        patients = [m.group(1) for m in found if m]
        if 2 <= len(set(patients)) < len(names):
            return patients, f"patient = {patients[0]!r} in {names[0]!r}"
    by_folder = _patients_from_folders(names)
    if by_folder:
        return by_folder, f"patient = {by_folder[0]!r} in {names[0]!r}"
    return None, ONE_PATIENT_PER_CASE


def _patients_from_folders(names: Sequence[str]) -> list[str] | None:
    """Take the innermost folder as the patient if every case lies in a folder that has a number in its name."""
    folders = [PurePosixPath(n).parent.name for n in names]
    if not all(re.search(r"\d", f) and not NOT_A_PATIENT.match(f) for f in folders):
        return None
    if not 4 <= len(set(folders)) < len(names):
        return None
    return folders


def assign_patients(
    cohort: Cohort,
    known_patients: Mapping[str, str] | None = None,
    *,
    known_source: str = "",
    names: Sequence[str] | None = None,
) -> Cohort:
    """Set the patient of each case.

    From ``known_patients`` by case id, else guessed from the names, else one patient per case.

    ``names`` are the names to guess from, one for each case; by default the ids.
    """
    if known_patients and all(known_patients.get(e.id) for e in cohort.entries):
        entries = tuple(replace(e, patient=known_patients[e.id]) for e in cohort.entries)
        return replace(cohort, entries=entries, patients_source=known_source)
    patients, how = guess_patients(list(names) if names is not None else [e.id for e in cohort.entries])
    if patients is None:
        return replace(
            cohort,
            entries=tuple(replace(e, patient=e.id) for e in cohort.entries),
            patients_source=_one_per_case_message(known_patients),
        )
    entries = tuple(replace(e, patient=p) for e, p in zip(cohort.entries, patients, strict=True))
    return replace(cohort, entries=entries, patients_source=how)


def _one_per_case_message(known_patients: Mapping[str, str] | None) -> str:
    return (
        f"{ONE_PATIENT_PER_CASE} (a column names patients, but not for every case)"
        if known_patients
        else ONE_PATIENT_PER_CASE
    )
