"""DICOM images: a file, or the series of a folder."""

from ..dicom.image import can_read, list_items, read, read_spec
from ._format import Format

THIS = Format((".dcm", ".dicom", ".ima"), can_read, read, None, None, list_items, read_spec=read_spec)
