"""DICOM segmentations."""

from ..dicom.seg import claims, items, read_labels
from ._format import Format

THIS = Format((".dcm", ".seg"), claims, None, read_labels, None, items)
