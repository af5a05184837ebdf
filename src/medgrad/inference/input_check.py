"""Check that inputs match the training data of a run, before they are prepared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data import Case, Image, Source
from ..data.cohorts import Entry
from ..data.dicom.image import MODALITY
from ..data.dicom.read_dataset import get_text, is_dicom, open_dicom
from ..data.formats import ImageSpec, extent_of
from ..errors import FormatError, MedgradError

WORDS = {"ct": "CT", "mr": "MR", "pet": "PET", "us": "ultrasound", "xray": "X-ray", "photo": "photographic"}
INPUT_KINDS = {1: "rows of numbers", 2: "flat pictures", 3: "volumes"}
INPUT_KIND_SINGULAR = {1: "a row of numbers", 2: "a flat picture", 3: "a volume"}
SPACING_FACTOR = 1.5
"""Elements may be so many times as long, or as short, as the longest and the shortest that were learned from."""
INPUT_ADVICE = {
    1: "Give a table of numbers: a .csv with the same columns.",
    2: "Give flat pictures: PNG, TIFF, or a DICOM file of one slice.",
    3: "Give a volume: a NIfTI file or a DICOM series.",
}


@dataclass(frozen=True)
class InputSpec:
    """The input specification of a run: the number of axes, and the images of a case.

    ``training_images`` lists for each image the ``channels`` and ``modalities`` that occurred in the training data. It
    is empty for runs that did not record them, and None among the modalities stands for a file without one. Where the
    size of elements matters, ``spacings`` are the least and the greatest, from the shortest axis to the longest. With
    ``accepts_any_channels`` the preparation converts cases to the right number of channels.
    """

    dims: int
    image_names: tuple[str, ...] = ()
    training_images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accepts_any_channels: bool = False

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the training data, if every case has one."""
        found = {m for about in self.training_images.values() for m in about.get("modalities", ())}
        return () if None in found else tuple(sorted(found))

    def __str__(self) -> str:
        """Describe the specification in words."""
        what = " or ".join(WORDS.get(m, m) for m in self.modalities)
        axes = f"{self.dims} {'axis' if self.dims == 1 else 'axes'}"
        return f"{what} {INPUT_KINDS[self.dims]}".strip() + f" ({axes}{self._describe_channels()})"

    def _describe_channels(self) -> str:
        if len(self.image_names) > 1 or self.accepts_any_channels or not self.training_images:
            return f", the images {', '.join(map(repr, self.image_names))}" if len(self.image_names) > 1 else ""
        ((name, about),) = list(self.training_images.items())[:1]
        counts = sorted(about.get("channels", ()))
        said = quote_image_name(name)
        return f", {' or '.join(map(str, counts))} channel{'' if counts == [1] else 's'}{said}" if counts else ""


def quote_image_name(name: str) -> str:
    """Quote the name of an image for a sentence, unless it is a default name."""
    return "" if name in ("image", "features") else f" {name!r}"


def collect_image_facts(cases: Iterable[Case], *, with_spacing: bool = False) -> dict[str, dict[str, list[Any]]]:
    """Collect the numbers of channels and the modalities of each image in some cases, and how long its elements are."""
    found: dict[str, dict[str, list[Any]]] = {}
    spacings: dict[str, list[list[float]]] = {}
    for case in cases:
        for name, image in case.images.items():
            about = found.setdefault(name, {"channels": [], "modalities": []})
            for key, value in (("channels", image.channels), ("modalities", image.modality)):
                if value not in about[key]:
                    about[key].append(value)
            if with_spacing and image.grid.has_spacing:
                spacings.setdefault(name, []).append(sorted(round(float(s), 4) for s in image.grid.spacing))
    for name, each in spacings.items():
        found[name]["spacings"] = [[end(axis) for axis in zip(*each, strict=True)] for end in (min, max)]
    return found


