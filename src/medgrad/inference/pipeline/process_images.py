"""Process images by preparation steps, and write each in the format of its input."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ... import registry
from ...data import Case, Image, LabelMap, Source
from ...data.checksum import hash_file
from ...data.cohorts import Entry
from ...data.dicom.write.derived import write_derived_file, write_derived_series
from ...data.dicom.write.snomed import Code
from ...data.formats import csv as tables
from ...data.formats import file_suffix, find_format, list_series, read, read_labels, write
from ...errors import FormatError, MedgradError
from ...prepare import Step, unit_of
from .inputs import find_inputs
from .process_tables import process_table

KEPT_SUFFIXES = (".nii", ".nii.gz", ".mha", ".nrrd", ".png", ".tif", ".tiff", ".npy")
"""Endings of inputs that are written as they came, besides DICOM; others become NIfTI, or PNG or TIFF where flat."""


@dataclass(frozen=True)
class Processed:
    """What became of one input: where it was written, the settings chosen on it a step, and its unit and type.

    ``joined`` are further inputs that were made one image with it.
    """

    source: Path
    written: Path | None = None
    chosen: tuple[dict[str, Any], ...] = ()
    unit: str = ""
    unit_before: str = ""
    dtype: str = ""
    dtype_before: str = ""
    messages: tuple[str, ...] = ()
    failure: str = ""
    joined: tuple[Path, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values, with the hashes of what was read and written."""
        if self.failure:
            return {"input": str(self.source), "failure": self.failure}
        every = [{"input": str(path), "input_sha256": hash_path(path)} for path in (self.source, *self.joined)]
        return {
            **every[0],
            **({"inputs": every} if self.joined else {}),
            "output": str(self.written),
            "output_sha256": hash_path(self.written) if self.written else "",
            "chosen": list(self.chosen),
            "unit": {"before": self.unit_before, "after": self.unit},
            "type": {"before": self.dtype_before, "after": self.dtype},
            "messages": list(self.messages),
        }


def find_process_inputs(path: Path) -> list[Entry]:
    """Find what is to be processed: one file, one DICOM series, every image of a folder, or a table as a whole."""
    return [Entry(path.stem, {"table": Source(path)})] if tables.can_read(path) else find_inputs(path, ())


def process_all(
    entries: Sequence[Entry], steps: Sequence[Step], out: Path, *, roi: Path | None = None
) -> Iterator[Processed]:
    """Process every input and write it; one that cannot be processed does not stop the others."""
    for entry in entries:
        source = next(iter(entry.images.values()))
        try:
            yield process_one(entry, steps, out, roi=roi)
        except (MedgradError, OSError) as reason:
            yield Processed(source.path, failure=str(reason))


def process_one(entry: Entry, steps: Sequence[Step], out: Path, *, roi: Path | None = None) -> Processed:
    """Process one input and write it."""
    source, *others = entry.images.values()
    if tables.can_read(source.path):
        if roi is not None:
            raise FormatError(f"--roi is of an image, but {source.path.name!r} is a table. Leave it out.")
        table, chosen, messages = process_table(source.path, steps, out)
        return Processed(source.path, table, tuple(chosen), messages=messages)
    images = {name: read(path) for name, path in entry.images.items()} if others else {"image": read(source)}
    first, image = next(iter(images.items()))
    case = Case(entry.id, images, roi=read_region(roi, image))
    chosen = []
    for step in steps:
        case, memo = step.apply(case)
        chosen.append({"step": step.name, **memo.values.get("chosen", {})})
    made = case.images[first]
    written, messages = write_processed(entry, (image, made), steps, out, words=derivation_words(steps, chosen, roi))
    return Processed(
        source.path,
        written,
        tuple(chosen),
        unit_of(made),
        unit_of(image),
        str(made.array.dtype),
        str(image.array.dtype),
        (*(message for one in images.values() for message in one.messages), *messages),
        joined=tuple(other.path for other in others),
    )


