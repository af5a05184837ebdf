"""Find the inputs of a prediction: files, DICOM series, folders, rows of a table."""

from __future__ import annotations

from pathlib import Path

from ... import registry
from ...data import Source
from ...data.cohorts import Entry
from ...data.formats import csv as rows
from ...data.formats import file_suffix, find_format
from ...errors import FormatError, MedgradError


def find_inputs(path: Path, channels: tuple[str, ...]) -> list[Entry]:
    """Find the inputs: one file, one DICOM series, or every image of a folder.

    Where a network takes several channels, files that differ only in ``_0000``, ``_0001`` are one case. Every
    row of a table of numbers is a case.
    """
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist. Check the path.")
    if rows.can_read(path):
        name = channels[0] if channels else "features"
        return [Entry(one, {name: Source(path, item)}) for one, item in rows.list_named_rows(path)]
    if is_one_input(path):
        return [Entry(name_without_suffix(path), {channels[0] if channels else "image": Source(path)})]
    files = sorted(p for p in path.iterdir() if not p.name.startswith(".") and (p.is_file() or is_series(p)))
    files = [p for p in files if is_series(p) or is_image(p)]
    if not files:
        raise FormatError(f"{str(path)!r} holds no image that can be read. {suggest_subfolder(path)}")
    if len(channels) < 2:
        return [Entry(name_without_suffix(p), {channels[0] if channels else "image": Source(p)}) for p in files]
    cases: dict[str, dict[str, Source]] = {}
    for file in files:
        name, _, number = name_without_suffix(file).rpartition("_")
        if not number.isdigit() or int(number) >= len(channels):
            raise FormatError(
                f"{file.name!r}: the run takes the channels {', '.join(channels)}; name the files of a case "
                "NAME_0000, NAME_0001, ... in this order."
            )
        cases.setdefault(name, {})[channels[int(number)]] = Source(file)
    return [Entry(name, {c: found[c] for c in channels if c in found}) for name, found in cases.items()]


def is_one_input(path: Path) -> bool:
    """Tell whether a path is one input, a file or a DICOM series, and not a folder of several or a table."""
    if path.is_file():
        return not rows.can_read(path)
    return is_series(path) and len(list_series_folders(path)) < 2


def suggest_subfolder(path: Path) -> str:
    """Suggest what to name instead of a folder that contains no image itself."""
    below = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))[:4]
    if below:
        return f"Name a folder in it, such as {below[0]!r}: images are looked for right in the folder that is named."
    return "Name a file, a DICOM series, or the folder that the images lie in."


def list_series_folders(path: Path) -> list[Path]:
    """List the DICOM series folders in a folder, where it contains several."""
    below = sorted(p for p in path.iterdir() if not p.name.startswith(".") and is_series(p))
    return below if len(below) > 1 and len(find_format(path).list_items(path)) > 1 else []


def is_series(path: Path) -> bool:
    """Tell whether a folder is read as one DICOM series."""
    if not path.is_dir():
        return False
    try:
        return find_format(path) is not None
    except MedgradError:
        return False


def is_image(path: Path) -> bool:
    """Tell whether a file is an image, or has the name of one: what is damaged is asked about too, and said to be."""
    try:
        return find_format(path).read is not None and not rows.can_read(path)
    except MedgradError:
        return file_suffix(path) in image_suffixes()


def image_suffixes() -> set[str]:
    """Give the endings of files that hold images, tables left out."""
    forms = [registry.find("data.formats", name) for name in registry.names("data.formats")]
    return {suffix for form in forms if form.read is not None for suffix in form.suffixes} - set(rows.SUFFIXES)


def name_without_suffix(path: Path) -> str:
    """Return a file's name without its suffix."""
    return path.name[: -len(file_suffix(path))] if path.is_file() and file_suffix(path) else path.name
