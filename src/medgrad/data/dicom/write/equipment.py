"""The program and weights that made an answer, described for every kind of DICOM object."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as Coded
from pydicom.uid import generate_uid

from ....version import VERSION
from ...checksum import hash_file
from .ct import uid_from_words
from .snomed import PRIVATE, Code, RegionCode, printable_text

MANUFACTURER = "medgrad"
FAMILY = Code("123110", "Artificial Intelligence", "DCM")
PROCESSING = Code("109102", "Processing Equipment", "DCM")
DEVICE = Code("121007", "Device", "DCM")
MAX_TEXT = 64


@dataclass(frozen=True)
class Algorithm:
    """The algorithm that made an answer: its name, and its weight files, which are hashed when first needed."""

    name: str = "medgrad"
    weight_files: tuple[Path, ...] = ()

    @cached_property
    def weight_hashes(self) -> tuple[str, ...]:
        """The SHA-256 of each weight file, as ``sha256sum`` gives it."""
        return tuple(map(hash_file, self.weight_files))

    @property
    def serial_number(self) -> str:
        """The device serial number: the hash of the weights, or the hash of their hashes; 0 without weights."""
        if len(self.weight_hashes) < 2:
            return self.weight_hashes[0] if self.weight_hashes else "0"
        return hashlib.sha256(" ".join(self.weight_hashes).encode()).hexdigest()

    @property
    def short_name(self) -> str:
        """The name, truncated to DICOM's limit."""
        return printable_text(self.name)[:MAX_TEXT] or MANUFACTURER

    @property
    def parameters(self) -> dict[str, str]:
        """The algorithm parameters: the hashes of the weights."""
        return {"weights_sha256": " ".join(self.weight_hashes)} if self.weight_hashes else {}

    @property
    def description(self) -> str:
        """A sentence on which program and weights made the answer."""
        hashes = f", weights SHA-256 {' '.join(self.weight_hashes)}" if self.weight_hashes else ""
        return f"Answered by {self.short_name}, {MANUFACTURER} {VERSION}{hashes}"[:1024]


def equipment_attributes(made_by: Algorithm) -> dict[str, str]:
    """Give the device attributes that every highdicom object needs."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": made_by.short_name,
        "software_versions": VERSION,
        "device_serial_number": made_by.serial_number,
    }


def set_equipment(dataset: Dataset, made_by: Algorithm) -> None:
    """Set the device attributes of a dataset."""
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, made_by.short_name
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = VERSION, made_by.serial_number


def image_algorithm_identification(highdicom: Any, made_by: Algorithm) -> Any:
    """Make the algorithm identification of images."""
    return highdicom.AlgorithmIdentificationSequence(
        name=made_by.short_name,
        family=to_pydicom_code(FAMILY),
        version=VERSION,
        source=MANUFACTURER,
        parameters=made_by.parameters or None,
    )


def report_algorithm_identification(highdicom: Any, made_by: Algorithm) -> Any:
    """Make the algorithm identification of reports."""
    return highdicom.sr.AlgorithmIdentification(
        name=made_by.short_name,
        version=VERSION,
        parameters=[f"{name}={value}" for name, value in made_by.parameters.items()] or None,
    )


def finding_attributes(highdicom: Any, region_code: RegionCode, made_by: Algorithm) -> dict[str, Any]:
    """Give the attributes of a finding in a report: type, site, and algorithm."""
    place = region_code.anatomic_site or (region_code.property_type if region_code.laterality else None)
    side = to_pydicom_code(region_code.laterality) if region_code.laterality else None
    return {
        "finding_type": to_pydicom_code(region_code.property_type),
        "finding_category": to_pydicom_code(region_code.category),
        "method": to_pydicom_code(FAMILY),
        "algorithm_id": report_algorithm_identification(highdicom, made_by),
        "finding_sites": [highdicom.sr.FindingSite(to_pydicom_code(place), laterality=side)] if place else None,
    }


def observation_context(highdicom: Any, made_by: Algorithm) -> Any:
    """Make the observation context with the device as observer; equal weights are the same device."""
    about = highdicom.sr.DeviceObserverIdentifyingAttributes(
        uid=uid_from_words("device", made_by.short_name, VERSION, made_by.serial_number),
        name=made_by.short_name,
        manufacturer_name=MANUFACTURER,
        model_name=made_by.short_name,
        serial_number=made_by.serial_number,
    )
    return highdicom.sr.ObservationContext(
        observer_device_context=highdicom.sr.ObserverContext(
            observer_type=to_pydicom_code(DEVICE), observer_identifying_attributes=about
        )
    )


def contributing_equipment(highdicom: Any, made_by: Algorithm) -> list[Any]:
    """Make the contributing equipment of an object."""
    return [
        highdicom.ContributingEquipment(
            MANUFACTURER,
            to_pydicom_code(PROCESSING),
            manufacturer_model_name=made_by.short_name,
            software_versions=VERSION,
            device_serial_number=made_by.serial_number,
            contribution_description=made_by.description,
        )
    ]


def to_pydicom_code(code: Code) -> Coded:
    """Convert a code to the type of pydicom and highdicom."""
    return Coded(code.value, code.scheme, code.meaning)


def code_to_item(code: Code) -> Dataset:
    """Convert a code to a sequence item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def declare_private_codes(dataset: Dataset, used_codes: Iterable[Code]) -> None:
    """Declare the private coding scheme, where an object uses it."""
    if not any(code.scheme == PRIVATE for code in used_codes):
        return
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE
    item.CodingSchemeName = "Labels as a model of medgrad names them"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [*dataset.get("CodingSchemeIdentificationSequence", ()), item]


def make_uid(key: str, *words: object) -> str:
    """Make a UID from a key and words, or a random one without a key."""
    return uid_from_words(key, *words) if key else str(generate_uid(prefix=None))
