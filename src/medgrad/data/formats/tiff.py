"""TIFF: microscopy, retinal photographs, and page stacks as volumes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from ...errors import FormatError
from ..file_cache import cached_file_or_path
from ..file_errors import (
    as_format_error,
    check_byte_count,
    read_first_bytes,
    to_native_byte_order,
    to_smallest_unsigned,
)
from ..grid import Grid, matrix_to_tuples
from ..types import Image, LabelMap
from ._format import Format

MM_PER_UNIT = {
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "um": 1e-3,
    "µm": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "nm": 1e-6,
}
MM_PER_UNIT |= {"\\u00b5m": 1e-3, "μm": 1e-3, "micrometer": 1e-3, "m": 1e3}
PRINTER_DPI = (72, 96, 100, 150, 200, 300, 600)  # dots an inch that programs write without having measured anything
PILLOW_MODES = ("L", "RGB", "I;16", "F")


def can_read(path: Path) -> bool:
    """Tell whether a file is TIFF or BigTIFF by its first bytes."""
    return read_first_bytes(path, 4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def list_items(path: Path) -> list[str]:
    """List the series of a file, as numbers; one empty name for a single series."""
    with as_format_error(path, "TIFF"), open_tiff(path) as file:
        n = len(file.series)
    return [""] if n == 1 else [str(i) for i in range(n)]


def read(path: Path, item: str = "") -> Image:
    """Read a page as (rows, columns), or a page stack as (columns, rows, pages); colours come last."""
    messages: list[str] = []
    with as_format_error(path, "TIFF"), open_tiff(path) as file:
        series = select_series(path, file, item)
        check_size(path, series)
        array, axes = to_native_byte_order(decode_pages(path, series)), series.axes
        spacing = read_spacing_mm(file, messages)
        array, pages = order_axes(path, array, axes)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind not in "uif":
        raise FormatError(f"{str(path)!r} holds values of the kind {array.dtype}. Write whole or real numbers instead.")
    if not pages:
        two = spacing[:2] if spacing else None
        return Image(
            array, Grid.from_shape(array.shape[:2], spacing=two, has_spacing=bool(spacing)), None, {}, tuple(messages)
        )
    messages.append(
        "A TIFF does not say how it lies in the patient: columns to the left and rows to the back are assumed."
    )
    row, column, page = spacing or (1.0, 1.0, 1.0)
    grid = Grid(array.shape[:3], matrix_to_tuples(np.diag([-column, -row, page, 1.0])), bool(spacing))
    return Image(array, grid, None, {}, tuple(messages))


class ErrorLog(logging.Handler):
    """Catches the first error that tifffile logs in this thread.

    Tifffile would go on with fewer pages, which loses data.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.thread, self.message = get_ident(), ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.message = self.message or record.getMessage()


