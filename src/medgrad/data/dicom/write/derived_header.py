"""The header of a derived image: what stays true of its source, and how it was derived."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian

from ....version import VERSION
from ..native_pixels import PixelFormat
from ..pixels import get_pixel_bytes, transfer_syntax
from ..read_dataset import get_items, get_number, get_text, keyword_tag
from .ct import decimal_string, uid_from_words
from .equipment import MANUFACTURER, Algorithm, code_to_item
from .patient_study import contribution_item
from .secondary_capture import SOURCE_IMAGE
from .snomed import Code, printable_text

IMAGE_PROCESSING = Code("110001", "Image Processing", "DCM")
NO_LONGER_TRUE = frozenset(
    map(
        keyword_tag,
        (
            "InstanceCreationDate", "InstanceCreationTime", "InstanceCreatorUID", "MACParametersSequence",
            "DataSetTrailingPadding", "IconImageSequence", "HistogramSequence", "StorageMediaFileSetUID",
            "StorageMediaFileSetID", "ReferencedPerformedProcedureStepSequence", "SmallestPixelValueInSeries",
            "LargestPixelValueInSeries", "SmallestImagePixelValueInPlane", "LargestImagePixelValueInPlane",
        ),
    )
)  # fmt: skip
"""What is true of the source's file, pixels or procedure step alone."""
PIXEL_GROUP, CURVE_GROUPS, OVERLAY_GROUPS, SIGNATURE_GROUP = (
    0x7FE0,
    range(0x5000, 0x5100),
    range(0x6000, 0x6100),
    0xFFFA,
)
OVERLAY_DATA, OVERLAY_MEAN, OVERLAY_DEVIATION = 0x3000, 0x1302, 0x1303
PRIMARY_ONLY = ("PT",)
"""Modalities whose ImageType has only PRIMARY as its second value."""
LOSSY_METHODS = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
ALWAYS_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
MAX_DESCRIPTION, MAX_SERIES_DESCRIPTION, MAX_SERIES_NUMBER = 1024, 64, 2**31 - 1


@dataclass(frozen=True)
class Derivation:
    """What was done to a series, in words and codes, and the UID of the series that it gave.

    ``is_synthetic`` is whether its values are those of no scanner.
    """

    description: str
    codes: tuple[Code, ...]
    series_uid: str
    made_by: Algorithm
    is_synthetic: bool = False


def derive_header(path: Path, source: Dataset, derivation: Derivation) -> Dataset:
    """Make the header of a derived image without its pixels: all that is still true of its source, and its derivation.

    The manufacturer stays that of the scanner; the program is contributing equipment. Times of creation are left out,
    so the same input gives the same file.
    """
    made = Dataset()
    for tag in list(source.keys()):
        if stays_true(source, tag):
            made.add(deepcopy(source[tag]))
    made.remove_private_tags()
    made.SeriesInstanceUID = derivation.series_uid
    made.SOPInstanceUID = uid_from_words(derivation.series_uid, get_text(source, "SOPInstanceUID"))
    if derivation.is_synthetic:
        made.SyntheticData = "YES"
    if not any(name in made for name in ("Laterality", "ImageLaterality", "SharedFunctionalGroupsSequence")):
        made.Laterality = ""
    name_series(made, derivation)
    describe_derivation(made, source, derivation)
    declare_lossy_compression(made, path, source)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def stays_true(source: Dataset, tag: BaseTag) -> bool:
    """Tell whether an element of a source is true of an image derived from it on the same grid."""
    group, element = tag.group, tag.element
    if group < 8 or element == 0 or tag.is_private or tag in NO_LONGER_TRUE or group in CURVE_GROUPS:
        return False
    if group in OVERLAY_GROUPS:  # planes in unused bits of the pixels are not written, nor what was measured in them
        return (group, OVERLAY_DATA) in source and element not in (OVERLAY_MEAN, OVERLAY_DEVIATION)
    return group not in (PIXEL_GROUP, SIGNATURE_GROUP)


def name_series(made: Dataset, derivation: Derivation) -> None:
    """Set the number and the description of a derived series: those of its source, and what was done."""
    before, what = get_text(made, "SeriesDescription"), ascii_text(derivation.description)
    short = what[:MAX_SERIES_DESCRIPTION]
    room = MAX_SERIES_DESCRIPTION - len(short) - 2
    made.SeriesDescription = f"{before[:room].rstrip()}, {short}" if before and room > 8 else short
    try:
        number = int(get_number(made, "SeriesNumber") or 0) * 100 + 5
    except ValueError:
        number = 5
    made.SeriesNumber = number if 0 < number <= MAX_SERIES_NUMBER else 905


def describe_derivation(made: Dataset, source: Dataset, derivation: Derivation) -> None:
    """Set the image type, the source image, the description, the codes and the equipment of a derivation."""
    is_enhanced = bool(get_items(made, "SharedFunctionalGroupsSequence"))
    second = "PRIMARY" if is_enhanced or get_text(made, "Modality") in PRIMARY_ONLY else "SECONDARY"
    made.ImageType = derived_type(made, "ImageType", second)
    about = f"{MANUFACTURER} {VERSION}: {ascii_text(derivation.description)}"[:MAX_DESCRIPTION]
    before = str(source.get("DerivationDescription") or "").strip()[: max(0, MAX_DESCRIPTION - len(about) - 2)]
    made.DerivationDescription = f"{before}; {about}" if before else about
    codes = [code_to_item(code) for code in derivation.codes or (IMAGE_PROCESSING,)]
    made.DerivationCodeSequence = [*made.get("DerivationCodeSequence", ()), *codes]
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [code_to_item(SOURCE_IMAGE)]
    made.SourceImageSequence = [item]
    contribution = contribution_item(derivation.made_by)
    contribution.ContributionDescription = about
    made.ContributingEquipmentSequence = [*made.get("ContributingEquipmentSequence", ()), contribution]
    if is_enhanced:
        describe_frame_groups(made, source, second)


