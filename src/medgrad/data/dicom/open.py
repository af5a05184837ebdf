"""Open the DICOM files of one file path or of one series of a folder, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..file_errors import damage_told
from .file import numbers, open_dicom, tag_of, word
from .frames import PHASES, Frame, frames_of, phase_of
from .header import HEADS, Head, head_of, is_localizer, read_whole
from .index import PICTURELESS, SeriesInfo, files_of, grouped
from .native_pixels import Shape
from .pixels import check_pixels, promised_by, shape_of

PIXEL_DATA = tag_of("PixelData")
OWN = frozenset(
    map(
        tag_of,
        (
            "PixelData", "ImagePositionPatient", "SOPInstanceUID", "InstanceNumber", "SliceLocation",
            "InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime", "WindowCenter", "WindowWidth",
            "SmallestImagePixelValue", "LargestImagePixelValue", *(p for p in PHASES if p != "ImageType"),
        ),
    )
)  # fmt: skip
"""What slices of one series say differently, and what is read of each: nothing of its shape, units or directions."""


@dataclass(frozen=True)
class Opened:
    """A file that is read but not decoded: its dataset, pixel format and frames."""

    path: Path
    source: Dataset
    shape: Shape
    frames: tuple[Frame, ...]


def offered(every: Sequence[SeriesInfo]) -> tuple[list[SeriesInfo], list[str]]:
    """List the series that can be read as images, and messages on what was left out."""
    every = [s for s in every if s.holds_pictures and s.modality != "SEG"]
    kept = [s for s in every if not s.is_localizer] or every
    told = [f"The scout {s} was left out." for s in every if s not in kept]
    return kept, told


def opened_all(path: Path, uid: str, told: list[str], *, pixels: bool = True) -> tuple[list[Opened], str]:
    """Open a file or one series of a folder, without localizers; and give a name for error messages."""
    if path.is_file():
        return without_scouts([Alike().opened(path, pixels=pixels)], told), repr(str(path))
    read_on_the_way = Gathered(uid)
    with damage_told(path, "DICOM"):
        every = grouped(files_of(path), read_on_the_way.ask if pixels else head_of)
    series = chosen(path, every, uid, told)
    alike = Alike()
    heads = [alike.opened(p, read_on_the_way.sources.pop(p, None), pixels=pixels) for p in series.files]
    return without_scouts(heads, told), f"Series {series.series_uid} in {str(path)!r}"


class Gathered:
    """Reads whole files while the series of a folder are grouped, and keeps those of the wanted series.

    ``uid`` names the wanted series. Without one there must be only one series, so only the first is kept.
    """

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.first = ""
        self.sources: dict[Path, Dataset | FormatError] = {}

    def ask(self, path: Path) -> Head:
        """Give the header of a file, and keep its dataset if it may be wanted."""
        known = HEADS.get(path)
        if known is not None:
            return known[0]
        head, source = read_whole(path)
        if source is not None and self.is_wanted(path, head):
            self.sources[path] = source
        return head

    def is_wanted(self, path: Path, head: Head) -> bool:
        """Tell whether a file may belong to the wanted series."""
        uid = head.series_uid or str(path)
        if self.uid:
            return uid == self.uid
        if not head.has_rows or head.is_localizer or head.modality in (*PICTURELESS, "SEG"):
            return False
        self.first = self.first or uid
        return uid == self.first


def chosen(folder: Path, series: Sequence[SeriesInfo], uid: str, told: list[str]) -> SeriesInfo:
    """Give the series with the UID, or the only one."""
    every, left_out = offered(series)
    told += left_out
    if uid:
        every = [s for s in series if s.series_uid == uid]
    if not every:
        raise FormatError(
            f"{str(folder)!r} holds no DICOM series{f' {uid!r}' if uid else ' of images'}. Check the path."
        )
    if len(every) > 1:
        listed = "; ".join(str(s) for s in every[:8]) + ("; ..." if len(every) > 8 else "")
        raise FormatError(f"{str(folder)!r} holds {len(every)} series. Name one of them by its UID: {listed}.")
    return every[0]


class Alike:
    """Opens the files of a series; what equals the last file's header is not parsed again."""

    def __init__(self) -> None:
        self.last: tuple[Any, Opened] | None = None

    def opened(self, path: Path, source: Dataset | FormatError | None = None, *, pixels: bool = True) -> Opened:
        """Read a file's header, and its pixels if requested, unless it is read already; and describe its frames."""
        if isinstance(source, FormatError):
            raise source
        source = open_dicom(path, pixels=pixels) if source is None else source
        with damage_told(path, "DICOM"):
            said = said_alike(source)
            if said is not None and self.last is not None and self.last[0] == said:
                found = like(self.last[1], path, source, pixels)
                if found is not None:
                    return found
            if "MOSAIC" in word(source, "ImageType").upper():
                raise FormatError(
                    f"{str(path)!r} is a mosaic of many slices in one picture. Turn it into NIfTI with dcm2niix."
                )
            shape = promised_by(path, source) if pixels else shape_of(path, source, pixels=False)
            found = Opened(path, source, shape, tuple(frames_of(path, source, shape.frames)))
            self.last = None if said is None else (said, found)
            return found


def said_alike(source: Dataset) -> tuple[Any, ...] | None:
    """Give all header elements except those that differ by slice; None where there are nested sequences."""
    said = []
    for element in source.values():
        if element.tag in OWN:
            continue
        if isinstance(element, RawDataElement):
            said.append((element.tag, element.VR, element.value))
        elif element.VR == "SQ":
            return None
        else:
            said.append((element.tag, element.VR, repr(element.value)))
    return (*said, PIXEL_DATA in source)


def like(last: Opened, path: Path, source: Dataset, pixels: bool) -> Opened | None:
    """Reuse the header of the last file with another position; None where that is not possible."""
    if len(last.frames) != 1 or not last.frames[0].position:
        return None
    position = numbers(source, "ImagePositionPatient", 3)
    if not position:
        return None
    if pixels:
        check_pixels(path, source, last.shape)
    phases = tuple(phase_of(source, (None, None), name) for name in PHASES)
    frame = replace(last.frames[0], path=path, position=position, phases=phases)
    return Opened(path, source, last.shape, (frame,))


def without_scouts(heads: list[Opened], told: list[str]) -> list[Opened]:
    """Drop localizers if there are other images."""
    kept = [h for h in heads if not is_localizer(h.source)]
    if not kept or len(kept) == len(heads):
        return heads
    told.append(f"{len(heads) - len(kept)} scout pictures were left out.")
    return kept
