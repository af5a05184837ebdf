"""Measure cases one by one: sizes, intensities, labels, and issues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data.cohorts.cohort import Cohort, Entry
from ..data.grid import Grid
from ..data.source import Source
from ..data.types import Boxes, Image, LabelMap, Scores, UnplacedBoxes
from ..errors import MedgradError
from ..trust.leaks import ImageRecord, make_record

Severity = Literal["note", "warning", "error"]

MAX_SAMPLE = 50_000
PERCENTILES = (0.5, 50.0, 99.5)
MAX_PIECES = 2_000


@dataclass(frozen=True)
class Issue:
    """Something wrong, or worth a look, with a case; ``case`` is empty if it is with the whole set."""

    case: str
    kind: str
    sentence: str
    severity: Severity = "warning"


@dataclass(frozen=True)
class Intensity:
    """Three percentiles (0.5, 50, 99.5), mean and deviation of some values."""

    low: float
    middle: float
    high: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class LabelFacts:
    """How much of a case a label takes, and the sizes of its pieces, in mm to the power of the axes (or pixels)."""

    share: float
    pieces: tuple[float, ...]


@dataclass(frozen=True)
class CaseFacts:
    """What was measured on one case; ``make_record`` is None if its first image could not be read."""

    id: str
    patient: str
    split: str | None
    grid: Grid | None = None
    channels: dict[str, int] = field(default_factory=dict)
    modalities: dict[str, str | None] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    whole: dict[str, Intensity] = field(default_factory=dict)
    inside: dict[str, Intensity] = field(default_factory=dict)
    labels: dict[str, LabelFacts] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    has_labels: bool = False
    told: tuple[str, ...] = ()
    faults: tuple[Issue, ...] = ()
    record: ImageRecord | None = None


def measure_case(cohort: Cohort, entry: Entry) -> CaseFacts:
    """Read one case and measure it; what cannot be read becomes an issue."""
    facts = CaseFacts(entry.id, entry.patient or entry.id, entry.split)
    images: dict[str, Image] = {}
    faults: list[Issue] = []
    for name, source in entry.images.items():
        try:
            images[name] = cohort.read_image(name, source)
        except (MedgradError, OSError, ValueError, MemoryError) as reason:
            faults.append(Issue(entry.id, "unreadable", _one_line(reason), "error"))
    if not images:
        return replace(facts, faults=tuple(faults))
    grid = next(iter(images.values())).grid
    faults += [f for name, image in images.items() for f in _check_image(entry.id, name, image, grid)]
    labels, more = _read_labels(cohort, entry, grid)
    first = next(iter(images.values()))
    inside = labels.array > cohort.threshold if labels is not None else None
    facts = replace(
        facts,
        grid=grid,
        channels={n: i.channels for n, i in images.items()},
        modalities={n: i.modality for n, i in images.items()},
        kinds={n: i.array.dtype.name for n, i in images.items()},
        whole={n: w for n, i in images.items() if (w := summarise_intensity(i.channels_first[0]))},
        inside={
            n: w
            for n, i in images.items()
            if inside is not None
            and i.grid.shape == inside.shape
            and (w := summarise_intensity(i.channels_first[0][inside]))
        },
        told=tuple(t for i in images.values() for t in i.messages),
        record=make_record(first.array, id=entry.id, patient=facts.patient, split=entry.split, dims=grid.dims),
    )
    if isinstance(entry.truth, Scores):
        held = [n for n, v in zip(entry.truth.names, entry.truth.values.tolist(), strict=True) if v > 0.5]
        facts = replace(facts, classes=tuple(held))
    if labels is not None:
        facts = replace(facts, labels=measure_labels(labels, cohort), has_labels=True)
    if isinstance(entry.truth, UnplacedBoxes) and entry.truth.corners.shape[1] == 2 * grid.dims:
        facts = replace(facts, labels=measure_boxes(entry.truth.to_world(grid), grid), has_labels=True)
    return replace(facts, faults=(*faults, *more))


def _one_line(reason: BaseException) -> str:
    return " ".join(str(reason).split())[:400] or type(reason).__name__


def _check_image(case: str, name: str, image: Image, grid: Grid) -> list[Issue]:
    """Check the values of an image, and its grid against that of the first."""
    found = []
    array = image.array
    which = f"the image {name!r}" if name != "image" else "the image"
    if array.dtype.kind == "f":
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            found.append(Issue(case, "non-finite", f"{bad} elements of {which} are NaN or infinite.", "error"))
    if array.size == 0 or (grid.dims > 1 and (array == array.flat[0]).all()):
        found.append(Issue(case, "constant", f"All elements of {which} are equal: it shows nothing.", "error"))
    if not image.grid.is_close(grid, tolerance_mm=0.5) and image.grid.has_spacing:
        sizes = f"{image.grid.shape} and {grid.shape}"
        found.append(Issue(case, "images apart", f"{which} does not lie on the grid of the first ({sizes}).", "note"))
    return found


def _read_labels(cohort: Cohort, entry: Entry, grid: Grid) -> tuple[LabelMap | None, list[Issue]]:
    """Read the truth as the file numbers it, with what is wrong with it."""
    if cohort.truth == "pair" and (entry.truth is None or len(entry.images) == 2):
        return None, []
    if entry.truth is None:
        return None, [Issue(entry.id, "no truth", "There is no truth for it; nothing is learned from it.", "note")]
    if not isinstance(entry.truth, Source):
        return None, []
    try:
        if cohort.has_image_truth:
            cohort.read_truth(entry.truth, grid)
            return None, []
        labels = cohort.read_mask(entry.truth, grid)
        labels = cohort.renumber(labels, source_name=str(entry.truth)) if cohort.label_aliases else labels
        region = cohort.read_mask(entry.roi, grid) if entry.roi else None
    except (MedgradError, OSError, ValueError, MemoryError) as reason:
        kind = "grid" if "its image" in str(reason) else "labels" if "this set has" in str(reason) else "unreadable"
        return None, [Issue(entry.id, kind, _one_line(reason), "error")]
    found = []
    held = set(np.unique(labels.array).tolist()) - {0}
    unknown = sorted(held - set(cohort.label_values)) if cohort.label_values else []
    if unknown:
        found.append(
            Issue(
                entry.id, "labels", f"Its mask holds {unknown}, but the set has {list(cohort.label_values)}.", "error"
            )
        )
    if not (labels.array > cohort.threshold).any():
        found.append(Issue(entry.id, "empty", "Its mask is empty.", "note"))
    elif region is not None:
        drawn = labels.array > cohort.threshold
        outside = float((drawn & (region.array == 0)).sum() / drawn.sum())
        if outside > 0.02:
            found.append(Issue(entry.id, "region", f"{outside:.0%} of its mask lie outside the region that counts."))
    return labels, found


def summarise_intensity(values: NDArray[Any]) -> Intensity | None:
    """Summarise values by an even sample of them; None if there is none that is finite.

    >>> summarise_intensity(np.arange(101)).middle
    50.0
    """
    flat = values.ravel()
    flat = flat[:: max(1, flat.size // MAX_SAMPLE)].astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return None
    low, middle, high = (float(v) for v in np.percentile(flat, PERCENTILES))
    return Intensity(low, middle, high, float(flat.mean()), float(flat.std()))


def measure_labels(labels: LabelMap, cohort: Cohort) -> dict[str, LabelFacts]:
    """Measure each label that occurs; things that are numbered one by one are the pieces of their label."""
    array, voxel = labels.array, labels.grid.voxel_volume_mm
    values = tuple(range(1, len(cohort.labels) + 1)) if cohort.label_aliases else cohort.label_values
    if not values:
        inside = array > cohort.threshold
        if not inside.any():
            return {}
        sizes = np.bincount(array.ravel())[1:] if cohort.threshold == 0 and int(array.max()) > 1 else None
        pieces = [float(s) * voxel for s in sizes if s] if sizes is not None and len(sizes) < 2**17 else None
        return {cohort.labels[0]: LabelFacts(float(inside.mean()), tuple(pieces or component_sizes(inside, voxel)))}
    found = {}
    boxes = ndimage.find_objects(array.astype(np.int32, copy=False), max_label=max(values))
    for name, value in zip(cohort.labels, values, strict=True):
        if boxes[value - 1] is not None:
            part = array[boxes[value - 1]] == value
            found[name] = LabelFacts(float(part.sum() / array.size), tuple(component_sizes(part, voxel)))
    return found


def measure_boxes(boxes: Boxes, grid: Grid) -> dict[str, LabelFacts]:
    """Measure the boxes of each label that occurs; what several hold counts several times."""
    whole = grid.voxel_volume_mm * float(np.prod(grid.shape))
    sizes = (boxes.corners[:, grid.dims :] - boxes.corners[:, : grid.dims]).prod(axis=1)
    held = {boxes.names[int(v)]: sizes[boxes.labels == v] for v in np.unique(boxes.labels)}
    return {n: LabelFacts(float(v.sum() / whole), tuple(sorted(v.tolist(), reverse=True))) for n, v in held.items()}


def component_sizes(mask: NDArray[np.bool_], voxel: float) -> Sequence[float]:
    """Give the sizes of the connected components of a mask, corners counted, the largest first."""
    numbered, n = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes = np.sort(np.bincount(numbered.ravel(), minlength=n + 1)[1:])[::-1]
    return [float(s) * voxel for s in sizes[:MAX_PIECES]]