def describe_frame_groups(made: Dataset, source: Dataset, second: str) -> None:
    """Set the frame type and the derivation in the functional groups of an enhanced image."""
    shared, each = made.SharedFunctionalGroupsSequence[0], made.get("PerFrameFunctionalGroupsSequence", ())
    for group in (shared, *each):
        for element in group:
            if element.keyword.endswith("FrameTypeSequence") and element.value:
                element.value[0].FrameType = derived_type(element.value[0], "FrameType", second)
        if group is not shared:
            group.pop("DerivationImageSequence", None)
    item = Dataset()
    item.DerivationDescription = made.DerivationDescription
    item.DerivationCodeSequence = deepcopy(made.DerivationCodeSequence)
    item.SourceImageSequence = deepcopy(made.SourceImageSequence)
    shared.DerivationImageSequence = [item]
    made.SourceImageEvidenceSequence = [evidence_item(made, source)]


def evidence_item(made: Dataset, source: Dataset) -> Dataset:
    """Make the item that says in which study and series the source image of an enhanced image lies."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = source.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = made.StudyInstanceUID, [series]
    return study


def ascii_text(text: str) -> str:
    """Give text in letters that every character set of DICOM has.

    >>> ascii_text("smooth 4 µm")
    'smooth 4 ?m'
    """
    return printable_text(text).encode("ascii", "replace").decode()


def derived_type(dataset: Dataset, keyword: str, second: str) -> list[str]:
    """Give the image or frame type of a derived image; its values from the third stay."""
    before = dataset.get(keyword) or []
    return ["DERIVED", second, *([] if isinstance(before, str) else list(before)[2:])]


def declare_lossy_compression(made: Dataset, path: Path, source: Dataset) -> None:
    """Declare lossy compression where the source was compressed with loss and its header does not say so."""
    syntax, said = str(transfer_syntax(path, source)), get_text(source, "LossyImageCompression")
    method = LOSSY_METHODS.get(syntax)
    if method is None or said == "01" or (said and syntax not in ALWAYS_LOSSY):
        return
    made.LossyImageCompression = "01"
    made.LossyImageCompressionMethod = method
    made.LossyImageCompressionRatio = decimal_string(max(1.0, round(compression_ratio(source), 3)))


def compression_ratio(source: Dataset) -> float:
    """Give the size of the uncompressed pixels divided by that of the compressed ones."""
    count = int(get_number(source, "NumberOfFrames") or 1) * int(source.SamplesPerPixel)
    plain = count * int(source.Rows) * int(source.Columns) * int(source.BitsAllocated) / 8
    return plain / max(1, len(get_pixel_bytes(source)[0]))


def set_pixels(made: Dataset, stored: Any, pixel_format: PixelFormat, *, bits_stored: int, is_signed: bool) -> None:
    """Set uncompressed pixels (frames, rows, columns), and what is said of their bits and range."""
    made.BitsAllocated, made.BitsStored, made.HighBit = pixel_format.bits, bits_stored, bits_stored - 1
    made.PixelRepresentation = int(is_signed)
    for name, value in (("SmallestImagePixelValue", stored.min()), ("LargestImagePixelValue", stored.max())):
        if name in made:
            del made[name]
            made.add_new(keyword_tag(name), "SS" if is_signed else "US", int(value))
    raw = stored.tobytes()
    made.add_new(keyword_tag("PixelData"), "OB" if pixel_format.bits == 8 else "OW", raw + b"\0" * (len(raw) % 2))


def set_rescale(item: Dataset, slope: float, intercept: float, *, rescale_type: str) -> None:
    """Set a slope and intercept; ``rescale_type`` is used where none is given, if it is not empty."""
    item.RescaleSlope, item.RescaleIntercept = decimal_string(slope), decimal_string(intercept)
    if rescale_type and not get_text(item, "RescaleType"):
        item.RescaleType = rescale_type


def add_frame_rescale(made: Dataset, scales: Sequence[tuple[float, float]]) -> None:
    """Set the slope and intercept of each frame of an enhanced image."""
    shared = made.SharedFunctionalGroupsSequence[0]
    common = shared.pop("PixelValueTransformationSequence", None)
    for group, (slope, intercept) in zip(made.PerFrameFunctionalGroupsSequence, scales, strict=True):
        if not get_items(group, "PixelValueTransformationSequence"):
            group.PixelValueTransformationSequence = pydicom.Sequence(
                deepcopy(list(common.value)) if common is not None else [Dataset()]
            )
        kind = "HU" if get_text(made, "Modality") == "CT" else "US"
        set_rescale(group.PixelValueTransformationSequence[0], slope, intercept, rescale_type=kind)
