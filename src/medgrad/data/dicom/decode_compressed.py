"""Decode compressed pixels, in the process that ``codec_process`` starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from ...errors import FormatError
from ..file_errors import as_format_error

JPEG_EXTENDED, JPEG_LS = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.80"


def decode_compressed(path: Path, options: dict[str, Any], data: bytes) -> NDArray[Any]:
    """Decode the compressed pixels of a file whose header is checked."""
    syntax = options.pop("transfer_syntax")
    with as_format_error(path, "DICOM pixels"):
        if syntax == JPEG_EXTENDED and options["bits_stored"] > 8:
            return decode_with_gdcm(path, options)
        if "extended_offsets" in options:
            options["extended_offsets"] = tuple(bytes.fromhex(t) for t in options["extended_offsets"])
        found = decode_jpeg_ls(options, data) if syntax == JPEG_LS else None
        return np.asarray(get_decoder(UID(syntax)).as_array(data, **options)[0]) if found is None else found


def decode_jpeg_ls(options: dict[str, Any], data: bytes) -> NDArray[Any] | None:
    """Decode one grey JPEG-LS image; None where it is anything else."""
    wanted = {"samples_per_pixel": 1, "number_of_frames": 1, "pixel_representation": 0, "bits_allocated": 16}
    if any(options.get(name) != value for name, value in wanted.items()) or "extended_offsets" in options:
        return None
    frames = list(generate_frames(data, number_of_frames=1))
    try:
        import jpeg_ls

        raw, info = jpeg_ls.decode_buffer(frames[0])
    except Exception:  # another decoder may do it, or will say why it cannot be done
        return None
    rows, columns = options["rows"], options["columns"]
    grey = info["components"] == 1 and 8 < info["bits_per_sample"] <= 16 and len(raw) == 2 * rows * columns
    return np.frombuffer(raw, "<u2").reshape(rows, columns) if grey and len(frames) == 1 else None


def decode_with_gdcm(path: Path, options: dict[str, Any]) -> NDArray[Any]:
    """Decode 12-bit JPEG with GDCM, which pydicom has no decoder for."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if options["bits_allocated"] != 16 or not reader.Read():
        raise FormatError(
            f"{str(path)!r} cannot be unpacked as JPEG of {options['bits_stored']} bits. Ask for it unpacked."
        )
    raw = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    array: NDArray[Any] = np.frombuffer(raw, np.int16 if options["pixel_representation"] == 1 else np.uint16)
    frames, rows, columns = int(options["number_of_frames"]), options["rows"], options["columns"]
    return array.reshape([n for n in (frames,) if n > 1] + [rows, columns])
