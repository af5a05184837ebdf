"""Whether an answer can be written as it is asked for, told before it is made."""

from __future__ import annotations

from importlib.util import find_spec

from ...data import Source
from ...errors import Missing
from .write_dicom import CHANCES, LABELS, check, is_dicom

PLAIN = ("capture", "rtstruct")
"""What is written as DICOM without highdicom."""


def check_writable(kind: str, task: str, source: Source) -> None:
    """Raise if an answer as ``kind`` (empty: as its input) needs a series that is not there, or a package.

    Boxes are written as a report about any image.
    """
    if kind in (*LABELS, *CHANCES) and task != "detection":
        check(source, kind)
    in_dicom = kind in (*LABELS, *CHANCES) or (kind == "" and task == "segmentation" and is_dicom(source.path))
    if in_dicom and kind not in PLAIN and find_spec("highdicom") is None:
        todo = "" if kind else " Or give --format nifti."
        raise Missing(f"'highdicom' is not installed. Type: pip install 'medgrad[dicom]'{todo}")
