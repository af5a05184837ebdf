"""A table beside the images that gives the patient or the split of each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....errors import FormatError, LayoutError
from ...dicom.file import is_dicom, open_dicom, word
from ...tables import column, rows_of
from ..cohort import Cohort
from ..split_files import ID_WORDS, bare, counted, side_of, split_column
from ._files import is_data

PATIENT_WORDS = (
    "patient", "patient_id", "patientid", "patient_name", "subject", "subject_id", "subjectid", "participant",
    "participant_id", "pid", "person", "person_id", "mrn",
)  # fmt: skip


@dataclass(frozen=True)
class Beside:
    """The patients and splits that a table gives, by case id."""

    patients: dict[str, str] = field(default_factory=dict)
    patients_from: str = ""
    sides: dict[str, str] = field(default_factory=dict)
    split_told: str = ""


def patients_by_tag(cohort: Cohort) -> dict[str, str]:
    """Read the patients of single DICOM files from the tag PatientID; empty if it does not distinguish them."""
    found: dict[str, str] = {}
    for entry in cohort.entries:
        path = next(iter(entry.images.values())).path
        if not path.is_file() or not is_dicom(path):
            return {}
        try:
            found[entry.id] = word(open_dicom(path, pixels=False, only=["PatientID"]), "PatientID")
        except FormatError:
            found[entry.id] = ""
    return found if all(found.values()) and len(set(found.values())) > 1 else {}


def tables_in(folder: Path) -> list[Path]:
    """List the CSV and TSV files directly in a folder."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv") and p.is_file() and is_data(p))


def told_beside(cohort: Cohort, root: Path) -> Beside | None:
    """Find the table in a folder that has a row for nearly every case, and a column of patients or splits."""
    for path in tables_in(root):
        if side_of(path.stem):
            continue
        try:
            rows = rows_of(path)
        except LayoutError:
            continue
        found = _from_rows(cohort, rows, path) if rows else None
        if found:
            return found
    return None


def _from_rows(cohort: Cohort, rows: Sequence[dict[str, str]], path: Path) -> Beside | None:
    patients, sides = column(rows[0], PATIENT_WORDS), split_column(rows)
    ids = column(rows[0], [w for w in ID_WORDS if w != "subject"]) or patients
    if ids is None or (patients is None and sides is None):
        return None
    by_id = {bare(row[ids]).rsplit("/", 1)[-1]: row for row in rows if row[ids]}
    row_of = {e.id: by_id.get(e.id) or by_id.get(e.id.rsplit("/", 1)[-1]) for e in cohort.entries}
    known = {i: row for i, row in row_of.items() if row}
    if len(known) < 0.9 * len(cohort.entries):
        return None
    whose = {i: row[patients] for i, row in known.items() if patients and row[patients]}
    where = {i: side for i, row in known.items() if sides and (side := side_of(row[sides]))}
    told = f"The split is the column {sides!r} of {path.name}: {counted(where.values())}." if where else ""
    return Beside(whose, f"the column {patients!r} of {path.name}" if whose else "", where, told)
