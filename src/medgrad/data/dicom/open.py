"""Open the DICOM files of one file path or of one series of a folder, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..file_errors import as_format_error
from .frames import PHASE_KEYWORDS, Frame, describe_frames, phase_value
from .header import HEADER_CACHE, DicomHeader, is_localizer, load_header, read_header_and_dataset
from .index import MODALITIES_WITHOUT_PIXELS, SeriesInfo, group_series, iter_files
from .native_pixels import PixelFormat
from .pixels import check_pixel_data, read_checked_pixel_format, read_pixel_format
from .read_dataset import get_numbers, get_text, keyword_tag, open_dicom

PIXEL_DATA_TAG = keyword_tag("PixelData")
PER_SLICE_TAGS = frozenset(
    map(
        keyword_tag,
        (
            "PixelData", "ImagePositionPatient", "SOPInstanceUID", "InstanceNumber", "SliceLocation",
            "InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime", "WindowCenter", "WindowWidth",
            "SmallestImagePixelValue", "LargestImagePixelValue", *(p for p in PHASE_KEYWORDS if p != "ImageType"),
        ),
    )
)  # fmt: skip
"""What slices of one series say differently, and what is read of each: nothing of its shape, units or directions."""


@dataclass(frozen=True)
class OpenedFile:
    """A file that is read but not decoded: its dataset, pixel format and frames."""

    path: Path
    dataset: Dataset
    pixel_format: PixelFormat
    frames: tuple[Frame, ...]


def list_image_series(series: Sequence[SeriesInfo]) -> tuple[list[SeriesInfo], list[str]]:
    """List the series that can be read as images, and messages on what was left out."""
    series = [s for s in series if s.has_images and s.modality != "SEG"]
    kept = [s for s in series if not s.is_localizer] or series
    messages = [f"The scout {s} was left out." for s in series if s not in kept]
    return kept, messages


def open_series(path: Path, uid: str, messages: list[str], *, with_pixels: bool = True) -> tuple[list[OpenedFile], str]:
    """Open a file or one series of a folder, without localizers; and give a name for error messages."""
    if path.is_file():
        return drop_localizers([SeriesOpener().open_file(path, with_pixels=with_pixels)], messages), repr(str(path))
    whole_files = WholeFileReader(uid)
    with as_format_error(path, "DICOM"):
        every = group_series(iter_files(path), whole_files.get_header if with_pixels else load_header)
    series = choose_series(path, every, uid, messages)
    alike = SeriesOpener()
    heads = [alike.open_file(p, whole_files.datasets.pop(p, None), with_pixels=with_pixels) for p in series.files]
    return drop_localizers(heads, messages), f"Series {series.series_uid} in {str(path)!r}"


class WholeFileReader:
    """Reads whole files while the series of a folder are grouped, and keeps those of the wanted series.

    ``uid`` names the wanted series. Without one there must be only one series, so only the first is kept.
    """

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.first = ""
        self.datasets: dict[Path, Dataset | FormatError] = {}

    def get_header(self, path: Path) -> DicomHeader:
        """Give the header of a file, and keep its dataset if it may be wanted."""
        known = HEADER_CACHE.get(path)
        if known is not None:
            return known[0]
        head, source = read_header_and_dataset(path)
        if source is not None and self.is_wanted(path, head):
            self.datasets[path] = source
        return head

    def is_wanted(self, path: Path, head: DicomHeader) -> bool:
        """Tell whether a file may belong to the wanted series."""
        uid = head.series_uid or str(path)
        if self.uid:
            return uid == self.uid
        if not head.has_rows or head.is_localizer or head.modality in (*MODALITIES_WITHOUT_PIXELS, "SEG"):
            return False
        self.first = self.first or uid
        return uid == self.first


def choose_series(folder: Path, series: Sequence[SeriesInfo], uid: str, messages: list[str]) -> SeriesInfo:
    """Give the series with the UID, or the only one."""
    every, left_out = list_image_series(series)
    messages += left_out
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


class SeriesOpener:
    """Opens the files of a series; what equals the last file's header is not parsed again."""

    def __init__(self) -> None:
        self.last_opened: tuple[Any, OpenedFile] | None = None

    def open_file(
        self, path: Path, dataset: Dataset | FormatError | None = None, *, with_pixels: bool = True
    ) -> OpenedFile:
        """Read a file's header, and its pixels if requested, unless it is read already; and describe its frames."""
        if isinstance(dataset, FormatError):
            raise dataset
        dataset = open_dicom(path, with_pixels=with_pixels) if dataset is None else dataset
        with as_format_error(path, "DICOM"):
            said = shared_elements(dataset)
            if said is not None and self.last_opened is not None and self.last_opened[0] == said:
                found = reuse_last_header(self.last_opened[1], path, dataset, with_pixels)
                if found is not None:
                    return found
            if "MOSAIC" in get_text(dataset, "ImageType").upper():
                raise FormatError(
                    f"{str(path)!r} is a mosaic of many slices in one picture. Turn it into NIfTI with dcm2niix."
                )
            shape = (
                read_checked_pixel_format(path, dataset)
                if with_pixels
                else read_pixel_format(path, dataset, with_pixels=False)
            )
            found = OpenedFile(path, dataset, shape, tuple(describe_frames(path, dataset, shape.frames)))
            self.last_opened = None if said is None else (said, found)
            return found


def shared_elements(dataset: Dataset) -> tuple[Any, ...] | None:
    """Give all header elements except those that differ by slice; None where there are nested sequences."""
    said = []
    for element in dataset.values():
        if element.tag in PER_SLICE_TAGS:
            continue
        if isinstance(element, RawDataElement):
            said.append((element.tag, element.VR, element.value))
        elif element.VR == "SQ":
            return None
        else:
            said.append((element.tag, element.VR, repr(element.value)))
    return (*said, PIXEL_DATA_TAG in dataset)


def reuse_last_header(last: OpenedFile, path: Path, dataset: Dataset, with_pixels: bool) -> OpenedFile | None:
    """Reuse the header of the last file with another position; None where that is not possible."""
    if len(last.frames) != 1 or not last.frames[0].position:
        return None
    position = get_numbers(dataset, "ImagePositionPatient", 3)
    if not position:
        return None
    if with_pixels:
        check_pixel_data(path, dataset, last.pixel_format)
    phases = tuple(phase_value(dataset, (None, None), name) for name in PHASE_KEYWORDS)
    frame = replace(last.frames[0], path=path, position=position, phase_values=phases)
    return OpenedFile(path, dataset, last.pixel_format, (frame,))


def drop_localizers(files: list[OpenedFile], messages: list[str]) -> list[OpenedFile]:
    """Drop localizers if there are other images."""
    kept = [h for h in files if not is_localizer(h.dataset)]
    if not kept or len(kept) == len(files):
        return files
    messages.append(f"{len(files) - len(kept)} scout pictures were left out.")
    return kept
