"""What a plan must know of a cohort: sizes, spacings, intensities, classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Boxes, Case, Cohort, LabelMap, Scores
from ..errors import FormatError, LayoutError, MedgradError
from ..prepare.reorient import Reorient

ENOUGH = 48


@dataclass(frozen=True)
class Facts:
    """Measured on the training cases, or on an even choice of them.

    ``intensity`` is (low, high, mean, deviation) of what is labelled, or of everything where nothing is: the 0.5 and
    99.5 percentiles, and the moments between them. ``columns`` are (name, mean, deviation) of each feature of a table.
    ``mixed`` is whether some images have more channels than others, ``across`` whether pairs are of two patients.
    ``objects`` are the 10th percentile of how long the boxes of the smallest class are and the 90th of the largest, in
    mm: the side of a cube of the same volume.
    """

    task: str
    dims: int
    cases: int
    labels: tuple[str, ...]
    exclusive: bool
    channels: tuple[str, ...]
    planes: int
    modality: str | None
    measured: bool
    shapes: tuple[tuple[int, ...], ...]
    spacings: tuple[tuple[float, ...], ...]
    intensity: tuple[float, float, float, float]
    foreground: float
    is_8_bit: bool
    counts: tuple[int, ...]
    seconds_a_case: float = 0.0
    columns: tuple[tuple[str, float, float], ...] = ()
    mixed: bool = False
    across: bool = False
    objects: tuple[float, float] = (0.0, 0.0)
    most_objects: int = 0

    def middle_spacing(self) -> tuple[float, ...]:
        """The median spacing along each axis of the array, turned to the axes of the body."""
        return tuple(float(v) for v in np.median(np.array(self.spacings), axis=0))

    def sizes_mm(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """The extent of each case along each axis."""
        return np.array(self.shapes) * np.array(self.spacings)


def gather(cohort: Cohort, *, modality: str | None = None) -> Facts:
    """Read enough of a cohort's training cases to plan with.

    ``modality`` is what is known where the files do not say.
    """
    entries = [e for e in cohort.entries if e.split in (None, "train")] or list(cohort.entries)
    if not entries:
        raise LayoutError(f"{str(cohort.root)!r} has no case to learn from.")
    most = len(entries) if cohort.dims == 1 else min(ENOUGH, len(entries))  # the rows of a table are read in no time
    chosen = [entries[i] for i in np.unique(np.linspace(0, len(entries) - 1, most).astype(int))]
    cases: list[Case] = []
    why = ""
    for entry in chosen:
        try:
            case = cohort.load(entry)
        except MedgradError as reason:
            why = str(reason)
            continue
        cases.append(Reorient().apply(case) if case.grid.dims == 3 else case)
    if not cases:
        raise FormatError(f"No case of {str(cohort.root)!r} could be read. The last one said: {why}")
    first = cases[0]
    modalities = Counter(i.modality for c in cases for i in c.images.values() if i.modality)
    return Facts(
        task=cohort.task,
        dims=first.grid.dims,
        cases=len(entries),
        labels=cohort.labels,
        exclusive=cohort.exclusive,
        channels=tuple(first.images),
        planes=max(sum(i.channels for i in c.images.values()) for c in cases),
        mixed=len({sum(i.channels for i in c.images.values()) for c in cases}) > 1,
        modality=modalities.most_common(1)[0][0] if modalities else modality,
        measured=first.grid.measured,
        shapes=tuple(c.grid.shape for c in cases),
        spacings=tuple(c.grid.spacing for c in cases),
        intensity=intensity_of(cases),
        foreground=float(np.mean([share(c) for c in cases])),
        is_8_bit=all(i.array.dtype == np.uint8 for c in cases for i in c.images.values()),
        counts=class_counts(cohort),
        columns=columns_of(cases) if first.grid.dims == 1 else (),
        across=any(c.notes.get("across") for c in cases),
        objects=lengths_of(cases),
        most_objects=max((len(c.truth.labels) for c in cases if isinstance(c.truth, Boxes)), default=0),
    )


def lengths_of(cases: Sequence[Case]) -> tuple[float, float]:
    """Give how long the smaller boxes of the smallest class are, and the larger of the largest; zeros without boxes."""
    boxes = [c.truth for c in cases if isinstance(c.truth, Boxes) and len(c.truth.corners)]
    if not boxes:
        return 0.0, 0.0
    ends, labels = np.concatenate([b.corners for b in boxes]), np.concatenate([b.labels for b in boxes])
    dims = ends.shape[1] // 2
    lengths = (ends[:, dims:] - ends[:, :dims]).prod(axis=1) ** (1 / dims)
    each = [np.percentile(lengths[labels == label], [10, 90]) for label in np.unique(labels)]
    return float(min(low for low, _ in each)), float(max(high for _, high in each))


def columns_of(cases: Sequence[Case]) -> tuple[tuple[str, float, float], ...]:
    """Give name, mean and deviation of each column of rows of features."""
    image = next(iter(cases[0].images.values()))
    rows = np.stack([next(iter(c.images.values())).array for c in cases])  # (cases, columns)
    moments = zip(rows.mean(axis=0).tolist(), rows.std(axis=0).tolist(), strict=True)
    return tuple((name, *both) for name, both in zip(image.tags["columns"], moments, strict=True))


def intensity_of(cases: Sequence[Case]) -> tuple[float, float, float, float]:
    """Give percentiles and moments of the labelled elements of the first image, or of all elements."""
    values = []
    for case in cases:
        plane = next(iter(case.images.values())).planes[0]
        inside = plane
        if isinstance(case.truth, LabelMap) and case.truth.array.shape == plane.shape and case.truth.array.any():
            inside = plane[case.truth.array > 0]
        flat = inside.ravel()[:: max(1, inside.size // 20_000)].astype(np.float64)
        values.append(flat[np.isfinite(flat)])
    every = np.concatenate(values)
    if not every.size:
        return 0.0, 1.0, 0.0, 1.0
    low, high = np.percentile(every, [0.5, 99.5])
    cut = np.clip(every, low, high)
    return float(low), float(high), float(cut.mean()), float(max(cut.std(), 1e-6))


def share(case: Case) -> float:
    """The share of a case that is labelled."""
    return float((case.truth.array > 0).mean()) if isinstance(case.truth, LabelMap) else 0.0


def class_counts(cohort: Cohort) -> tuple[int, ...]:
    """How many training cases have each class."""
    truths = [e.truth for e in cohort.entries if e.split in (None, "train") and isinstance(e.truth, Scores)]
    return tuple(int(v) for v in np.sum([t.values > 0.5 for t in truths], axis=0)) if truths else ()
