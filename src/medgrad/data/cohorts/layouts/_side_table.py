"""A table beside the images that gives the patient or the split of each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....errors import FormatError, LayoutError
from ...dicom.read_dataset import get_text, is_dicom, open_dicom
from ...tables import find_column, read_csv_rows
from ..cohort import Cohort
from ..split_files import ID_WORDS, describe_split_counts, find_split_column, parse_split_name, strip_image_suffix
from ._files import is_data_file

PATIENT_WORDS = (
    "patient", "patient_id", "patientid", "patient_name", "subject", "subject_id", "subjectid", "participant",
    "participant_id", "pid", "person", "person_id", "mrn",
)  # fmt: skip


@dataclass(frozen=True)
class SideTable:
    """The patients and splits that a table gives, by case id."""

    patients: dict[str, str] = field(default_factory=dict)
    patients_source: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    split_message: str = ""


def patients_from_dicom_tags(cohort: Cohort) -> dict[str, str]:
    """Read the patients of single DICOM files from the tag PatientID; empty if it does not distinguish them."""
    found: dict[str, str] = {}
    for entry in cohort.entries:
        path = next(iter(entry.images.values())).path
        if not path.is_file() or not is_dicom(path):
            return {}
        try:
            found[entry.id] = get_text(open_dicom(path, with_pixels=False, keywords=["PatientID"]), "PatientID")
        except FormatError:
            found[entry.id] = ""
    return found if all(found.values()) and len(set(found.values())) > 1 else {}


def list_tables(folder: Path) -> list[Path]:
    """List the CSV and TSV files directly in a folder."""
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv") and p.is_file() and is_data_file(p)
    )


def find_side_table(cohort: Cohort, root: Path) -> SideTable | None:
    """Find the table in a folder that has a row for nearly every case, and a column of patients or splits."""
    for path in list_tables(root):
        if parse_split_name(path.stem):
            continue
        try:
            rows = read_csv_rows(path)
        except LayoutError:
            continue
        found = _parse_side_table(cohort, rows, path) if rows else None
        if found:
            return found
    return None


def _parse_side_table(cohort: Cohort, rows: Sequence[dict[str, str]], path: Path) -> SideTable | None:
    patients, sides = find_column(rows[0], PATIENT_WORDS), find_split_column(rows)
    ids = find_column(rows[0], [w for w in ID_WORDS if w != "subject"]) or patients
    if ids is None or (patients is None and sides is None):
        return None
    by_id = {strip_image_suffix(row[ids]).rsplit("/", 1)[-1]: row for row in rows if row[ids]}
    row_of = {e.id: by_id.get(e.id) or by_id.get(e.id.rsplit("/", 1)[-1]) for e in cohort.entries}
    row_by_case = {i: row for i, row in row_of.items() if row}
    if len(row_by_case) < 0.9 * len(cohort.entries):
        return None
    patient_by_case = {i: row[patients] for i, row in row_by_case.items() if patients and row[patients]}
    split_by_case = {i: side for i, row in row_by_case.items() if sides and (side := parse_split_name(row[sides]))}
    message = (
        f"The split is the column {sides!r} of {path.name}: {describe_split_counts(split_by_case.values())}."
        if split_by_case
        else ""
    )
    return SideTable(
        patient_by_case, f"the column {patients!r} of {path.name}" if patient_by_case else "", split_by_case, message
    )
