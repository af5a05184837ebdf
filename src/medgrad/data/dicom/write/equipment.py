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
from .ct import uid_of
from .snomed import PRIVATE, Code, Meant, plain_text

MANUFACTURER = "medgrad"
FAMILY = Code("123110", "Artificial Intelligence", "DCM")
PROCESSING = Code("109102", "Processing Equipment", "DCM")
DEVICE = Code("121007", "Device", "DCM")
LONGEST = 64


@dataclass(frozen=True)
class Algorithm:
    """The algorithm that made an answer: its name, and its weight files, which are hashed when first needed."""

    name: str = "medgrad"
    files: tuple[Path, ...] = ()

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """The SHA-256 of each weight file, as ``sha256sum`` gives it."""
        found = []
        for path in self.files:
            with path.open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
        return tuple(found)

    @property
    def serial(self) -> str:
        """The device serial number: the hash of the weights, or the hash of their hashes; 0 without weights."""
        if len(self.weights) < 2:
            return self.weights[0] if self.weights else "0"
        return hashlib.sha256(" ".join(self.weights).encode()).hexdigest()

    @property
    def title(self) -> str:
        """The name, truncated to DICOM's limit."""
        return plain_text(self.name)[:LONGEST] or MANUFACTURER

    @property
    def parameters(self) -> dict[str, str]:
        """The algorithm parameters: the hashes of the weights."""
        return {"weights_sha256": " ".join(self.weights)} if self.weights else {}

    @property
    def story(self) -> str:
        """A sentence on which program and weights made the answer."""
        hashes = f", weights SHA-256 {' '.join(self.weights)}" if self.weights else ""
        return f"Answered by {self.title}, {MANUFACTURER} {VERSION}{hashes}"[:1024]


def equipment(maker: Algorithm) -> dict[str, str]:
    """Give the device attributes that every highdicom object needs."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": maker.title,
        "software_versions": VERSION,
        "device_serial_number": maker.serial,
    }


def describe_equipment(made: Dataset, maker: Algorithm) -> None:
    """Set the device attributes of a dataset."""
    made.Manufacturer, made.ManufacturerModelName = MANUFACTURER, maker.title
    made.SoftwareVersions, made.DeviceSerialNumber = VERSION, maker.serial


def algorithm(highdicom: Any, maker: Algorithm) -> Any:
    """Make the algorithm identification of images."""
    return highdicom.AlgorithmIdentificationSequence(
        name=maker.title,
        family=coded(FAMILY),
        version=VERSION,
        source=MANUFACTURER,
        parameters=maker.parameters or None,
    )


def algorithm_told(highdicom: Any, maker: Algorithm) -> Any:
    """Make the algorithm identification of reports."""
    return highdicom.sr.AlgorithmIdentification(
        name=maker.title,
        version=VERSION,
        parameters=[f"{name}={value}" for name, value in maker.parameters.items()] or None,
    )


def finding_told(highdicom: Any, meant: Meant, maker: Algorithm) -> dict[str, Any]:
    """Give the attributes of a finding in a report: type, site, and algorithm."""
    place = meant.site or (meant.kind if meant.side else None)
    side = coded(meant.side) if meant.side else None
    return {
        "finding_type": coded(meant.kind),
        "finding_category": coded(meant.category),
        "method": coded(FAMILY),
        "algorithm_id": algorithm_told(highdicom, maker),
        "finding_sites": [highdicom.sr.FindingSite(coded(place), laterality=side)] if place else None,
    }


def observer(highdicom: Any, maker: Algorithm) -> Any:
    """Make the observation context with the device as observer; equal weights are the same device."""
    about = highdicom.sr.DeviceObserverIdentifyingAttributes(
        uid=uid_of("device", maker.title, VERSION, maker.serial),
        name=maker.title,
        manufacturer_name=MANUFACTURER,
        model_name=maker.title,
        serial_number=maker.serial,
    )
    return highdicom.sr.ObservationContext(
        observer_device_context=highdicom.sr.ObserverContext(
            observer_type=coded(DEVICE), observer_identifying_attributes=about
        )
    )


def contributions(highdicom: Any, maker: Algorithm) -> list[Any]:
    """Make the contributing equipment of an object."""
    return [
        highdicom.ContributingEquipment(
            MANUFACTURER,
            coded(PROCESSING),
            manufacturer_model_name=maker.title,
            software_versions=VERSION,
            device_serial_number=maker.serial,
            contribution_description=maker.story,
        )
    ]


def coded(code: Code) -> Coded:
    """Convert a code to the type of pydicom and highdicom."""
    return Coded(code.value, code.scheme, code.meaning)


def code_item(code: Code) -> Dataset:
    """Convert a code to a sequence item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def declare(made: Dataset, codes: Iterable[Code]) -> None:
    """Declare the private coding scheme, where an object uses it."""
    if not any(code.scheme == PRIVATE for code in codes):
        return
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE
    item.CodingSchemeName = "Labels as a model of medgrad names them"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    made.CodingSchemeIdentificationSequence = [*made.get("CodingSchemeIdentificationSequence", ()), item]


def uid(key: str, *words: object) -> str:
    """Make a UID from a key and words, or a random one without a key."""
    return uid_of(key, *words) if key else str(generate_uid(prefix=None))
