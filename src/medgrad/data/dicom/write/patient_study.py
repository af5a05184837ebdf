"""The patient, study, date and device elements of a DICOM object that is written without highdicom."""

from __future__ import annotations

from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from ....version import VERSION
from ..read_dataset import get_text
from .equipment import MANUFACTURER, PROCESSING, Algorithm, code_to_item, set_equipment
from .source_slices import PATIENT_KEYWORDS, Slice

COPIED_KEYWORDS = ("StudyInstanceUID", *PATIENT_KEYWORDS)


def start_dataset(
    source_slice: Slice,
    made_by: Algorithm,
    *,
    sop_class: str,
    modality: str,
    series_uid: str,
    instance_uid: str,
    number: int = 1,
    key: str = "",
) -> Dataset:
    """Start a dataset in the study of a slice: patient, study, series, device. With a key, it has the study's date.

    It uses implicit VR, since the points of a contour may exceed the length field of explicit VR.
    """
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for name in COPIED_KEYWORDS:
        if name in source_slice.header:
            setattr(made, name, source_slice.header[name].value)
    made.SOPClassUID, made.SOPInstanceUID = sop_class, instance_uid
    made.Modality, made.SeriesInstanceUID, made.InstanceNumber = modality, series_uid, number
    day, hour = content_date_time(source_slice, key)
    made.InstanceCreationDate = made.SeriesDate = day
    made.InstanceCreationTime = made.SeriesTime = hour
    set_equipment(made, made_by)
    made.ContributingEquipmentSequence = [contribution_item(made_by)]
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = sop_class, instance_uid
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return made


def content_date_time(source_slice: Slice, key: str) -> tuple[str, str]:
    """Give the date and time in DICOM's form: now, or those of the study where there is a key."""
    if key:
        return get_text(source_slice.header, "StudyDate") or "20000101", get_text(
            source_slice.header, "StudyTime"
        ) or "000000"
    now = datetime.now()
    return f"{now:%Y%m%d}", f"{now:%H%M%S}"


def contribution_item(made_by: Algorithm) -> Dataset:
    """Make the contributing equipment item."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_to_item(PROCESSING)]
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, made_by.short_name
    item.SoftwareVersions, item.DeviceSerialNumber = VERSION, made_by.serial_number
    item.ContributionDescription = made_by.description
    return item
