"""The location of an image or truth: a path, and an item within it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """The location of one image or truth: a file or folder and, if it holds several, which item of it.

    The item of an ``.npz`` is ``array:row``; that of a DICOM folder is a series UID; that of a 4D NIfTI a number.
    ``extra_paths`` are further files of the same truth, merged over the first: one mask for each lesion, one SEG for
    each organ.
    """

    path: Path
    item: str = ""
    extra_paths: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}[{self.item}]" if self.item else str(self.path)


@dataclass(frozen=True)
class PairSource:
    """The locations of the truths about the fixed and the moving image of a pair."""

    fixed: Source
    moving: Source
