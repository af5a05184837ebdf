"""Contours in DICOM RT structure sets."""

from ..dicom.rtstruct import can_read, list_items, read_labels
from ._format import Format

THIS = Format((".dcm",), can_read, None, read_labels, None, list_items)
