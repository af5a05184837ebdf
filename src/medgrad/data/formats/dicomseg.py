"""DICOM segmentations."""

from ..dicom.seg import can_read, list_items, read_labels
from ._format import Format

THIS = Format((".dcm", ".seg"), can_read, None, read_labels, None, list_items)
