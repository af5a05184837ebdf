"""Statistics of a cohort for planning: sizes, spacings, intensities, classes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Scores
from ..data.cohorts import Cohort, Entry
from ..errors import FormatError, LayoutError
from .case_stats import CaseStats, gather_case_stats
from .survey_file import Survey, question_hash

MAX_SAMPLED_CASES = 48


@dataclass(frozen=True)
class DatasetFacts:
    """Statistics of the training cases, or of an even sample of them.

    ``intensity`` is (low, high, mean, deviation) of the labelled elements, or of all where there are no labels:
    the 0.5 and 99.5 percentiles, and the moments between them; ``truth_intensity`` the same of truths that are images.
    ``columns`` are (name, mean, deviation) of each
    feature of a table. ``mixed`` is whether the number of channels differs between images, ``across`` whether
    pairs are of two patients. ``objects`` are the 10th percentile of the box lengths of the smallest class and
    the 90th of the largest class, in mm: the side of a cube of the same volume.
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
    truth_intensity: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)

    def median_spacing(self) -> tuple[float, ...]:
        """Return the median spacing along each axis of the reoriented arrays."""
        return tuple(float(v) for v in np.median(np.array(self.spacings), axis=0))

    def sizes_mm(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Return the extent of each case along each axis, in mm."""
        return np.array(self.shapes) * np.array(self.spacings)


def gather_dataset_facts(cohort: Cohort, *, modality: str | None = None, survey: Survey | None = None) -> DatasetFacts:
    """Collect the statistics of a cohort's training cases for planning.

    ``modality`` is used where the files do not say. What the ``survey`` holds already is not read again.
    """
    entries = [e for e in cohort.entries if e.split in (None, "train")] or list(cohort.entries)
    if not entries:
        raise LayoutError(f"{str(cohort.root)!r} has no case to learn from.")
    n_sampled = (
        len(entries) if cohort.dims == 1 else min(MAX_SAMPLED_CASES, len(entries))
    )  # the rows of a table are read in no time
    chosen = [entries[i] for i in np.unique(np.linspace(0, len(entries) - 1, n_sampled).astype(int))]
    key = cache_key(cohort, chosen, modality, survey) if survey is not None else ""
    if survey is not None and key in survey.plans:
        known = survey.plans[key]
    else:
        known = asdict(
            combine_case_stats([cached_case_stats(cohort, e, survey) for e in chosen], cohort, modality, len(entries))
        )
        if survey is not None:
            survey.plans[key] = json.loads(json.dumps(known))
    return facts_from_dict(known)


def cache_key(cohort: Cohort, entries: Sequence[Entry], modality: str | None, survey: Survey) -> str:
    """Return a hash of cases, files and settings, under which the statistics are cached in the survey."""
    asked = [(e.id, question_hash(cohort, e), repr(dict(e.metadata)), survey.hash_of(e)) for e in entries]
    said = repr((modality, cohort.exclusive, cohort.root, count_classes(cohort), len(cohort.entries), asked))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def cached_case_stats(cohort: Cohort, entry: Entry, survey: Survey | None) -> CaseStats:
    """Return the statistics of one case, from the survey where it has them."""
    known = survey.samples.get(entry.id) if survey is not None else None
    return (
        known[1] if known is not None and known[0] == question_hash(cohort, entry) else gather_case_stats(cohort, entry)
    )


def facts_from_dict(values: Mapping[str, Any]) -> DatasetFacts:
    """Build the statistics from plain values."""
    return DatasetFacts(**{name: nested_tuple(value) for name, value in values.items()})


def nested_tuple(value: Any) -> Any:
    """Convert nested lists to tuples; anything else stays as it is."""
    return tuple(nested_tuple(v) for v in value) if isinstance(value, (list, tuple)) else value


def combine_case_stats(
    samples: Sequence[CaseStats], cohort: Cohort, modality: str | None, n_cases: int
) -> DatasetFacts:
    """Combine the statistics of single cases."""
    cases = [s for s in samples if not s.failure]
    if not cases:
        why = samples[-1].failure
        raise FormatError(f"No case of {str(cohort.root)!r} could be read. The last one said: {why}")
    first = cases[0]
    modalities = Counter(m for c in cases for m in c.modalities)
    return DatasetFacts(
        task=cohort.task,
        dims=len(first.shape),
        cases=n_cases,
        labels=cohort.labels,
        exclusive=cohort.exclusive,
        channels=first.channels,
        planes=max(c.n_channels for c in cases),
        mixed=len({c.n_channels for c in cases}) > 1,
        modality=modalities.most_common(1)[0][0] if modalities else modality,
        measured=first.has_spacing,
        shapes=tuple(c.shape for c in cases),
        spacings=tuple(c.spacing for c in cases),
        intensity=intensity_stats([c.values for c in cases]),
        truth_intensity=intensity_stats([c.truth_values for c in cases]),
        foreground=float(np.mean([c.labelled_share for c in cases])),
        is_8_bit=all(c.is_8_bit for c in cases),
        counts=count_classes(cohort),
        columns=column_moments(cases),
        across=any(c.between_patients for c in cases),
        objects=box_length_range(cases),
        most_objects=max((len(c.boxes[1]) for c in cases if c.boxes is not None), default=0),
    )


def box_length_range(cases: Sequence[CaseStats]) -> tuple[float, float]:
    """Return the 10th percentile length of the smallest class's boxes, and the 90th of the largest; 0 if none."""
    boxes = [c.boxes for c in cases if c.boxes is not None and len(c.boxes[0])]
    if not boxes:
        return 0.0, 0.0
    ends, labels = np.concatenate([b[0] for b in boxes]), np.concatenate([b[1] for b in boxes])
    dims = ends.shape[1] // 2
    lengths = (ends[:, dims:] - ends[:, :dims]).prod(axis=1) ** (1 / dims)
    each = [np.percentile(lengths[labels == label], [10, 90]) for label in np.unique(labels)]
    return float(min(low for low, _ in each)), float(max(high for _, high in each))


def column_moments(cases: Sequence[CaseStats]) -> tuple[tuple[str, float, float], ...]:
    """Return name, mean and deviation of each column of a feature table; empty where cases are images."""
    if cases[0].row is None:
        return ()
    rows = np.stack([c.row[1] for c in cases if c.row is not None])  # (cases, columns)
    moments = zip(rows.mean(axis=0).tolist(), rows.std(axis=0).tolist(), strict=True)
    return tuple((name, *both) for name, both in zip(cases[0].row[0], moments, strict=True))


def intensity_stats(sampled: Sequence[NDArray[Any] | None]) -> tuple[float, float, float, float]:
    """Return percentiles and moments of the values sampled of each case."""
    values = [v.astype(np.float64) for v in sampled if v is not None]
    every = np.concatenate([np.empty(0), *[v[np.isfinite(v)] for v in values]])
    if not every.size:
        return 0.0, 1.0, 0.0, 1.0
    low, high = np.percentile(every, [0.5, 99.5])
    cut = np.clip(every, low, high)
    return float(low), float(high), float(cut.mean()), float(max(cut.std(), 1e-6))


def count_classes(cohort: Cohort) -> tuple[int, ...]:
    """Count the training cases of each class, whether it is their truth or known beside their images."""
    entries = [e for e in cohort.entries if e.split in (None, "train")]
    given = [e.arrays["label"] for e in entries if "label" in e.arrays]
    scores = given or [e.truth.values for e in entries if isinstance(e.truth, Scores)]
    return tuple(int(v) for v in np.sum([s > 0.5 for s in scores], axis=0)) if scores else ()
