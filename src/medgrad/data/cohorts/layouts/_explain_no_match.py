"""Explain why no layout matches a folder, and what to add to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ....errors import LayoutError
from ...formats import file_suffix
from ._files import list_images, readable_suffixes
from ._layout import NoMatch

MIN_CLOSENESS = 0.2
"""A miss that is no closer has nothing but images, or not even these."""
ADVICE = (
    "Add masks (a folder of files with the names of the images), a table (a .csv with the columns file and class), a "
    "folder for each class, or boxes (a .txt, .xml or .json). Images alone serve --task registration."
)


def explain_no_match(folder: Path, no_matches: Mapping[str, NoMatch]) -> str:
    """Name the closest layout and what it lacks; where none is close, say what a set needs."""
    nearest = max(no_matches, key=lambda name: no_matches[name].closeness, default="")
    if nearest and no_matches[nearest].closeness > MIN_CLOSENESS:
        return f"The nearest layout is {nearest!r}: {no_matches[nearest].reason}"
    if folder.is_file():
        return explain_single_file(folder)
    try:
        has_images = bool(list_images(folder))
    except LayoutError:
        has_images = True
    if has_images:
        near = "The nearest layouts are 'parallel_folders', 'table' and 'class_folders'"
        return f"{near}, but nothing tells what the images show. {ADVICE}"
    return (
        "The nearest layout cannot be told, as it holds no image and no table. Name the folder of the images: NIfTI, "
        "DICOM, MetaImage, NRRD, PNG, JPEG, TIFF or NumPy."
    )


def explain_single_file(file: Path) -> str:
    """Explain why a single file is not a set."""
    if file_suffix(file) in readable_suffixes():
        return "It is one image, not a set: name the folder of the set, or use look to see what is in it."
    return "A set in a file is an .npz, a .csv or a COCO .json; else name the folder of the images."
