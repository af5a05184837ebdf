"""The patient, study, date and device elements of a DICOM object that is written without highdicom."""

from __future__ import annotations

from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from ....version import VERSION
from ..file import word
from .equipment import MANUFACTURER, PROCESSING, Algorithm, code_item, describe_equipment
from .source import OF_THE_PATIENT, Slice

CARRIED = ("StudyInstanceUID", *OF_THE_PATIENT)


def begun(
    one: Slice,
    maker: Algorithm,
    *,
    kind: str,
    modality: str,
    series: str,
    instance: str,
    number: int = 1,
    key: str = "",
) -> Dataset:
    """Start a dataset in the study of a slice: patient, study, series, device. With a key, it has the study's date.

    It uses implicit VR, since the points of a contour may exceed the length field of explicit VR.
    """
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for name in CARRIED:
        if name in one.head:
            setattr(made, name, one.head[name].value)
    made.SOPClassUID, made.SOPInstanceUID = kind, instance
    made.Modality, made.SeriesInstanceUID, made.InstanceNumber = modality, series, number
    day, hour = when(one, key)
    made.InstanceCreationDate = made.SeriesDate = day
    made.InstanceCreationTime = made.SeriesTime = hour
    describe_equipment(made, maker)
    made.ContributingEquipmentSequence = [contribution(maker)]
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = kind, instance
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return made


def when(one: Slice, key: str) -> tuple[str, str]:
    """Give the date and time in DICOM's form: now, or those of the study where there is a key."""
    if key:
        return word(one.head, "StudyDate") or "20000101", word(one.head, "StudyTime") or "000000"
    now = datetime.now()
    return f"{now:%Y%m%d}", f"{now:%H%M%S}"


def contribution(maker: Algorithm) -> Dataset:
    """Make the contributing equipment item."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING)]
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, maker.title
    item.SoftwareVersions, item.DeviceSerialNumber = VERSION, maker.serial
    item.ContributionDescription = maker.story
    return item
