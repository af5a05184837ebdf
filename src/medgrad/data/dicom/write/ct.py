"""Write CT volumes as DICOM, one file for each slice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ...types import Image
from ..volume import TO_RAS

LOWEST, HIGHEST = -1024, 3071
FROM_RAS = np.linalg.inv(TO_RAS)


@dataclass(frozen=True)
class SeriesHeader:
    """The header of a series besides its pixels. Its UIDs are made from the keys: equal keys give equal UIDs.

    ``elements`` are further DICOM elements by keyword, written into every file.
    """

    series_key: str
    study_key: str
    frame_of_reference_key: str
    elements: Mapping[str, Any] = field(default_factory=dict)


def uid_from_words(*words: object) -> str:
    """Make a DICOM UID from words; the same words give the same UID.

    >>> uid_from_words("P001", 2) == uid_from_words("P001", 2) != uid_from_words("P001", 3)
    True
    """
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_ct(folder: Path, image: Image, series_header: SeriesHeader) -> list[Path]:
    """Write a volume in Hounsfield units into a folder, a file for each slice, and give the paths.

    Values are stored as integers from -1024 to 3071; others are clipped. The slice axis must be normal to the
    slices.
    """
    along, down, step, start = slice_geometry(image)
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.clip(np.round(image.array), LOWEST, HIGHEST).astype(np.int32) - LOWEST
    common = make_common_dataset(image, series_header)
    common.ImageOrientationPatient = [decimal_string(v) for v in (*along, *down)]
    written = []
    for number in range(image.grid.shape[2]):
        slice_dataset = Dataset(common)
        slice_dataset.SOPInstanceUID = uid_from_words(series_header.series_key, number)
        slice_dataset.InstanceNumber = number + 1
        slice_dataset.ImagePositionPatient = [decimal_string(v) for v in start + number * step]
        slice_dataset.PixelData = stored[:, :, number].T.astype("<u2").tobytes()
        slice_dataset.file_meta = FileMetaDataset()
        slice_dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        slice_dataset.file_meta.MediaStorageSOPInstanceUID = slice_dataset.SOPInstanceUID
        slice_dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{number + 1:04}.dcm"
        slice_dataset.save_as(path, enforce_file_format=True)
        written.append(path)
    return written


def slice_geometry(image: Image) -> tuple[Any, Any, Any, Any]:
    """Give the row and column directions, the slice step and the first position, in LPS."""
    grid = image.grid
    if grid.dims != 3 or image.channels != 1:
        raise ValueError(f"A CT series is a volume of one channel, but this is {image.array.shape}.")
    matrix = FROM_RAS @ grid.matrix
    along, down = (matrix[:3, axis] / grid.spacing[axis] for axis in (0, 1))
    normal = np.cross(along, down)
    step = matrix[:3, 2]
    if abs(along @ down) > 1e-4 or normal @ step < 0.9999 * grid.spacing[2]:
        raise ValueError(
            f"The axes {grid.orientation} of this volume are no stack of DICOM slices: its slices must go up a "
            "right-handed system at right angles. Reorient it to LPS first."
        )
    return along, down, step, matrix[:3, 3]


def make_common_dataset(image: Image, series_header: SeriesHeader) -> Dataset:
    """Make the dataset of elements that all slices share."""
    x_mm, y_mm, z_mm = image.grid.spacing
    columns, rows, _ = image.grid.shape
    one = Dataset()
    one.SpecificCharacterSet = "ISO_IR 192"
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.SOPClassUID = CTImageStorage
    one.Modality = "CT"
    one.StudyInstanceUID = uid_from_words(series_header.study_key)
    one.SeriesInstanceUID = uid_from_words(series_header.series_key)
    one.FrameOfReferenceUID = uid_from_words(series_header.frame_of_reference_key)
    for name in ("StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PositionReferenceIndicator"):
        setattr(one, name, "")
    one.PatientName = one.PatientID = one.PatientBirthDate = one.PatientSex = one.StudyDate = one.Manufacturer = ""
    one.SeriesNumber = 1
    one.AcquisitionNumber = 1
    one.PatientPosition = "HFS"
    one.KVP = "120"
    one.SliceThickness = decimal_string(z_mm)
    one.PixelSpacing = [decimal_string(y_mm), decimal_string(x_mm)]
    one.Rows, one.Columns = rows, columns
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 12, 11
    one.RescaleIntercept, one.RescaleSlope, one.RescaleType = str(LOWEST), "1", "HU"
    for keyword, value in series_header.elements.items():
        setattr(one, keyword, value)
    return one


def decimal_string(value: float) -> str:
    """Format a number as a DICOM decimal string of at most 16 characters.

    >>> decimal_string(-2.5), decimal_string(1 / 3)
    ('-2.5', '0.3333333333333')
    """
    found = f"{float(value) + 0.0:.13g}"
    return found if len(found) <= 16 else f"{float(value):.8g}"
