"""Raster images: PNG, JPEG, BMP, GIF and WebP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence

from ...errors import FormatError, need
from ..file_cache import held_or
from ..file_errors import MOST_PIXELS, damage_told, first_bytes, native, smallest_unsigned
from ..grid import Grid
from ..source import Source
from ..types import Image, LabelMap
from ._format import Format

STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8")
KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
DEEP_COLOUR = (2, 4, 6)  # the PNG colour types that Pillow cuts to 8 bits


def claims(path: Path) -> bool:
    """Tell whether a file is one of these raster formats by its first bytes."""
    start = first_bytes(path, 16)
    return start.startswith(STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def items(path: Path) -> list[str]:
    """List the frames of an animation, as numbers; one empty name for a single picture."""
    with damage_told(path, "a picture"), opened(path) as picture:
        n = getattr(picture, "n_frames", 1)
    return [""] if n == 1 or picture.format == "MPO" else [str(i) for i in range(n)]


def read(path: Path, item: str = "") -> Image:
    """Read a raster image as (rows, columns) or (rows, columns, 3), without pixel spacing."""
    told: list[str] = []
    with damage_told(path, "a picture"):
        array = deep_colours(path, told) if is_deep_colour(path) else colours(path, item, told)
    return Image(array, Grid.of(array.shape[:2], measured=False), None, {}, tuple(told))


def read_labels(path: Path, item: str = "", like: Grid | None = None) -> LabelMap:
    """Read a mask; in an image with a colour palette the label is the palette index, not the colour."""
    del like
    with damage_told(path, "a picture"), opened(path) as picture:
        frame = chosen(path, picture, item)
        if frame.mode == "P" and colourful(frame):
            array = np.array(frame)
            told = ("The labels are the numbers in the picture's palette.",)
            return LabelMap(array, Grid.of(array.shape, measured=False), {}, told)
    from . import whole_numbers

    image = read(path, item)
    return LabelMap(whole_numbers(image, Source(path, item)), image.grid, {}, image.told)


def opened(path: Path) -> Pillow.Image:
    """Open a raster image of a known format, and raise if it is too large."""
    picture = Pillow.open(held_or(path), formats=KINDS)
    if picture.width * picture.height > MOST_PIXELS:
        raise FormatError(
            f"{str(path)!r} says that it is {picture.width} x {picture.height} pixels, more than {MOST_PIXELS:,}. "
            "Cut it into tiles."
        )
    return picture


def chosen(path: Path, picture: Pillow.Image, item: str) -> Pillow.Image:
    """Select the frame that an item names, or the only one."""
    n = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    if item == "" and n > 1:
        raise FormatError(f"{str(path)!r} is an animation of {n} frames. Name one of them: 0 to {n - 1}.")
    if item and (not item.isdecimal() or int(item) >= n):
        raise FormatError(f"{str(path)!r} has no frame {item!r}: it has {n}, numbered from 0.")
    return picture if n == 1 else next(f for i, f in enumerate(ImageSequence.Iterator(picture)) if i == int(item))


def colours(path: Path, item: str, told: list[str]) -> NDArray[Any]:
    """Read grey values as stored, and colours as RGB."""
    with opened(path) as picture:
        frame = upright(chosen(path, picture, item), told)
        if frame.mode == "P":
            if "transparency" in frame.info:
                told.append("One colour of the palette is see-through in the file; it was kept as a colour.")
            frame = frame.convert("RGB" if colourful(frame) else "L")
        if frame.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
            frame = without_alpha(frame, told)
        if frame.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            told.append(f"The colours are stored as {frame.mode} and were turned into RGB.")
            frame = frame.convert("RGB")
        array = native(np.array(frame))
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def upright(frame: Pillow.Image, told: list[str]) -> Pillow.Image:
    """Rotate a photograph by its EXIF orientation."""
    held = frame.getexif().get(ORIENTATION, 1)
    if held not in range(2, 9):
        return frame
    told.append(f"The picture was turned upright, as its EXIF orientation {held} says.")
    return ImageOps.exif_transpose(frame)


def without_alpha(frame: Pillow.Image, told: list[str]) -> Pillow.Image:
    """Drop the alpha channel, and add a message on how transparent the image was."""
    alpha = np.asarray(frame.getchannel("A"))
    seen = "it was opaque everywhere" if alpha.min() == 255 else f"{(alpha < 255).mean():.1%} of it was see-through"
    told.append(f"The alpha channel was dropped; {seen}.")
    return frame.convert("L" if frame.mode in ("LA", "La") else "RGB")


def colourful(frame: Pillow.Image) -> bool:
    """Tell whether a palette holds colours, not only greys."""
    palette = np.array(frame.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette != palette[:, :1]).any())


def is_deep_colour(path: Path) -> bool:
    """Tell whether a file is a PNG with several channels of 16 bits."""
    start = first_bytes(path, 26)
    return start[:8] == STARTS[0] and start[24] == 16 and start[25] in DEEP_COLOUR


def deep_colours(path: Path, told: list[str]) -> NDArray[Any]:
    """Read a PNG with 16 bits per channel, which Pillow would reduce to 8."""
    with opened(path):
        pass
    sitk = need("SimpleITK", extra="itk")
    array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="PNGImageIO"))
    if array.shape[-1] in (2, 4):
        told.append("The alpha channel was dropped.")
        array = array[..., :-1]
    return array[..., 0] if array.shape[-1] == 1 else array


def write(path: Path, thing: Image | LabelMap) -> None:
    """Write a 2D image; labels and 16-bit values only as PNG, which is lossless."""
    array = smallest_unsigned(thing.array) if isinstance(thing, LabelMap) else thing.array
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    is_png = path.suffix.lower() == ".png"
    if isinstance(thing, LabelMap) and not is_png:
        raise FormatError(f"{str(path)!r}: this format could change labels. Use .png.")
    deepest = (np.uint8, np.uint16) if is_png and array.ndim == 2 else (np.uint8,)
    if thing.grid.dims != 2 or array.dtype not in deepest or array.shape[2:] not in ((), (3,)):
        raise FormatError(
            f"{str(path)!r} cannot hold {array.dtype} values of shape {array.shape}. "
            "Use .tiff for a flat picture and .nii.gz for a volume."
        )
    Pillow.fromarray(np.ascontiguousarray(array)).save(path)


THIS = Format((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"), claims, read, read_labels, write, items)
