"""Look at a data set before training: what it is, its issues, and whether its split leaks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..data.cohorts.cohort import SPLITS, Cohort
from ..data.grid import Grid
from ..trust.leaks import Leak, find_leaks, near_duplicates, raise_on_leaks
from .boxes import check_boxes
from .case import CaseFacts, Intensity, Issue
from .measure import measure_all
from .survey_file import CaseRecord, Survey, question_hash

OnProgress = Callable[[int, int], None]

MAX_SPACING_RATIO = 2.0
MAX_SAMPLED_CASES = 256
"""Of larger sets, what a plan must know is read from the few cases that it asks for."""


@dataclass(frozen=True)
class Look:
    """The result of a look: dataset statistics, issues, leaks, and near-duplicate images.

    ``near_duplicates`` are pairs of cases of two patients that show the same picture, in whatever split.
    """

    layout: str
    root: str
    task: str
    patients_from: str
    messages: tuple[str, ...]
    statistics: Mapping[str, Any]
    issues: tuple[Issue, ...]
    leaks: tuple[Leak, ...]
    near_duplicate_groups: tuple[Leak, ...]
    survey: Survey | None = field(default=None, repr=False, compare=False)

    @property
    def inseparable_pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of cases that a split must keep together."""
        return tuple((t.first, t.second) for t in self.near_duplicate_groups)

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain values, ready for JSON; long lists of pairs are cut after 100, with their counts."""
        return {
            "layout": self.layout,
            "root": self.root,
            "task": self.task,
            "patients_from": self.patients_from,
            "told": list(self.messages),
            "fingerprint": dict(self.statistics),
            "faults": [asdict(f) for f in self.issues],
            "leaks": _leaks_to_json(self.leaks),
            "n_leaks": len(self.leaks),
            "twins": _leaks_to_json(self.near_duplicate_groups),
            "n_twins": len(self.near_duplicate_groups),
        }


def _leaks_to_json(found: Sequence[Leak], limit: int = 100) -> list[dict[str, Any]]:
    return [{**asdict(f), "similarity": round(f.similarity, 4), "sentence": str(f)} for f in found[:limit]]


def look(
    cohort: Cohort,
    *,
    on_progress: OnProgress | None = None,
    workers: int = 2,
    known_survey: Survey | None = None,
    planned_cohort: Cohort | None = None,
) -> Look:
    """Read every case of a cohort once and say what the set is and what is wrong with it.

    A case that cannot be read is listed, not fatal. Large sets are read in ``workers`` processes. What ``known_survey``
    was found about files that are as they were is not read again. ``planned_cohort`` is the set as it will be learned
    from, where it differs: what a plan must know of its cases is kept in the survey.
    """
    survey = known_survey or Survey()
    facts = measure_new_cases(cohort, planned_cohort or cohort, survey, workers, on_progress)
    records = [f.record for f in facts if f.record is not None]
    modality, how = detect_modality(cohort, facts)
    told = [*cohort.messages, *([how] if how else [])]
    return Look(
        layout=cohort.layout,
        root=str(cohort.root),
        task=cohort.task,
        patients_from=cohort.patients_source,
        messages=tuple(told),
        statistics=summarise_dataset(cohort, facts, modality),
        issues=(*(f for one in facts for f in one.faults), *check_dataset(cohort, facts)),
        leaks=tuple(find_leaks(records)),
        near_duplicate_groups=tuple(near_duplicates(records)),
        survey=survey,
    )


def measure_new_cases(
    cohort: Cohort, planned_cohort: Cohort, survey: Survey, workers: int, on_progress: OnProgress | None
) -> list[CaseFacts]:
    """Measure the cases that the survey does not know, add them to it, and give the facts of all."""
    every = {e.id: survey.facts_of(cohort, e) for e in cohort.entries}
    new = [e for e in cohort.entries if every[e.id] is None]
    asked = planned_cohort if len(cohort.entries) <= MAX_SAMPLED_CASES and cohort.dims > 1 else None
    for done, (entry, seen) in enumerate(
        zip(new, measure_all(cohort, new, planned_cohort=asked, workers=workers), strict=True), 1
    ):
        every[entry.id] = seen.facts
        if seen.hash:
            survey.cases[entry.id] = CaseRecord(seen.stamps, seen.hash, question_hash(cohort, entry), seen.facts)
        if seen.sample is not None:
            survey.samples[entry.id] = (question_hash(planned_cohort, entry), seen.sample)
        if on_progress:
            on_progress(len(cohort.entries) - len(new) + done, len(cohort.entries))
    return [f for f in every.values() if f is not None]


def check_leaks(dataset_look: Look, allow: bool = False) -> None:
    """Raise a LeakError of one line if the split of a set leaks, unless that is allowed."""
    raise_on_leaks(dataset_look.leaks, allow=allow)


def summarise_dataset(cohort: Cohort, facts: Sequence[CaseFacts], modality: str | None) -> dict[str, Any]:
    """Summarise the cases in dataset statistics."""
    grids = [f.grid for f in facts if f.grid is not None]
    whose = {s: {f.patient for f in facts if f.split == s} for s in SPLITS}
    return {
        "cases": len(facts),
        "patients": len({f.patient for f in facts}),
        "splits": {
            s: {"cases": sum(f.split == s for f in facts), "patients": len(whose[s])} for s in SPLITS if whose[s]
        },
        "dims": cohort.dims,
        "images": list(cohort.entries[0].images) if cohort.entries else [],
        "channels": {
            n: _most_common(f.channels.get(n) for f in facts) for n in (cohort.entries[0].images if facts else ())
        },
        "modality": modality,
        "values": dict(Counter(k for f in facts for k in f.kinds.values())),
        "sizes": _min_median_max([g.shape for g in grids if g.dims == cohort.dims]),
        "spacings_mm": _min_median_max([g.spacing for g in grids if g.dims == cohort.dims and g.has_spacing]),
        "measured": sum(g.has_spacing for g in grids),
        "orientations": dict(Counter(g.orientation for g in grids if g.orientation)),
        "intensity": {n: _pool_intensities([f.whole[n] for f in facts if n in f.whole]) for n in _image_names(facts)},
        "intensity_inside": {
            n: _pool_intensities([f.inside[n] for f in facts if n in f.inside]) for n in _image_names(facts)
        },
        "classes": {n: sum(n in f.classes for f in facts) for n in cohort.labels} if _has_classes(facts) else {},
        "labels": {n: _summarise_label(facts, n) for n in cohort.labels} if any(f.has_labels for f in facts) else {},
        "foreground": _foreground_share(facts),
    }


def _image_names(facts: Sequence[CaseFacts]) -> list[str]:
    return list(dict.fromkeys(n for f in facts for n in f.whole))


def _has_classes(facts: Sequence[CaseFacts]) -> bool:
    return any(f.classes for f in facts)


def _most_common(values: Any) -> Any:
    counts = Counter(v for v in values if v is not None)
    return counts.most_common(1)[0][0] if counts else None


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _min_median_max(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    if not rows:
        return {}
    table = np.array(rows, float)
    return {
        "min": [_round(v) for v in table.min(axis=0)],
        "median": [_round(v) for v in np.median(table, axis=0)],
        "max": [_round(v) for v in table.max(axis=0)],
    }


def _pool_intensities(rows: Sequence[Intensity]) -> dict[str, float]:
    """Give the middle of each figure over the cases, and the extremes of the outer percentiles."""
    if not rows:
        return {}
    return {
        "lowest": _round(min(r.low for r in rows)),
        "p0.5": _round(float(np.median([r.low for r in rows]))),
        "p50": _round(float(np.median([r.middle for r in rows]))),
        "p99.5": _round(float(np.median([r.high for r in rows]))),
        "highest": _round(max(r.high for r in rows)),
        "mean": _round(float(np.median([r.mean for r in rows]))),
        "deviation": _round(float(np.median([r.deviation for r in rows]))),
    }


def _summarise_label(facts: Sequence[CaseFacts], name: str) -> dict[str, Any]:
    held = [f.labels[name] for f in facts if name in f.labels]
    if not held:
        return {"cases": 0}
    sizes = np.array([s for h in held for s in h.pieces])
    numbers = [len(h.pieces) for h in held]
    return {
        "cases": len(held),
        "share": _round(float(np.mean([h.share for h in held]))),
        "pieces_a_case": {"median": _round(float(np.median(numbers))), "max": max(numbers)},
        "piece_size": {
            "min": _round(float(sizes.min())),
            "median": _round(float(np.median(sizes))),
            "max": _round(float(sizes.max())),
        },
    }


def _foreground_share(facts: Sequence[CaseFacts]) -> float | None:
    shares = [sum(h.share for h in f.labels.values()) for f in facts if f.has_labels]
    return _round(float(np.mean(shares))) if shares else None


def detect_modality(cohort: Cohort, facts: Sequence[CaseFacts]) -> tuple[str | None, str]:
    """Give the modality: the named one, or one that the values suggest; also say how it was found.

    Nothing is guessed from grey pictures of 8 bits: they may be anything.
    """
    named = Counter(m for f in facts for m in f.modalities.values() if m)
    if named:
        return named.most_common(1)[0][0], ""
    first = [next(iter(f.whole.values())) for f in facts if f.whole]
    if not first:
        return None, ""
    low, high = (float(np.median([getattr(w, k) for w in first])) for k in ("low", "high"))
    kinds = {k for f in facts for k in f.kinds.values()}
    if -3_100 <= low <= -200 and 100 <= high <= 4_000:
        return "ct", f"The images are taken for CT, because their values run from {low:.0f} to {high:.0f}."
    channels = Counter(c for f in facts for c in f.channels.values())
    if cohort.dims == 2 and kinds == {"uint8"} and channels.most_common(1)[0][0] >= 3:
        return "photo", "The images are taken for photographs, because they are 8-bit colour pictures."
    if cohort.dims == 3 and kinds != {"uint8"} and low >= 0:
        return "mr", "The images are taken for MR, because they are volumes whose values start at 0 and have no scale."
    return None, ""


def check_dataset(cohort: Cohort, facts: Sequence[CaseFacts]) -> list[Issue]:
    """Find what is wrong only in the light of the other cases: odd spacings, mixed directions, labels never seen."""
    return [
        *_odd_spacings(facts),
        *_mixed_properties(facts),
        *_missing_labels(cohort, facts),
        *check_boxes(cohort, facts),
        *_reader_messages(facts),
    ]


def _odd_spacings(facts: Sequence[CaseFacts]) -> list[Issue]:
    kinds: dict[str | None, list[tuple[str, Grid]]] = {}
    for f in facts:
        if f.grid is not None and f.grid.has_spacing:
            kinds.setdefault(next(iter(f.modalities.values())), []).append((f.id, f.grid))
    return [fault for held in kinds.values() for fault in _odd_spacings_in_group(held)]


def _odd_spacings_in_group(grids: list[tuple[str, Grid]]) -> list[Issue]:
    """Find spacings that are far from the usual one, among images of one modality."""
    if len(grids) < 3:
        return []
    dims = _most_common(g.dims for _, g in grids)
    grids = [(i, g) for i, g in grids if g.dims == dims]
    # sorted, so that a turned volume is not odd
    table = np.sort(np.array([g.spacing for _, g in grids]), axis=1)
    middle = np.median(table, axis=0)
    ratio = np.maximum(table / middle, middle / table).max(axis=1)
    return [
        Issue(
            i,
            "spacing",
            f"Its spacing {_format_spacing(g.spacing)} is far from the usual {_format_spacing(middle.tolist())}.",
        )
        for (i, g), r in zip(grids, ratio.tolist(), strict=True)
        if r > MAX_SPACING_RATIO
    ]


def _format_spacing(spacing: Sequence[float]) -> str:
    return " x ".join(f"{v:.3g}" for v in spacing) + " mm"


def _mixed_properties(facts: Sequence[CaseFacts]) -> list[Issue]:
    found = []
    for kind, values in (
        ("orientation", {f.id: f.grid.orientation for f in facts if f.grid is not None and f.grid.orientation}),
        ("channels", {f.id: "+".join(str(c) for c in f.channels.values()) for f in facts if f.channels}),
        ("axes", {f.id: str(f.grid.dims) for f in facts if f.grid is not None}),
    ):
        counts = Counter(values.values())
        if len(counts) < 2:
            continue
        usual, rare = counts.most_common(1)[0][0], [i for i, v in values.items() if v != counts.most_common(1)[0][0]]
        severity = "note" if kind == "orientation" else "warning"
        sentence = (
            f"{len(rare)} case(s) differ in {kind} from the usual {usual}, such as {rare[0]!r} ({values[rare[0]]})."
        )
        found.append(Issue("", kind, sentence, "note" if severity == "note" else "warning"))
    return found


def _missing_labels(cohort: Cohort, facts: Sequence[CaseFacts]) -> list[Issue]:
    if cohort.truth in ("label_map", "boxes") and any(f.has_labels for f in facts):
        held = Counter(n for f in facts for n in f.labels)
        what = "No mask holds the label" if cohort.truth == "label_map" else "No object is of the label"
    elif _has_classes(facts):
        held = Counter(n for f in facts for n in f.classes)
        what = "No case is of the class"
    else:
        return []
    found = [Issue("", "never seen", f"{what} {n!r}.", "error") for n in cohort.labels if not held[n]]
    if any(f.split == "train" for f in facts):
        trained = Counter(n for f in facts if f.split == "train" for n in (*f.labels, *f.classes))
        found += [
            Issue("", "never trained", f"{n!r} stands on another side, but on no case that trains.", "error")
            for n in cohort.labels
            if held[n] and not trained[n]
        ]
    return found


def _reader_messages(facts: Sequence[CaseFacts]) -> list[Issue]:
    """Turn the messages of the readers into issues; what nearly all files have is listed once."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for one in facts:
        for sentence in dict.fromkeys(one.told):
            kinds.setdefault(re.sub(r"\d+", "#", sentence), []).append((one.id, sentence))
    found = []
    for members in kinds.values():
        if len(members) > max(3, 0.2 * len(facts)):
            sentence = f"{members[0][1]} (so in {len(members)} cases)"
            found.append(Issue("", "files", sentence, "note"))
        else:
            found += [Issue(case, "files", sentence, "note") for case, sentence in members]
    return found
