"""Write labels as DICOM secondary captures: each slice in colour with its labels painted over it."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from scipy import ndimage

from ....version import VERSION
from ...file_errors import as_format_error
from ...source import Source
from ...types import Image, LabelMap
from ..read_dataset import get_numbers
from .ct import decimal_string
from .equipment import MANUFACTURER, Algorithm, code_to_item, make_uid
from .patient_study import content_date_time, start_dataset
from .seg import names_of, save_dataset
from .snomed import Code, printable_text
from .source_slices import Slice, load_slices, reference_item

SOURCE_IMAGE = Code("121322", "Source image for image processing operation", "DCM")
OVERLAY_OPACITY = 0.35
"""How much of a marked pixel is its label's colour; on an edge it is all."""
MIN_LEGEND_SIZE = 160
"""Pictures of at least so many rows and columns have the names of the labels written into their corner."""


def write_secondary_captures(
    folder: Path, labels: LabelMap, image: Image, source: Source, *, made_by: Algorithm | None = None
) -> list[Path]:
    """Write a secondary capture for each slice into a folder, and give their paths."""
    made = make_secondary_captures(labels, image, source, made_by=made_by)
    return [save_dataset(one, folder / f"{number:04}.dcm") for number, one in enumerate(made, 1)]


def make_secondary_captures(
    labels: LabelMap, image: Image, source: Source, *, made_by: Algorithm | None = None, key: str = ""
) -> list[Dataset]:
    """Make the secondary captures of an image's slices in grey with labels in colour, as one series."""
    made_by = made_by or Algorithm()
    names = names_of(labels, source.path)
    on_labels, on_image = load_slices(labels.grid, source), load_slices(image.grid, source)
    series = make_uid(key, "series")
    values = image.channels_first[0]
    low, high = display_window(on_image[0].header, values)
    made = []
    with as_format_error(source.path, "DICOM"):
        for number, (marks, seen) in enumerate(zip(on_labels, on_image, strict=True), 1):
            picture = paint_overlay(seen.sample(values), marks.sample(labels.array), (low, high), names)
            made.append(make_one_capture(picture, marks, number, names, made_by, (series, key)))
    return made


def make_one_capture(
    overlay: NDArray[np.uint8],
    source_slice: Slice,
    number: int,
    label_names: Mapping[int, str],
    made_by: Algorithm,
    series_and_key: tuple[str, str],
) -> Dataset:
    """Make one secondary capture from an RGB array (rows, columns, 3), with a reference to its slice."""
    series, key = series_and_key
    made = start_dataset(
        source_slice,
        made_by,
        sop_class=SecondaryCaptureImageStorage,
        modality="OT",
        series_uid=series,
        instance_uid=make_uid(key, "instance", number),
        number=number,
        key=key,
    )
    made.SeriesNumber, made.SeriesDescription = 904, f"Pictures by {made_by.short_name}"[:64]
    made.Laterality = ""
    made.ConversionType, made.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    made.ContentDate, made.ContentTime = content_date_time(source_slice, key)
    made.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    made.SecondaryCaptureDeviceManufacturerModelName = made_by.short_name
    made.SecondaryCaptureDeviceSoftwareVersions = VERSION
    made.PatientOrientation = [orientation_letters(v) for v in np.reshape(source_slice.frame.orientation, (2, 3))]
    made.BurnedInAnnotation = "NO"
    made.DerivationDescription = made_by.description
    made.ImageComments = printable_text("; ".join(f"{name}: {label_colour_hex(n)}" for n, name in label_names.items()))[
        :10_240
    ]
    item = reference_item(source_slice)
    item.PurposeOfReferenceCodeSequence = [code_to_item(SOURCE_IMAGE)]
    made.SourceImageSequence = [item]
    if source_slice.frame.spacing:
        made.PixelSpacing = [decimal_string(v) for v in source_slice.frame.spacing]
    made.Rows, made.Columns = overlay.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    flat = overlay.tobytes()
    made.PixelData = flat + b"\0" * (len(flat) % 2)
    made["PixelData"].VR = "OB"
    return made


def display_window(header: Dataset, values: NDArray[Any]) -> tuple[float, float]:
    """Give the display window (low, high): that of the header, or the 0.5th and 99.5th percentile."""
    centre, width = get_numbers(header, "WindowCenter"), get_numbers(header, "WindowWidth")
    if centre and width and width[0] > 0:
        return centre[0] - width[0] / 2, centre[0] + width[0] / 2
    low, high = (float(v) for v in np.nanpercentile(values.astype(np.float32), (0.5, 99.5)))
    return low, max(high, low + 1e-6)


def paint_overlay(
    values: NDArray[Any], labels: NDArray[Any], window_limits: tuple[float, float], label_names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """Paint labels with their edges over grey values; gives RGB (rows, columns, 3).

    >>> paint_overlay(np.zeros((3, 3)), np.eye(3, dtype=int), (0, 1), {1: "a"})[1, 1].tolist() == list(label_colour(1))
    True
    """
    low, high = window_limits
    grey = np.clip((np.nan_to_num(values.astype(np.float32)) - low) / (high - low), 0, 1) * 255
    picture = np.repeat(grey[..., None], 3, axis=2)
    for number in label_names:
        inside = labels == number
        if inside.any():
            edge = inside & ~ndimage.binary_erosion(inside)
            picture[inside] = (1 - OVERLAY_OPACITY) * picture[inside] + OVERLAY_OPACITY * np.array(label_colour(number))
            picture[edge] = label_colour(number)
    found = np.round(picture).astype(np.uint8)
    return write_legend(found, [n for n in label_names if (labels == n).any()], label_names)


def write_legend(
    picture: NDArray[np.uint8], label_numbers: Sequence[int], label_names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """Write the names of the present labels into the corner of an image that is large enough."""
    if not label_numbers or min(picture.shape[:2]) < MIN_LEGEND_SIZE:
        return picture
    drawn = Pillow.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    for line, number in enumerate(label_numbers[: picture.shape[0] // 24]):
        text = label_names[number][:24].encode("ascii", "replace").decode()
        pen.text((4, 3 + 12 * line), text, fill=label_colour(number))
    return np.asarray(drawn)


def label_colour(number: int) -> tuple[int, int, int]:
    """Give the RGB colour of a label; consecutive numbers are far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb((number - 1) * 0.618034 % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def label_colour_hex(number: int) -> str:
    """Give the colour of a label in hexadecimal.

    >>> label_colour_hex(1)
    '#F23D3D'
    """
    return "#" + "".join(f"{v:02X}" for v in label_colour(number))


def orientation_letters(direction: NDArray[np.float64]) -> str:
    """Give the anatomical direction letters of a vector, the nearest first.

    >>> orientation_letters(np.array([0.9, 0.0, -0.4]))
    'LF'
    """
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(["LR", "PA", "HF"][a][int(direction[a] < 0)] for a in order if abs(direction[a]) > 0.1)
