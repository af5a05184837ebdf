"""Where a file of a case lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Where one image or truth lies: a file or folder and, if it holds several, which item of it.

    The item of an ``.npz`` is ``array:row``; that of a DICOM folder is a series UID; that of a 4D NIfTI a number.
    ``also`` are further files of the same truth, laid over the first: a mask a lesion, a SEG an organ.
    """

    path: Path
    item: str = ""
    also: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}[{self.item}]" if self.item else str(self.path)


@dataclass(frozen=True)
class PairSource:
    """Where the truths about both images of a pair lie."""

    fixed: Source
    moving: Source
