"""Find the inputs of a prediction: files, DICOM series, folders, rows of a table."""

from __future__ import annotations

from pathlib import Path

from ...data import Source
from ...data.cohorts import Entry
from ...data.formats import csv as rows
from ...data.formats import format_of, suffix_of
from ...errors import FormatError, MedgradError


def inputs_of(path: Path, channels: tuple[str, ...]) -> list[Entry]:
    """Find the inputs: one file, one DICOM series, or every image of a folder.

    Where a network takes several channels, files that differ only in ``_0000``, ``_0001`` are one case. Every
    row of a table of numbers is a case.
    """
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist. Check the path.")
    if rows.claims(path):
        name = channels[0] if channels else "features"
        return [Entry(one, {name: Source(path, item)}) for one, item in rows.named_rows(path)]
    if path.is_file() or (is_series(path) and len(series_below(path)) < 2):
        return [Entry(name_of(path), {channels[0] if channels else "image": Source(path)})]
    files = sorted(p for p in path.iterdir() if not p.name.startswith(".") and (p.is_file() or is_series(p)))
    files = [p for p in files if is_series(p) or is_image(p)]
    if not files:
        raise FormatError(f"{str(path)!r} holds no image that can be read. {said_of_folders(path)}")
    if len(channels) < 2:
        return [Entry(name_of(p), {channels[0] if channels else "image": Source(p)}) for p in files]
    cases: dict[str, dict[str, Source]] = {}
    for file in files:
        name, _, number = name_of(file).rpartition("_")
        if not number.isdigit() or int(number) >= len(channels):
            raise FormatError(
                f"{file.name!r}: the run takes the channels {', '.join(channels)}; name the files of a case "
                "NAME_0000, NAME_0001, ... in this order."
            )
        cases.setdefault(name, {})[channels[int(number)]] = Source(file)
    return [Entry(name, {c: found[c] for c in channels if c in found}) for name, found in cases.items()]


def said_of_folders(path: Path) -> str:
    """Suggest what to name instead of a folder that contains no image itself."""
    below = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))[:4]
    if below:
        return f"Name a folder in it, such as {below[0]!r}: images are looked for right in the folder that is named."
    return "Name a file, a DICOM series, or the folder that the images lie in."


def series_below(path: Path) -> list[Path]:
    """List the DICOM series folders in a folder, where it contains several."""
    below = sorted(p for p in path.iterdir() if not p.name.startswith(".") and is_series(p))
    return below if len(below) > 1 and len(format_of(path).items(path)) > 1 else []


def is_series(path: Path) -> bool:
    """Tell whether a folder is read as one DICOM series."""
    if not path.is_dir():
        return False
    try:
        return format_of(path) is not None
    except MedgradError:
        return False


def is_image(path: Path) -> bool:
    """Tell whether a file is in a format that holds images."""
    try:
        return format_of(path).read is not None and not rows.claims(path)
    except MedgradError:
        return False


def name_of(path: Path) -> str:
    """Return a file's name without its suffix."""
    return path.name[: -len(suffix_of(path))] if path.is_file() and suffix_of(path) else path.name
