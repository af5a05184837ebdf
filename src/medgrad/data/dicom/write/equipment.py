"""Who made an answer: one description of the program and its weights, for every kind of DICOM object."""

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
    """What answered: its name, and the files of its weights, which are hashed when they are first asked for."""

    name: str = "medgrad"
    files: tuple[Path, ...] = ()

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """The SHA-256 of each file of weights, as ``sha256sum`` gives it."""
        found = []
        for path in self.files:
            with path.open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
        return tuple(found)

    @property
    def serial(self) -> str:
        """The one number of this very program: the hash of its weights, or of their hashes; 0 where it has none."""
        if len(self.weights) < 2:
            return self.weights[0] if self.weights else "0"
        return hashlib.sha256(" ".join(self.weights).encode()).hexdigest()

    @property
    def title(self) -> str:
        """The name, as short as DICOM's words are."""
        return plain_text(self.name)[:LONGEST] or MANUFACTURER

    @property
    def parameters(self) -> dict[str, str]:
        """What tells this algorithm from another of its name and version."""
        return {"weights_sha256": " ".join(self.weights)} if self.weights else {}

    @property
    def story(self) -> str:
        """Who answered, in a sentence."""
        hashes = f", weights SHA-256 {' '.join(self.weights)}" if self.weights else ""
        return f"Answered by {self.title}, {MANUFACTURER} {VERSION}{hashes}"[:1024]


def equipment(maker: Algorithm) -> dict[str, str]:
    """Give what every kind of object of highdicom asks for about its device."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": maker.title,
        "software_versions": VERSION,
        "device_serial_number": maker.serial,
    }


def describe_equipment(made: Dataset, maker: Algorithm) -> None:
    """Put the device into a dataset that is made by hand."""
    made.Manufacturer, made.ManufacturerModelName = MANUFACTURER, maker.title
    made.SoftwareVersions, made.DeviceSerialNumber = VERSION, maker.serial


def algorithm(highdicom: Any, maker: Algorithm) -> Any:
    """Give the algorithm as images name it."""
    return highdicom.AlgorithmIdentificationSequence(
        name=maker.title,
        family=coded(FAMILY),
        version=VERSION,
        source=MANUFACTURER,
        parameters=maker.parameters or None,
    )


def algorithm_told(highdicom: Any, maker: Algorithm) -> Any:
    """Give the algorithm as reports name it."""
    return highdicom.sr.AlgorithmIdentification(
        name=maker.title,
        version=VERSION,
        parameters=[f"{name}={value}" for name, value in maker.parameters.items()] or None,
    )


def finding_told(highdicom: Any, meant: Meant, maker: Algorithm) -> dict[str, Any]:
    """Give what a report says of any finding: what it is, where, and who found it."""
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
    """Give the device as the one who observed what a report says; the same weights are the same device."""
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
    """Give the program as equipment that contributed to an object."""
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
    """Give a code as pydicom and highdicom hold it."""
    return Coded(code.value, code.scheme, code.meaning)


def code_item(code: Code) -> Dataset:
    """Give a code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def declare(made: Dataset, codes: Iterable[Code]) -> None:
    """Say whose our own codes are, where an object has any."""
    if not any(code.scheme == PRIVATE for code in codes):
        return
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE
    item.CodingSchemeName = "Labels as a model of medgrad names them"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    made.CodingSchemeIdentificationSequence = [*made.get("CodingSchemeIdentificationSequence", ()), item]


def uid(key: str, *words: object) -> str:
    """Give a UID that is made of a key and words, or a new one where there is no key."""
    return uid_of(key, *words) if key else str(generate_uid(prefix=None))
