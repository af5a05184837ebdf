"""Opening one DICOM file safely, and asking it for plain words and numbers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue

from ...errors import FormatError
from ._damage import damage_told, first_bytes

DEFLATED = "1.2.840.10008.1.2.1.99"
MOST_UNPACKED, MOST_TIMES = 2**24, 100  # bytes that any deflated file may become, or else so many times its size
LONGEST_WORD = 256
LOOKED_AT = 64  # the files of a folder from which its kind is told
FIRST_GROUPS = (b"\x02\0", b"\x08\0")
SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_dicom(path: Path) -> bool:
    """Tell whether a file begins as DICOM does, with its preamble or straight with the first elements."""
    start = first_bytes(path, 140)
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in FIRST_GROUPS or start[3:4] != b"\0":
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or (start[2:4] <= b"\x20\0" and int.from_bytes(start[4:8], "little") <= 1024)


def open_dicom(path: Path, *, pixels: bool = True, only: Sequence[str] | None = None) -> Dataset:
    """Read a DICOM file, without its pixels or only some elements if so asked."""
    if not is_dicom(path):
        raise FormatError(f"{str(path)!r} does not begin as a DICOM file does. Was it copied whole?")
    with damage_told(path, "DICOM"):
        check_deflated(path)
        tags = list(only) if only else None
        found = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True, specific_tags=tags)
        if not len(found):
            raise FormatError(f"{str(path)!r} begins as DICOM but holds nothing. Copy it again: it is cut off.")
        return found


def check_deflated(path: Path) -> None:
    """Raise if a deflated file is cut off, or would unpack to more than is sensible."""
    with path.open("rb") as file:
        file.seek(128)
        if file.read(4) != b"DICM":
            return
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        if str(meta.get("TransferSyntaxUID", "")).strip() != DEFLATED:
            return
        most = max(MOST_UNPACKED, MOST_TIMES * path.stat().st_size)
        engine, left = zlib.decompressobj(-zlib.MAX_WBITS), most
        while left >= 0 and not engine.eof and (piece := engine.unconsumed_tail or file.read(2**16)):
            left -= len(engine.decompress(piece, 2**20))
    if left < 0 or not engine.eof:
        why = f"unpacks to more than {most:,} bytes" if left < 0 else "is cut off"
        raise FormatError(f"{str(path)!r} is deflated and {why}. Ask for it without compression.")


def word(source: Dataset, name: str) -> str:
    """Give an element as plain text, cut to a sensible length; empty where it is absent or unreadable."""
    try:
        value = source.get(name)
        if value is None:
            return ""
        value = value.decode("latin-1") if isinstance(value, bytes) else value
        parts = [str(v) for v in value] if isinstance(value, MultiValue) else [str(value)]
    except Exception:  # an unreadable word is no reason to lose the picture; numbers that matter are asked for strictly
        return ""
    text = "".join(c if c.isprintable() else " " for c in "\\".join(parts))
    return text.strip()[:LONGEST_WORD]


def numbers(source: Dataset, name: str, n: int | None = None) -> tuple[float, ...]:
    """Give an element as numbers, none where it is absent or empty; raise where it is there but is no number."""
    try:
        value = source.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return ()
        several = isinstance(value, MultiValue | list | tuple)
        found = tuple(float(v) for v in (value if several else [value]))
    except (TypeError, ValueError, OverflowError, NotImplementedError, AttributeError, KeyError) as reason:
        raise ValueError(f"{name} is not a number") from reason
    if found and (not all(map(math.isfinite, found)) or (n is not None and len(found) != n)):
        raise ValueError(f"{name} is {list(found)[:8]}, not {n or 'finite'} numbers")
    return found


def number(source: Dataset, name: str) -> float | None:
    """Give an element as one number, None where it is absent or empty."""
    found = numbers(source, name)
    if len(found) > 1:
        raise ValueError(f"{name} has {len(found)} values, not one")
    return found[0] if found else None


def first_item(source: Dataset | None, name: str) -> Dataset | None:
    """Give the first item of a sequence, None where there is none."""
    found = every_item(source, name)
    return found[0] if found else None


def every_item(source: Dataset | None, name: str) -> list[Dataset]:
    """Give the items of a sequence, none where it is absent or is no sequence."""
    value = source.get(name) if source is not None else None
    if not isinstance(value, pydicom.Sequence):
        return []
    return list(value)


def has_pixels(source: Dataset) -> bool:
    """Tell whether a file holds a picture, also where its pixels were not read."""
    return bool(any(name in source for name in PIXELS) or ("Rows" in source and "Columns" in source))


def kind_of(path: Path) -> str:
    """Give ``image``, ``labels``, ``contours`` or nothing, from a few elements at the start of a file."""
    if not is_dicom(path):
        return ""
    try:
        with damage_told(path, "DICOM"):
            head = open_dicom(path, pixels=False, only=("SOPClassUID", "Modality"))
            kind, modality = word(head, "SOPClassUID"), word(head, "Modality")
    except FormatError:
        return "image"  # it begins as DICOM does, so reading it will tell what is wrong
    if kind in SEGMENTATION or modality == "SEG":
        return "labels"
    return "contours" if kind == STRUCTURES or modality == "RTSTRUCT" else "image"


def the_only(path: Path, kind: str) -> Path | None:
    """Give the file itself, or the one DICOM file of a folder, if it is of a kind that ``kind_of`` tells."""
    if path.is_dir():
        files = [p for p in sorted(path.iterdir())[:LOOKED_AT] if p.is_file() and is_dicom(p)]
        if len(files) != 1:
            return None
        path = files[0]
    return path if path.is_file() and kind_of(path) == kind else None