def write_processed(
    entry: Entry, before_after: tuple[Image, Image], steps: Sequence[Step], out: Path, *, words: str
) -> tuple[Path, tuple[str, ...]]:
    """Write a processed image in the format of its input; give the path, and messages on how it was written."""
    source, (before, made) = next(iter(entry.images.values())), before_after
    other = out / output_name(entry, source.path, made)
    if find_format(source.path) is not registry.find("data.formats", "dicom"):
        return write(other, made), ()
    try:
        check_stays_dicom(before, made, steps)
        codes = list(dict.fromkeys(Code(*step.derivation, "DCM") for step in steps))
        if source.path.is_file():
            path = write_derived_file(out / source.path.name, made, source, derivation=words, codes=codes)
            return path, ("It was written as a derived DICOM image.",)
        files = write_derived_series(out / entry.id, made, source, derivation=words, codes=codes)
        return out / entry.id, (f"It was written as a derived DICOM series of {len(files)} files.",)
    except FormatError as reason:
        return write(other, made), (f"It was not written as DICOM: {reason}",)


def check_stays_dicom(before: Image, made: Image, steps: Sequence[Step]) -> None:
    """Raise unless the steps kept the grid and the unit, as a derived series does."""
    if not made.grid.is_close(before.grid):
        raise FormatError("its grid was changed.")
    for step in steps:
        if step.joins_images and (made.modality, unit_of(made)) == (before.modality, unit_of(before)):
            continue
        if not step.keeps_unit:
            raise FormatError(f"{step.name!r} may change the unit.")


def derivation_words(steps: Sequence[Step], chosen: Sequence[dict[str, Any]], roi: Path | None) -> str:
    """Say what was done: each step with its settings, and those chosen on the image.

    >>> from medgrad.prepare.smooth import THIS as Smooth
    >>> derivation_words([Smooth(5)], [{}], None)
    'smooth fwhm=5'
    """
    words = []
    for step, found in zip(steps, chosen, strict=True):
        settings: dict[str, Any] = asdict(step)  # type: ignore[call-overload]
        names = [name for name in found if name != "step"]
        for channel in found[names[0]][:1] if names and not step.joins_images else ():
            settings |= channel
        said = " ".join(
            f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in settings.items()
        )
        joined = f"of {' and '.join(names)}" if step.joins_images else ""
        words.append(" ".join(word for word in (step.name, said, joined) if word))
    return ", ".join(words) + (" (in a region alone)" if roi is not None else "")


def read_region(path: Path | None, image: Image) -> LabelMap | None:
    """Read the region in which values may change, or raise if it does not lie on the grid of the image."""
    if path is None:
        return None
    theirs, ours = {s.frame_of_reference for s in list_series(path)} - {""}, image.tags.get("frame_of_reference")
    if theirs and ours and ours not in theirs:
        raise FormatError(
            f"--roi {str(path)!r} was drawn in the frame of reference {min(theirs)}, but the image lies in {ours}. "
            "Give a mask of this image."
        )
    region = read_labels(path, reference_grid=image.grid)
    if not region.grid.is_close(image.grid):
        raise FormatError(
            f"--roi {str(path)!r} is of {region.grid.shape}, but the image of {image.grid.shape}, or they lie "
            "elsewhere. Give a mask on the grid of the image."
        )
    return region


def output_name(entry: Entry, path: Path, image: Image) -> str:
    """Give the name of the file to write: that of the input where its format can hold the image, else a new ending."""
    suffix, is_real = file_suffix(path), image.array.dtype.kind == "f"
    if path.is_file() and suffix in KEPT_SUFFIXES and not (is_real and suffix == ".png"):
        return path.name
    return f"{entry.id}{'.nii.gz' if image.grid.dims == 3 else '.tiff' if is_real else '.png'}"


def hash_path(path: Path) -> str:
    """Give the SHA-256 of a file, or of the names and checksums of the files of a folder."""
    if path.is_file():
        return hash_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    named = [f"{hash_file(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(named).encode()).hexdigest()
