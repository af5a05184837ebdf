"""Raster images: PNG, JPEG, BMP, GIF and WebP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence

from ...errors import FormatError, require_package
from ..file_cache import cached_file_or_path
from ..file_errors import MAX_PIXELS, as_format_error, read_first_bytes, to_native_byte_order, to_smallest_unsigned
from ..grid import Grid
from ..source import Source
from ..types import Image, LabelMap
from ._format import Format

SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8")
PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
EXIF_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
COLOUR_TYPES_16BIT = (2, 4, 6)  # the PNG colour types that Pillow cuts to 8 bits


def can_read(path: Path) -> bool:
    """Tell whether a file is one of these raster formats by its first bytes."""
    start = read_first_bytes(path, 16)
    return start.startswith(SIGNATURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def list_items(path: Path) -> list[str]:
    """List the frames of an animation, as numbers; one empty name for a single picture."""
    with as_format_error(path, "a picture"), open_picture(path) as picture:
        n = getattr(picture, "n_frames", 1)
    return [""] if n == 1 or picture.format == "MPO" else [str(i) for i in range(n)]


def read(path: Path, item: str = "") -> Image:
    """Read a raster image as (rows, columns) or (rows, columns, 3), without pixel spacing."""
    messages: list[str] = []
    with as_format_error(path, "a picture"):
        array = (
            read_16bit_colour_png(path, messages) if is_16bit_colour_png(path) else read_pixels(path, item, messages)
        )
    return Image(array, Grid.from_shape(array.shape[:2], has_spacing=False), None, {}, tuple(messages))


def read_labels(path: Path, item: str = "", reference_grid: Grid | None = None) -> LabelMap:
    """Read a mask; in an image with a colour palette the label is the palette index, not the colour."""
    del reference_grid
    with as_format_error(path, "a picture"), open_picture(path) as picture:
        frame = select_frame(path, picture, item)
        if frame.mode == "P" and has_colours(frame):
            array = np.array(frame)
            messages = ("The labels are the numbers in the picture's palette.",)
            return LabelMap(array, Grid.from_shape(array.shape, has_spacing=False), {}, messages)
    from . import to_label_array

    image = read(path, item)
    return LabelMap(to_label_array(image, Source(path, item)), image.grid, {}, image.messages)


def open_picture(path: Path) -> Pillow.Image:
    """Open a raster image of a known format, and raise if it is too large."""
    picture = Pillow.open(cached_file_or_path(path), formats=PILLOW_FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        raise FormatError(
            f"{str(path)!r} says that it is {picture.width} x {picture.height} pixels, more than {MAX_PIXELS:,}. "
            "Cut it into tiles."
        )
    return picture


def select_frame(path: Path, picture: Pillow.Image, item: str) -> Pillow.Image:
    """Select the frame that an item names, or the only one."""
    n = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    if item == "" and n > 1:
        raise FormatError(f"{str(path)!r} is an animation of {n} frames. Name one of them: 0 to {n - 1}.")
    if item and (not item.isdecimal() or int(item) >= n):
        raise FormatError(f"{str(path)!r} has no frame {item!r}: it has {n}, numbered from 0.")
    return picture if n == 1 else next(f for i, f in enumerate(ImageSequence.Iterator(picture)) if i == int(item))


def read_pixels(path: Path, item: str, messages: list[str]) -> NDArray[Any]:
    """Read grey values as stored, and colours as RGB."""
    with open_picture(path) as picture:
        frame = apply_exif_orientation(select_frame(path, picture, item), messages)
        if frame.mode == "P":
            if "transparency" in frame.info:
                messages.append("One colour of the palette is see-through in the file; it was kept as a colour.")
            frame = frame.convert("RGB" if has_colours(frame) else "L")
        if frame.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
            frame = drop_alpha(frame, messages)
        if frame.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            messages.append(f"The colours are stored as {frame.mode} and were turned into RGB.")
            frame = frame.convert("RGB")
        array = to_native_byte_order(np.array(frame))
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def apply_exif_orientation(frame: Pillow.Image, messages: list[str]) -> Pillow.Image:
    """Rotate a photograph by its EXIF orientation."""
    orientation = frame.getexif().get(EXIF_ORIENTATION, 1)
    if orientation not in range(2, 9):
        return frame
    messages.append(f"The picture was turned upright, as its EXIF orientation {orientation} says.")
    return ImageOps.exif_transpose(frame)


def drop_alpha(frame: Pillow.Image, messages: list[str]) -> Pillow.Image:
    """Drop the alpha channel, and add a message on how transparent the image was."""
    alpha = np.asarray(frame.getchannel("A"))
    opacity = "it was opaque everywhere" if alpha.min() == 255 else f"{(alpha < 255).mean():.1%} of it was see-through"
    messages.append(f"The alpha channel was dropped; {opacity}.")
    return frame.convert("L" if frame.mode in ("LA", "La") else "RGB")


def has_colours(frame: Pillow.Image) -> bool:
    """Tell whether a palette holds colours, not only greys."""
    palette = np.array(frame.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette != palette[:, :1]).any())


def is_16bit_colour_png(path: Path) -> bool:
    """Tell whether a file is a PNG with several channels of 16 bits."""
    start = read_first_bytes(path, 26)
    return start[:8] == SIGNATURES[0] and start[24] == 16 and start[25] in COLOUR_TYPES_16BIT


def read_16bit_colour_png(path: Path, messages: list[str]) -> NDArray[Any]:
    """Read a PNG with 16 bits per channel, which Pillow would reduce to 8."""
    with open_picture(path):
        pass
    sitk = require_package("SimpleITK", extra="itk")
    array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="PNGImageIO"))
    if array.shape[-1] in (2, 4):
        messages.append("The alpha channel was dropped.")
        array = array[..., :-1]
    return array[..., 0] if array.shape[-1] == 1 else array


def write(path: Path, image_or_labels: Image | LabelMap) -> None:
    """Write a 2D image; labels and 16-bit values only as PNG, which is lossless."""
    array = (
        to_smallest_unsigned(image_or_labels.array) if isinstance(image_or_labels, LabelMap) else image_or_labels.array
    )
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    is_png = path.suffix.lower() == ".png"
    if isinstance(image_or_labels, LabelMap) and not is_png:
        raise FormatError(f"{str(path)!r}: this format could change labels. Use .png.")
    deepest = (np.uint8, np.uint16) if is_png and array.ndim == 2 else (np.uint8,)
    if image_or_labels.grid.dims != 2 or array.dtype not in deepest or array.shape[2:] not in ((), (3,)):
        raise FormatError(
            f"{str(path)!r} cannot hold {array.dtype} values of shape {array.shape}. "
            "Use .tiff for a flat picture and .nii.gz for a volume."
        )
    Pillow.fromarray(np.ascontiguousarray(array)).save(path)


THIS = Format((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"), can_read, read, read_labels, write, list_items)
