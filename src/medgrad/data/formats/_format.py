"""What a file format offers; each file of this folder ends in ``THIS = Format(...)``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..extent import ImageSpec
from ..grid import Grid
from ..types import Image, LabelMap


def one_item(path: Path) -> list[str]:
    """A file that holds just one thing."""
    del path
    return [""]


def unknown(path: Path, item: str) -> ImageSpec | None:
    """What an image will be is known only when it has been read."""
    del path, item
    return None


@dataclass(frozen=True)
class Format:
    """How files of one kind are told, read and written.

    ``suffixes`` are lower case with their dot (``.nii.gz``). ``claims`` looks at a file's first bytes or a folder's
    files, never at the name alone, and never raises. ``items`` lists what a file holds. ``read`` takes a path and an
    item. ``read_labels`` also takes the grid of the image that the labels belong to: contours need it, a label map
    with a grid of its own does not. ``write`` takes a path and what to write. None means that it cannot be done.
    ``extra`` names the extra that must be installed. ``extent`` tells by the header alone what ``read`` will give, or
    None where it cannot.
    Whatever is wrong with a file ends in a FormatError that names it.
    """

    suffixes: tuple[str, ...]
    claims: Callable[[Path], bool]
    read: Callable[[Path, str], Image] | None = None
    read_labels: Callable[[Path, str, Grid | None], LabelMap] | None = None
    write: Callable[[Path, Image | LabelMap], None] | None = None
    items: Callable[[Path], list[str]] = one_item
    extra: str | None = None
    extent: Callable[[Path, str], ImageSpec | None] = unknown
