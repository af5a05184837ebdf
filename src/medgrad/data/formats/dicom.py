"""DICOM images: a file, or the series of a folder."""

from ..dicom.image import claims, extent, items, read
from ._format import Format

THIS = Format((".dcm", ".dicom", ".ima"), claims, read, None, None, items, extent=extent)
