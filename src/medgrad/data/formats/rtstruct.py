"""Contours in DICOM RT structure sets."""

from ..dicom.rtstruct import claims, items, read_labels
from ._format import Format

THIS = Format((".dcm",), claims, None, read_labels, None, items)