@contextmanager
def open_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF, and raise at the end of the block if a page could not be read."""
    complaints, logger = ErrorLog(), logging.getLogger("tifffile")
    logger.addHandler(complaints)
    try:
        with tifffile.TiffFile(cached_file_or_path(path)) as file:
            yield file
        if complaints.message:
            raise ValueError(complaints.message.replace("<", "").replace(">", ""))
    finally:
        logger.removeHandler(complaints)


def select_series(path: Path, file: tifffile.TiffFile, item: str) -> Any:
    """Select the series that an item names, or the only one."""
    n = len(file.series)
    if n == 0:
        raise FormatError(f"{str(path)!r} has no pages. Copy it again.")
    if item == "" and n > 1:
        shapes = ", ".join(f"{i}: {s.shape}" for i, s in enumerate(file.series[:8]))
        raise FormatError(f"{str(path)!r} holds {n} pictures of different shapes. Name one of them: {shapes}.")
    if item and (not item.isdecimal() or int(item) >= n):
        raise FormatError(f"{str(path)!r} has no picture {item!r}: it has {n}, numbered from 0.")
    return file.series[int(item or 0)]


def check_size(path: Path, series: Any) -> None:
    """Raise if the pages declare more bytes than the file can hold."""
    compressions = {int(p.compression) for p in series.pages if p is not None}
    check_byte_count(
        path, int(series.nbytes), path.stat().st_size * (8 if compressions - {1} else 1), compressed=compressions != {1}
    )


def decode_pages(path: Path, series: Any) -> NDArray[Any]:
    """Decode the pages, with Pillow where tifffile lacks a decoder and nothing is lost."""
    try:
        return np.asarray(series.asarray(maxworkers=1))
    except (ValueError, KeyError) as reason:
        if "imagecodecs" not in str(reason):
            raise
    pages = []
    with Pillow.open(cached_file_or_path(path), formats=("TIFF",)) as picture:
        for page in series.pages:
            picture.seek(page.index)
            if picture.mode not in PILLOW_MODES or page.bitspersample not in (8, 16, 32):
                raise FormatError(
                    f"{str(path)!r} is packed in a way that is not known here: {page.compression.name}. "
                    "Write it without compression."
                )
            pages.append(np.array(picture))
    array = pages[0] if len(pages) == 1 else np.stack(pages)
    if array.shape != series.shape or array.dtype.itemsize != series.dtype.itemsize:
        raise FormatError(f"{str(path)!r} unpacks to {array.shape}, not {series.shape}. Write it without compression.")
    return array


def order_axes(path: Path, array: NDArray[Any], axes: str) -> tuple[NDArray[Any], bool]:
    """Transpose the axes to (rows, columns) or (columns, rows, pages), colours last; also tell if there are pages."""
    kept = [i for i, (a, n) in enumerate(zip(axes, array.shape, strict=True)) if n > 1 or a in "YX"]
    array, axes = array.reshape([array.shape[i] for i in kept]), "".join(axes[i] for i in kept)
    others = [a for a in axes if a not in "YXSC"]
    if axes.count("Y") != 1 or axes.count("X") != 1 or len(others) > 1 or ("S" in axes and "C" in axes):
        raise FormatError(f"{str(path)!r} has the axes {axes!r}, more than a volume with colours. Take it apart first.")
    colour = [a for a in axes if a in "SC"]
    wanted = ["X", "Y", *others, *colour] if others else ["Y", "X", *colour]
    return np.ascontiguousarray(array.transpose([axes.index(a) for a in wanted])), bool(others)


def read_spacing_mm(file: tifffile.TiffFile, messages: list[str]) -> tuple[float, float, float] | None:
    """Read the pixel spacing and the page distance in mm (row, column, page); None if they are unknown."""
    return spacing_from_ome(file.ome_metadata or "") or spacing_from_tags(file, messages)


def spacing_from_ome(text: str) -> tuple[float, float, float] | None:
    """Read the spacing from the OME metadata; micrometres where it names no unit."""
    found = []
    for axis in "YXZ":
        size = re.search(rf'\bPhysicalSize{axis}="([0-9.eE+-]{{1,30}})"', text)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]{{1,20}})"', text)
        if size is None:
            found.append(0.0)
            continue
        found.append(float(size[1]) * MM_PER_UNIT.get(unit[1] if unit else "um", 0.0))
    return valid_spacing(*found)


def spacing_from_tags(file: tifffile.TiffFile, messages: list[str]) -> tuple[float, float, float] | None:
    """Read the spacing from the resolution tags, in the unit of ImageJ or of the tags."""
    tags = file.pages.first.tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    x, y = (float(a) / float(b or 1) for a, b in (tags["XResolution"].value, tags["YResolution"].value))
    imagej = file.imagej_metadata or {}
    unit = MM_PER_UNIT.get(str(imagej.get("unit", "")).lower(), 0.0)
    if not unit:
        code = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 1
        unit = {2: 25.4, 3: 10.0}.get(code, 0.0)
        if unit and round(x * 25.4 / unit, 1) in PRINTER_DPI:
            messages.append(f"The resolution of {x * 25.4 / unit:.0f} dots an inch is a printer's, so it was left out.")
            return None
    if not unit or x <= 0 or y <= 0:
        return None
    depth = float(imagej.get("spacing", 0) or 0) * unit
    return valid_spacing(unit / y, unit / x, depth)


def valid_spacing(row: float, column: float, page: float) -> tuple[float, float, float] | None:
    """Give the spacing if rows and columns have one; unknown page distances become 1 mm."""
    if not all(np.isfinite([row, column, page])) or min(row, column) <= 1e-9:
        return None
    return row, column, page if page > 0 else 1.0


def write(path: Path, image_or_labels: Image | LabelMap) -> None:
    """Write an image or labels with lossless compression, with the spacing where it is known."""
    array = (
        to_smallest_unsigned(image_or_labels.array) if isinstance(image_or_labels, LabelMap) else image_or_labels.array
    )
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    if image_or_labels.grid.dims == 3:
        array = np.moveaxis(array.swapaxes(0, 1), 2, 0)  # (pages, rows, columns, ...)
    colour = array.ndim > image_or_labels.grid.dims
    if colour and array.shape[-1] not in (3, 4):
        raise FormatError(f"{str(path)!r}: a TIFF has 1 or 3 channels, not {array.shape[-1]}. Use .nii.gz.")
    spacing = image_or_labels.grid.spacing
    row, column = spacing if image_or_labels.grid.dims == 2 else (spacing[1], spacing[0])
    measured: dict[str, Any] = {}
    if image_or_labels.grid.has_spacing:
        measured["resolution"] = (1e4 / (column * 1e3), 1e4 / (row * 1e3))
        measured["resolutionunit"] = "CENTIMETER"
    tifffile.imwrite(path, array, photometric="rgb" if colour else "minisblack", compression="zlib", **measured)


THIS = Format((".tif", ".tiff"), can_read, read, None, write, list_items)
