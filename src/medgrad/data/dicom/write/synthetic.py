"""Write images that were generated as DICOM secondary captures, one file for each slice, declared as synthetic."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from ....errors import FormatError
from ...types import Image
from .ct import FROM_RAS, decimal_string, uid_from_words
from .equipment import Algorithm, set_equipment
from .patient_study import contribution_item
from .seg import save_dataset
from .snomed import printable_text

STORED = 65535
"""The values of a series are stored as whole numbers from 0 to this."""
EMPTY = ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
         "StudyID", "Laterality")  # fmt: skip


def write_synthetic_series(
    folder: Path, image: Image, *, label: str = "", made_by: Algorithm | None = None
) -> list[Path]:
    """Write a generated image of one channel into a folder as a series, a file for each slice, and give the paths.

    SyntheticData is YES, the patient is named SYNTHETIC, and the UIDs are made from the values. These are stored in 16
    bits on one scale, so they come back within half a step of it.
    """
    if image.channels != 1:
        raise FormatError(f"A secondary capture of values has one channel, but the image has {image.channels}.")
    if not np.isfinite(image.array).all():
        raise FormatError("A generated image has values that are not finite, which DICOM cannot store.")
    made_by = made_by or Algorithm()
    key = hashlib.sha256(np.ascontiguousarray(image.array).tobytes()).hexdigest() + made_by.serial_number
    values = slices_of(image)
    low, high = float(values.min()), float(values.max())
    slope = float(decimal_string((high - low) / STORED)) if high > low else 1.0
    low = float(decimal_string(low))
    stored = np.clip(np.rint((values - low) / slope), 0, STORED).astype("<u2")
    common = make_common_dataset(image, key, label, made_by)
    common.RescaleIntercept, common.RescaleSlope, common.RescaleType = decimal_string(low), decimal_string(slope), "US"
    common.WindowCenter, common.WindowWidth = (decimal_string(v) for v in ((low + high) / 2, max(high - low, 1e-6)))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, plane in enumerate(stored):
        made = make_slice(common, image, key, number)
        made.PixelData = plane.tobytes()
        made["PixelData"].VR = "OW"
        written.append(save_dataset(made, folder / f"{number + 1:04}.dcm"))
    return written


def slices_of(image: Image) -> NDArray[np.float64]:
    """Give the values of an image as (slices, rows, columns); a flat image has its rows first."""
    values = image.channels_first[0].astype(np.float64)
    return values[None] if image.grid.dims == 2 else values.transpose(2, 1, 0)


def make_common_dataset(image: Image, key: str, label: str, made_by: Algorithm) -> Dataset:
    """Make the dataset of elements that all slices share."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SyntheticData = SecondaryCaptureImageStorage, "YES"
    made.ImageType, made.ConversionType, made.Modality = ["DERIVED", "SECONDARY"], "SYN", "OT"
    made.PatientName, made.PatientID = "SYNTHETIC", f"SYNTHETIC-{uid_from_words(key)[-12:]}"
    for keyword in EMPTY:
        setattr(made, keyword, "")
    made.StudyInstanceUID, made.SeriesInstanceUID = uid_from_words(key, "study"), uid_from_words(key, "series")
    made.SeriesNumber, made.SeriesDescription = 1, printable_text(f"Synthetic {label}".strip())[:64]
    made.DerivationDescription = made_by.description.replace("Answered by", "Generated from noise by")
    set_equipment(made, made_by)
    made.ContributingEquipmentSequence = [contribution_item(made_by)]
    made.BurnedInAnnotation = "NO"
    made.PatientOrientation = "" if image.grid.dims == 2 else ["L", "P"]
    made.Rows, made.Columns = slices_of(image).shape[1:]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    if image.grid.has_spacing:
        down, along = image.grid.spacing[:2] if image.grid.dims == 2 else image.grid.spacing[1::-1]
        made.PixelSpacing = [decimal_string(down), decimal_string(along)]
    return made


def make_slice(common: Dataset, image: Image, key: str, number: int) -> Dataset:
    """Make one slice without its pixels; of a volume, with its place in the patient's space."""
    made = Dataset(common)
    made.SOPInstanceUID, made.InstanceNumber = uid_from_words(key, "instance", number), number + 1
    if image.grid.dims == 3:
        matrix, spacing = FROM_RAS @ image.grid.matrix, image.grid.spacing
        made.ImageOrientationPatient = [decimal_string(v) for axis in (0, 1) for v in matrix[:3, axis] / spacing[axis]]
        made.ImagePositionPatient = [decimal_string(v) for v in matrix[:3, 3] + number * matrix[:3, 2]]
        made.SliceThickness, made.FrameOfReferenceUID = decimal_string(spacing[2]), uid_from_words(key, "frame")
        made.PositionReferenceIndicator = ""
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = (
        made.SOPClassUID,
        made.SOPInstanceUID,
    )
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made
