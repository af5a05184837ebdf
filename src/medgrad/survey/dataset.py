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
from ..trust.leaks import Leak, leaks, near_duplicates, refuse
from .boxes import faults_of_boxes
from .case import Facts, Intensity, Issue
from .measure import measure_all
from .record import Seen, Survey, about

OnProgress = Callable[[int, int], None]

ODD_SPACING = 2.0
MOST_SAMPLED = 256
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
    told: tuple[str, ...]
    fingerprint: Mapping[str, Any]
    faults: tuple[Issue, ...]
    leaks: tuple[Leak, ...]
    twins: tuple[Leak, ...]
    survey: Survey | None = field(default=None, repr=False, compare=False)

    @property
    def together(self) -> tuple[tuple[str, str], ...]:
        """The pairs of cases that a split must keep together."""
        return tuple((t.first, t.second) for t in self.twins)

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain values, ready for JSON; long lists of pairs are cut after 100, with their counts."""
        return {
            "layout": self.layout,
            "root": self.root,
            "task": self.task,
            "patients_from": self.patients_from,
            "told": list(self.told),
            "fingerprint": dict(self.fingerprint),
            "faults": [asdict(f) for f in self.faults],
            "leaks": _pairs(self.leaks),
            "n_leaks": len(self.leaks),
            "twins": _pairs(self.twins),
            "n_twins": len(self.twins),
        }


def _pairs(found: Sequence[Leak], most: int = 100) -> list[dict[str, Any]]:
    return [{**asdict(f), "similarity": round(f.similarity, 4), "sentence": str(f)} for f in found[:most]]


def look(
    cohort: Cohort,
    *,
    on_progress: OnProgress | None = None,
    workers: int = 2,
    known: Survey | None = None,
    planned: Cohort | None = None,
) -> Look:
    """Read every case of a cohort once and say what the set is and what is wrong with it.

    A case that cannot be read is listed, not fatal. Large sets are read in ``workers`` processes. What ``known`` was
    found about files that are as they were is not read again. ``planned`` is the set as it will be learned from, where
    it differs: what a plan must know of its cases is kept in the survey.
    """
    survey = known or Survey()
    facts = surveyed(cohort, planned or cohort, survey, workers, on_progress)
    records = [f.record for f in facts if f.record is not None]
    modality, how = modality_of(cohort, facts)
    told = [*cohort.told, *([how] if how else [])]
    return Look(
        layout=cohort.layout,
        root=str(cohort.root),
        task=cohort.task,
        patients_from=cohort.patients_from,
        told=tuple(told),
        fingerprint=fingerprint(cohort, facts, modality),
        faults=(*(f for one in facts for f in one.faults), *faults_of_set(cohort, facts)),
        leaks=tuple(leaks(records)),
        twins=tuple(near_duplicates(records)),
        survey=survey,
    )


def surveyed(
    cohort: Cohort, planned: Cohort, survey: Survey, workers: int, on_progress: OnProgress | None
) -> list[Facts]:
    """Measure the cases that the survey does not know, add them to it, and give the facts of all."""
    every = {e.id: survey.facts_of(cohort, e) for e in cohort.entries}
    new = [e for e in cohort.entries if every[e.id] is None]
    asked = planned if len(cohort.entries) <= MOST_SAMPLED and cohort.dims > 1 else None
    for done, (entry, seen) in enumerate(
        zip(new, measure_all(cohort, new, planned=asked, workers=workers), strict=True), 1
    ):
        every[entry.id] = seen.facts
        if seen.hash:
            survey.cases[entry.id] = Seen(seen.stamps, seen.hash, about(cohort, entry), seen.facts)
        if seen.sample is not None:
            survey.samples[entry.id] = (about(planned, entry), seen.sample)
        if on_progress:
            on_progress(len(cohort.entries) - len(new) + done, len(cohort.entries))
    return [f for f in every.values() if f is not None]


def check_leaks(found: Look, allow: bool = False) -> None:
    """Raise a LeakError of one line if the split of a set leaks, unless that is allowed."""
    refuse(found.leaks, allow=allow)


def fingerprint(cohort: Cohort, facts: Sequence[Facts], modality: str | None) -> dict[str, Any]:
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
        "channels": {n: _most(f.channels.get(n) for f in facts) for n in (cohort.entries[0].images if facts else ())},
        "modality": modality,
        "values": dict(Counter(k for f in facts for k in f.kinds.values())),
        "sizes": _spread([g.shape for g in grids if g.dims == cohort.dims]),
        "spacings_mm": _spread([g.spacing for g in grids if g.dims == cohort.dims and g.measured]),
        "measured": sum(g.measured for g in grids),
        "orientations": dict(Counter(g.orientation for g in grids if g.orientation)),
        "intensity": {n: _pooled([f.whole[n] for f in facts if n in f.whole]) for n in _names(facts)},
        "intensity_inside": {n: _pooled([f.inside[n] for f in facts if n in f.inside]) for n in _names(facts)},
        "classes": {n: sum(n in f.classes for f in facts) for n in cohort.labels} if _has_classes(facts) else {},
        "labels": {n: _label(facts, n) for n in cohort.labels} if any(f.has_labels for f in facts) else {},
        "foreground": _share(facts),
    }


def _names(facts: Sequence[Facts]) -> list[str]:
    return list(dict.fromkeys(n for f in facts for n in f.whole))


def _has_classes(facts: Sequence[Facts]) -> bool:
    return any(f.classes for f in facts)


def _most(values: Any) -> Any:
    counts = Counter(v for v in values if v is not None)
    return counts.most_common(1)[0][0] if counts else None


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _spread(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    if not rows:
        return {}
    table = np.array(rows, float)
    return {
        "min": [_round(v) for v in table.min(axis=0)],
        "median": [_round(v) for v in np.median(table, axis=0)],
        "max": [_round(v) for v in table.max(axis=0)],
    }


def _pooled(rows: Sequence[Intensity]) -> dict[str, float]:
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


def _label(facts: Sequence[Facts], name: str) -> dict[str, Any]:
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


def _share(facts: Sequence[Facts]) -> float | None:
    shares = [sum(h.share for h in f.labels.values()) for f in facts if f.has_labels]
    return _round(float(np.mean(shares))) if shares else None


def modality_of(cohort: Cohort, facts: Sequence[Facts]) -> tuple[str | None, str]:
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


def faults_of_set(cohort: Cohort, facts: Sequence[Facts]) -> list[Issue]:
    """Find what is wrong only in the light of the other cases: odd spacings, mixed directions, labels never seen."""
    return [
        *_odd_spacings(facts),
        *_mixed(facts),
        *_never_seen(cohort, facts),
        *faults_of_boxes(cohort, facts),
        *_told(facts),
    ]


def _odd_spacings(facts: Sequence[Facts]) -> list[Issue]:
    kinds: dict[str | None, list[tuple[str, Grid]]] = {}
    for f in facts:
        if f.grid is not None and f.grid.measured:
            kinds.setdefault(next(iter(f.modalities.values())), []).append((f.id, f.grid))
    return [fault for held in kinds.values() for fault in _odd_among(held)]


def _odd_among(held: list[tuple[str, Grid]]) -> list[Issue]:
    """Find spacings that are far from the usual one, among images of one modality."""
    if len(held) < 3:
        return []
    dims = _most(g.dims for _, g in held)
    held = [(i, g) for i, g in held if g.dims == dims]
    # sorted, so that a turned volume is not odd
    table = np.sort(np.array([g.spacing for _, g in held]), axis=1)
    middle = np.median(table, axis=0)
    ratio = np.maximum(table / middle, middle / table).max(axis=1)
    return [
        Issue(i, "spacing", f"Its spacing {_mm(g.spacing)} is far from the usual {_mm(middle.tolist())}.")
        for (i, g), r in zip(held, ratio.tolist(), strict=True)
        if r > ODD_SPACING
    ]


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{v:.3g}" for v in spacing) + " mm"


def _mixed(facts: Sequence[Facts]) -> list[Issue]:
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


def _never_seen(cohort: Cohort, facts: Sequence[Facts]) -> list[Issue]:
    if cohort.task in ("segmentation", "detection") and any(f.has_labels for f in facts):
        held = Counter(n for f in facts for n in f.labels)
        what = "No mask holds the label" if cohort.task == "segmentation" else "No object is of the label"
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


def _told(facts: Sequence[Facts]) -> list[Issue]:
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
