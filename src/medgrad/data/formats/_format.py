"""The interface of a file format; each file of this folder ends in ``THIS = Format(...)``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..grid import Grid
from ..image_spec import ImageSpec
from ..types import Image, LabelMap


def list_single_item(path: Path) -> list[str]:
    """List the single unnamed item of a file."""
    del path
    return [""]


def no_image_spec(path: Path, item: str) -> ImageSpec | None:
    """Give None: this format cannot tell an image's size from its header."""
    del path, item
    return None


@dataclass(frozen=True)
class Format:
    """How one file format is detected, read and written.

    ``suffixes`` are lower case with their dot (``.nii.gz``). ``can_read`` tells by a file's first bytes or a
    folder's files, never by the name alone, whether the format reads it, and never raises. ``list_items`` lists what a
    file holds. ``read`` takes a path and an item. ``read_labels`` also takes the grid of the image: contours need
    it, a label map with its own grid does not. ``write`` takes a path and an image or label map. None means that
    the format cannot do it. ``extra`` names the extra that must be installed. ``read_spec`` gives by the header alone
    the size of what ``read`` gives, or None. Whatever is wrong with a file raises a FormatError that names it.
    """

    suffixes: tuple[str, ...]
    can_read: Callable[[Path], bool]
    read: Callable[[Path, str], Image] | None = None
    read_labels: Callable[[Path, str, Grid | None], LabelMap] | None = None
    write: Callable[[Path, Image | LabelMap], None] | None = None
    list_items: Callable[[Path], list[str]] = list_single_item
    extra: str | None = None
    read_spec: Callable[[Path, str], ImageSpec | None] = no_image_spec