def merge_image_facts(facts_by_run: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Merge the image facts of several runs; empty where one has none."""
    if not facts_by_run or not all(facts_by_run):
        return {}
    found: dict[str, dict[str, list[Any]]] = {}
    for known in facts_by_run:
        for name, about in known.items():
            held = found.setdefault(name, {})
            for key, values in about.items():
                held[key] = [*held.get(key, []), *(v for v in values if v not in held.get(key, []))]
    return found


def check_header(input_spec: InputSpec, entry: Entry) -> None:
    """Raise if a case does not match a run's input specification, as far as file names and headers tell."""
    missing = [name for name in input_spec.image_names if name not in entry.images]
    first = next(iter(entry.images.values()))
    if missing and len(input_spec.image_names) > 1:
        raise FormatError(
            f"{str(first)!r} comes without {', '.join(map(repr, missing))}, but this run takes the images "
            f"{', '.join(map(repr, input_spec.image_names))}. Give a folder with NAME_0000, NAME_0001, "
            "... in this order."
        )
    for name, source in entry.images.items():
        if is_dicom_path(source.path):
            if not source.item:  # of several series in a folder, the first file may be of another one
                check_input_kind(input_spec, name, source, modality=read_modality(source.path))
        elif (seen := extent(source)) is not None:
            flat = input_spec.dims == 2 and 1 in seen.grid.shape
            check_input_kind(input_spec, name, source, dims=2 if flat else seen.grid.dims, channels=seen.channels)


def extent(source: Source) -> ImageSpec | None:
    """Read shape and spacing from a file's header; None where it cannot be read."""
    try:
        return extent_of(source)
    except (MedgradError, OSError, ValueError):
        return None


def is_dicom_path(path: Path) -> bool:
    """Tell whether a path is a DICOM file, or a folder."""
    return path.is_dir() or is_dicom(path)


def read_modality(path: Path) -> str | None:
    """Read the modality from the header of a DICOM file, or of the first in a folder; None where it is missing."""
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    first = next((p for p in files if is_dicom(p)), None)
    if first is None:
        return None
    try:
        return MODALITY.get(get_text(open_dicom(first, with_pixels=False, keywords=("Modality",)), "Modality"))
    except (MedgradError, OSError, ValueError):
        return None


def check_case(input_spec: InputSpec, case: Case, entry: Entry) -> None:
    """Raise if a loaded case does not match a run's input specification."""
    for name, image in case.images.items():
        check_image(input_spec, name, entry.images[name], image)


def check_image(input_spec: InputSpec, image_name: str, source: Source, image: Image) -> None:
    """Raise if an image does not match a run's input specification."""
    modality = image.modality if image.modality != "other" else None
    check_input_kind(input_spec, image_name, source, dims=image.grid.dims, channels=image.channels, modality=modality)
    check_spacing(input_spec, image_name, source, image)


def check_spacing(input_spec: InputSpec, image_name: str, source: Source, image: Image) -> None:
    """Raise if the elements of an image are much longer or shorter than any that the run learned from."""
    known = input_spec.training_images.get(image_name, {}).get("spacings")
    if not known or not image.grid.has_spacing:
        return
    low, high = ([end(axis) for axis in zip(*known, strict=True)] for end in (min, max))
    came = sorted(float(s) for s in image.grid.spacing)
    if all(a / SPACING_FACTOR <= s <= b * SPACING_FACTOR for a, s, b in zip(low, came, high, strict=True)):
        return
    said, learned = (" x ".join(f"{v:.3g}" for v in values) for values in (came, low))
    upto = "" if low == high else f" to {' x '.join(f'{v:.3g}' for v in high)}"
    raise FormatError(
        f"{str(source)!r} has elements of {said} mm, but this run learned from {learned}{upto} mm. "
        "Resample it, or learn from such images with fit."
    )


def check_input_kind(
    input_spec: InputSpec,
    image_name: str,
    source: Source,
    *,
    dims: int | None = None,
    channels: int | None = None,
    modality: str | None = None,
) -> None:
    """Raise if axes, channels or modality, where known, do not match a run's input specification."""
    about = input_spec.training_images.get(image_name, {})
    counts, learned = about.get("channels", ()), about.get("modalities", ())
    is_of_modality = modality is None or not learned or None in learned or modality in learned
    fits = input_spec.accepts_any_channels or channels is None or not counts or channels in counts
    if (dims in (None, input_spec.dims)) and fits and is_of_modality:
        return
    came = INPUT_KIND_SINGULAR.get(dims or input_spec.dims, f"an image of {dims} axes")
    axes = f"{dims} {'axis' if dims == 1 else 'axes'}" if dims else ""
    planes = f"{channels} channel{'' if channels == 1 else 's'}" if channels else ""
    which = f" of {WORDS.get(modality, modality)}" if modality and not is_of_modality else ""
    brackets = f" ({', '.join(w for w in (axes, planes) if w)})" if axes or planes else ""
    if dims not in (None, input_spec.dims):
        todo = INPUT_ADVICE[input_spec.dims]
    elif not is_of_modality:
        todo = f"Give {' or '.join(WORDS.get(m, m) for m in learned)}, or learn from such images with fit."
    else:
        todo = f"Give images with {' or '.join(map(str, sorted(counts)))} channel{'' if counts == [1] else 's'}."
    raise FormatError(f"{str(source)!r} is {came}{which}{brackets}, but this run takes {input_spec}. {todo}")
