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
from ...file_errors import damage_told
from ...source import Source
from ...types import Image, LabelMap
from ..file import numbers
from .ct import text_of
from .equipment import MANUFACTURER, Algorithm, code_item, uid
from .patient_study import begun, when
from .seg import names_of, save
from .snomed import Code, plain_text
from .source import Slice, reference, slices_of

SOURCE_IMAGE = Code("121322", "Source image for image processing operation", "DCM")
PAINTED = 0.35
"""How much of a marked pixel is its label's colour; on an edge it is all."""
ROOM = 160
"""Pictures of at least so many rows and columns have the names of the labels written into their corner."""


def write_captures(
    folder: Path, labels: LabelMap, image: Image, source: Source, *, maker: Algorithm | None = None
) -> list[Path]:
    """Write a secondary capture for each slice into a folder, and give their paths."""
    made = encoded_captures(labels, image, source, maker=maker)
    return [save(one, folder / f"{number:04}.dcm") for number, one in enumerate(made, 1)]


def encoded_captures(
    labels: LabelMap, image: Image, source: Source, *, maker: Algorithm | None = None, key: str = ""
) -> list[Dataset]:
    """Make the secondary captures of an image's slices in grey with labels in colour, as one series."""
    maker = maker or Algorithm()
    names = names_of(labels, source.path)
    on_labels, on_image = slices_of(labels.grid, source), slices_of(image.grid, source)
    series = uid(key, "series")
    values = image.planes[0]
    low, high = window(on_image[0].head, values)
    made = []
    with damage_told(source.path, "DICOM"):
        for number, (marks, seen) in enumerate(zip(on_labels, on_image, strict=True), 1):
            picture = painted(seen.of(values), marks.of(labels.array), (low, high), names)
            made.append(capture(picture, marks, number, names, maker, (series, key)))
    return made


def capture(
    picture: NDArray[np.uint8],
    one: Slice,
    number: int,
    names: Mapping[int, str],
    maker: Algorithm,
    series_and_key: tuple[str, str],
) -> Dataset:
    """Make one secondary capture from an RGB array (rows, columns, 3), with a reference to its slice."""
    series, key = series_and_key
    made = begun(
        one,
        maker,
        kind=SecondaryCaptureImageStorage,
        modality="OT",
        series=series,
        instance=uid(key, "instance", number),
        number=number,
        key=key,
    )
    made.SeriesNumber, made.SeriesDescription = 904, f"Pictures by {maker.title}"[:64]
    made.Laterality = ""
    made.ConversionType, made.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    made.ContentDate, made.ContentTime = when(one, key)
    made.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    made.SecondaryCaptureDeviceManufacturerModelName = maker.title
    made.SecondaryCaptureDeviceSoftwareVersions = VERSION
    made.PatientOrientation = [letters(v) for v in np.reshape(one.frame.orientation, (2, 3))]
    made.BurnedInAnnotation = "NO"
    made.DerivationDescription = maker.story
    made.ImageComments = plain_text("; ".join(f"{name}: {spoken(n)}" for n, name in names.items()))[:10_240]
    item = reference(one)
    item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    made.SourceImageSequence = [item]
    if one.frame.spacing:
        made.PixelSpacing = [text_of(v) for v in one.frame.spacing]
    made.Rows, made.Columns = picture.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    flat = picture.tobytes()
    made.PixelData = flat + b"\0" * (len(flat) % 2)
    made["PixelData"].VR = "OB"
    return made


def window(head: Dataset, values: NDArray[Any]) -> tuple[float, float]:
    """Give the display window (low, high): that of the header, or the 0.5th and 99.5th percentile."""
    centre, width = numbers(head, "WindowCenter"), numbers(head, "WindowWidth")
    if centre and width and width[0] > 0:
        return centre[0] - width[0] / 2, centre[0] + width[0] / 2
    low, high = (float(v) for v in np.nanpercentile(values.astype(np.float32), (0.5, 99.5)))
    return low, max(high, low + 1e-6)


def painted(
    values: NDArray[Any], marks: NDArray[Any], shown: tuple[float, float], names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """Paint labels with their edges over grey values; gives RGB (rows, columns, 3).

    >>> painted(np.zeros((3, 3)), np.eye(3, dtype=int), (0, 1), {1: "a"})[1, 1].tolist() == list(colour(1))
    True
    """
    low, high = shown
    grey = np.clip((np.nan_to_num(values.astype(np.float32)) - low) / (high - low), 0, 1) * 255
    picture = np.repeat(grey[..., None], 3, axis=2)
    for number in names:
        inside = marks == number
        if inside.any():
            edge = inside & ~ndimage.binary_erosion(inside)
            picture[inside] = (1 - PAINTED) * picture[inside] + PAINTED * np.array(colour(number))
            picture[edge] = colour(number)
    found = np.round(picture).astype(np.uint8)
    return lettered(found, [n for n in names if (marks == n).any()], names)


def lettered(picture: NDArray[np.uint8], there: Sequence[int], names: Mapping[int, str]) -> NDArray[np.uint8]:
    """Write the names of the present labels into the corner of an image that is large enough."""
    if not there or min(picture.shape[:2]) < ROOM:
        return picture
    drawn = Pillow.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    for line, number in enumerate(there[: picture.shape[0] // 24]):
        text = names[number][:24].encode("ascii", "replace").decode()
        pen.text((4, 3 + 12 * line), text, fill=colour(number))
    return np.asarray(drawn)


def colour(number: int) -> tuple[int, int, int]:
    """Give the RGB colour of a label; consecutive numbers are far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb((number - 1) * 0.618034 % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def spoken(number: int) -> str:
    """Give the colour of a label in hexadecimal.

    >>> spoken(1)
    '#F23D3D'
    """
    return "#" + "".join(f"{v:02X}" for v in colour(number))


def letters(direction: NDArray[np.float64]) -> str:
    """Give the anatomical direction letters of a vector, the nearest first.

    >>> letters(np.array([0.9, 0.0, -0.4]))
    'LF'
    """
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(["LR", "PA", "HF"][a][int(direction[a] < 0)] for a in order if abs(direction[a]) > 0.1)
