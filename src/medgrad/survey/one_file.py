"""Look at one file or one series: its geometry, values or labels, and its issues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..data.formats import Format, find_format, list_series, read, read_labels
from ..data.grid import Grid
from ..data.source import Source
from ..data.types import Image, LabelMap
from ..errors import FormatError, MedgradError
from .case import MAX_SAMPLE, Issue, _check_image, summarise_intensity

MAX_LABELS = 64
"""An image of more different values than these is not taken for labels."""
MAX_LINES = 20
FORMAT_NAMES = {
    "numpy": "NumPy", "dicom": "DICOM", "dicomseg": "DICOM SEG", "itk": "MetaImage or NRRD", "nifti": "NIfTI",
    "raster": "picture", "rtstruct": "DICOM RTSTRUCT", "tiff": "TIFF",
}  # fmt: skip
HEADER_KEYS = (
    "patient",
    "study_date",
    "series",
    "body_part",
    "sex",
    "age",
    "manufacturer",
    "model",
    "field_strength_t",
)
"""Of what a DICOM header tells: who, when, and with what."""


def look_at_file(path: Path, item: str = "") -> dict[str, Any]:
    """Tell in plain values what one file, or one folder that is a DICOM series, holds and what is wrong with it."""
    form = find_format(path)
    items = list_items(form, path)
    found: dict[str, Any] = {"path": str(path), "format": format_name(form), "items": items}
    if form.read is None:
        return found | look_at_labels(Source(path, item), items)
    try:
        image = read(Source(path, item))
    except FormatError:
        if item or len(items) < 2:
            raise
        found["item"] = items[0]  # a file of several things may be read only thing by thing
        image = read(Source(path, items[0]))
    counts = label_counts(image)
    return {
        **found,
        "kind": "image",
        **describe_grid(image.grid),
        "modality": image.modality,
        "channels": image.channels,
        "values": summarise_values(image.array),
        "labels": [summarise_label(v, "", n, image.grid) for v, n in counts.items() if v],
        "about": {k: image.tags[k] for k in HEADER_KEYS if k in image.tags},
        "told": list(image.messages),
        "faults": [asdict(f) for f in _check_image(path.name, "image", image, image.grid)],
    }


def format_name(file_format: Format) -> str:
    """Give the name of a format."""
    name = next(n for n in registry.names("data.formats") if registry.find("data.formats", n) is file_format)
    return FORMAT_NAMES.get(name, name)


def list_items(file_format: Format, path: Path) -> list[str]:
    """List what a file holds, if it names several things."""
    return [item for item in file_format.list_items(path) if item]


def describe_grid(grid: Grid) -> dict[str, Any]:
    """Say how large an image is, and how it lies."""
    return {
        "size": list(grid.shape),
        "spacing_mm": [round(v, 6) for v in grid.spacing] if grid.has_spacing else None,
        "orientation": grid.orientation or None,
    }


def summarise_values(array: NDArray[Any]) -> dict[str, Any]:
    """Give the type of some values, their range, and their percentiles by an even sample."""
    found: dict[str, Any] = {"type": array.dtype.name}
    finite = array if array.dtype.kind != "f" else array[np.isfinite(array)]
    if not finite.size:
        return found
    found |= {"min": float(finite.min()), "max": float(finite.max())}
    if seen := summarise_intensity(array):
        found |= {"p0.5": seen.low, "p50": seen.middle, "p99.5": seen.high}
        found |= {"mean": seen.mean, "deviation": seen.deviation}
    return found


def label_counts(image: Image) -> dict[int, int]:
    """Count the elements of each value of an image that may be labels: few, whole numbers from 0; else nothing.

    >>> label_counts(Image(np.array([[0, 2], [2, 2]]), Grid.from_shape((2, 2))))
    {0: 1, 2: 3}
    """
    flat = image.array.ravel()
    sample = flat[:: max(1, flat.size // MAX_SAMPLE)]
    if image.channels > 1 or not sample.size or len(np.unique(sample)) > MAX_LABELS:
        return {}
    if flat.dtype.kind == "f" and not (np.isfinite(flat).all() and (flat == np.round(flat)).all()):
        return {}
    if flat.min() < 0 or flat.max() >= 1 << 16:
        return {}
    values, counts = np.unique(flat.astype(np.uint16), return_counts=True)  # 16 bits are sorted at once
    if not 2 <= len(values) <= MAX_LABELS:
        return {}
    return {int(v): int(n) for v, n in zip(values, counts, strict=True)}


def summarise_label(value: int, name: str, count: int, grid: Grid) -> dict[str, Any]:
    """Say how much there is of a label: elements and, where the spacing is known, its volume or area."""
    found: dict[str, Any] = {"value": value, "name": name or str(value), "elements": count}
    if not grid.has_spacing:
        return found
    size = count * grid.voxel_volume_mm
    return found | ({"volume_ml": size / 1000} if grid.dims == 3 else {"area_mm2": size})


def look_at_labels(source: Source, names: Sequence[str]) -> dict[str, Any]:
    """Tell what a file of labels holds."""
    if find_format(source.path) is registry.find("data.formats", "rtstruct"):
        told = "Contours have no volume before they are drawn on their image: look at the folder that holds both."
        return {"kind": "regions", "labels": [{"name": name} for name in names], "told": [told], "faults": []}
    labels = read_labels(source)
    counts = dict(zip(*(v.tolist() for v in np.unique(labels.array, return_counts=True)), strict=True))
    every = [
        summarise_label(v, labels.names.get(v, ""), counts.get(v, 0), labels.grid) for v in label_values(labels, counts)
    ]
    faults = [] if any(v for v in counts) else [Issue(source.path.name, "empty", "Its mask is empty.", "note")]
    return {
        "kind": "labels",
        **describe_grid(labels.grid),
        "labels": every,
        "told": list(labels.messages),
        "faults": [asdict(f) for f in faults],
    }


def label_values(labels: LabelMap, counts: Mapping[int, int]) -> list[int]:
    """List the labels that are named or occur, in order."""
    return sorted({*labels.names, *counts} - {0})


def look_at_series(folder: Path) -> list[dict[str, Any]]:
    """List the DICOM series in a folder and those below it, in plain values; nothing where there is none."""
    try:
        every = list_series(folder)
    except (MedgradError, OSError):
        return []
    return [
        {
            "series": s.series_uid,
            "modality": s.modality,
            "description": s.description,
            "patient": s.patient,
            "study_date": s.study_date,
            "pictures": s.n_frames,
            "files": len(s.files),
            "folder": str(s.files[0].parent),
        }
        for s in every
    ]


def format_lines(found: Mapping[str, Any]) -> list[str]:
    """Format what was found in one file for a person, a line each."""
    lines = [f"{Path(found['path']).name}: {found['format']}, {format_size(found)}"]
    if len(found["items"]) > 1 and found["kind"] == "image":
        which = f"; this is {found['item']!r}" if "item" in found else ""
        lines.append(f"  it holds {len(found['items'])} items{which}")
    if found.get("about"):
        lines.append("  " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in found["about"].items()))
    if "values" in found:
        lines.append(f"  {format_values(found)}")
    lines += [f"  label {line}" for line in map(format_label, found["labels"][:MAX_LINES])]
    lines += [f"  {sentence}" for sentence in found["told"]]
    faults = [f"  {fault['sentence']}" for fault in found["faults"]]
    return [*lines, f"{len(faults)} faults" if faults else "no faults", *faults]


def format_size(found: Mapping[str, Any]) -> str:
    """Format the size and kind of an image."""
    if "size" not in found:
        return f"{len(found['labels'])} regions"
    what = {2: "a flat picture", 3: "a volume"}.get(len(found["size"]), "a row")
    what = f"labels on {what}" if found["kind"] == "labels" else what
    size = " x ".join(map(str, found["size"]))
    spacing = found["spacing_mm"]
    said = " x ".join(f"{v:.4g}" for v in spacing) + " mm" if spacing else "not told"
    turned = f", orientation {found['orientation']}" if found["orientation"] else ""
    return f"{what} of {size} ({prod(found['size']):,} elements), spacing {said}{turned}"


def format_values(found: Mapping[str, Any]) -> str:
    """Format the values of an image."""
    values, channels = found["values"], found["channels"]
    modality = str(found["modality"]).upper() if found["modality"] else "modality not told"
    head = f"{modality}, {channels} channel{'' if channels == 1 else 's'}, {values['type']}"
    if "min" not in values:
        return f"{head}, no finite value"
    ends = f"{values['min']:.6g} to {values['max']:.6g}"
    middle = ", ".join(f"{values[k]:.6g}" for k in ("p0.5", "p50", "p99.5"))
    return f"{head}, from {ends}; percentiles 0.5, 50, 99.5: {middle}; mean {values['mean']:.6g}"


def format_label(label: Mapping[str, Any]) -> str:
    """Format the size of a label."""
    named = f"{label['value']} ({label['name']})" if label.get("value") is not None else repr(label["name"])
    named = str(label["value"]) if label.get("name") == str(label.get("value")) else named
    size = f"{label['volume_ml']:.4g} ml" if "volume_ml" in label else ""
    size = f"{label['area_mm2']:.4g} mm2" if "area_mm2" in label else size
    count = f"{label['elements']:,} elements" if "elements" in label else ""
    told = ", ".join(w for w in (count, size) if w)
    return f"{named}: {told}" if told else named
