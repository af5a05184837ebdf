"""Read and write ``survey.json``, the measurements of a data set, so that no file is read again."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Grid, Scores, UnplacedBoxes
from ..data.atomic_files import write_text
from ..data.cohorts import Cohort, Entry
from ..data.dicom.header import HEADS, Head
from ..data.file_memo import SETTLED_NS, Stamp, key_of, stamp_of
from ..trust.leaks import Record
from .case import Facts, Intensity, Issue, LabelFacts
from .file_hashes import every_source, files_of, hash_of

FILE, VERSION = "survey.json", 1
Stamps = dict[str, Stamp]


@dataclass(frozen=True)
class Seen:
    """The measurement of one case: file stamps, hash, facts; ``about`` is a hash of what was asked."""

    stamps: Stamps
    hash: str
    about: str
    facts: Facts


@dataclass
class Survey:
    """What was seen of a set, case by case, and what was found in it for plans.

    ``samples`` are kept in memory only: what a plan must know of each case.
    """

    cases: dict[str, Seen] = field(default_factory=dict)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    heads: dict[str, tuple[Stamp, Head]] = field(default_factory=dict)

    def hash_of(self, entry: Entry) -> str:
        """Give the hash of a case: the one that is known, if its files are as they were, or else a new one."""
        seen = self.cases.get(entry.id)
        return seen.hash if seen and seen.stamps == stamps_of(entry) else hash_of(entry)

    def facts_of(self, cohort: Cohort, entry: Entry) -> Facts | None:
        """Give the facts of a case if its files are as they were, by size and time or by their bytes; else None."""
        seen = self.cases.get(entry.id)
        if seen is None or seen.about != about(cohort, entry):
            return None
        now = stamps_of(entry)
        if now != seen.stamps:
            if now.keys() != seen.stamps.keys() or hash_of(entry) != seen.hash:
                return None
            self.cases[entry.id] = replace(seen, stamps=now)
        patient = entry.patient or entry.id
        known = seen.facts.record
        record = replace(known, patient=patient, split=entry.split) if known else None
        return replace(seen.facts, patient=patient, split=entry.split, record=record)


def stamps_of(entry: Entry) -> Stamps:
    """Give the size and the time of each file of a case."""
    found = {key_of(file): stamp_of(file) for source in every_source(entry) for file, _ in files_of(source)}
    return {name: stamp for name, stamp in found.items() if stamp is not None}


def settled(stamps: Stamps, now_ns: int) -> Stamps:
    """Mark the times of files that changed only just as unknown, so that their hash decides."""
    return {n: (size, -1 if changed > now_ns - SETTLED_NS else changed) for n, (size, changed) in stamps.items()}


def about(cohort: Cohort, entry: Entry) -> str:
    """Hash what is asked of a case: other labels or another truth need a new measurement."""
    truth: Any = entry.truth
    if isinstance(truth, Scores):
        truth = (truth.values.tolist(), truth.names, truth.exclusive)
    elif isinstance(truth, UnplacedBoxes):
        truth = (truth.corners.tolist(), truth.labels.tolist(), truth.space, dict(truth.names))
    settings = (
        cohort.task, cohort.labels, cohort.values, cohort.dims, cohort.above, dict(cohort.modalities),
        dict(cohort.aliases), cohort.among,
    )  # fmt: skip
    said = repr((settings, dict(entry.images), truth, entry.region))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def heads_below(names: Sequence[str]) -> dict[str, tuple[Stamp, Head]]:
    """Give the known headers of DICOM files, without those with damaged references."""
    return {n: HEADS.found[n] for n in names if n in HEADS.found and HEADS.found[n][1].fault is None}


def write_survey(folder: Path, survey: Survey) -> None:
    """Write what was seen of a set beside a run."""
    names = [n for seen in survey.cases.values() for n in seen.stamps]
    heads = {**survey.heads, **heads_below(names)}
    found = {
        "version": VERSION,
        "cases": {i: {**asdict(replace(s, facts=None)), "facts": plain(s.facts)} for i, s in survey.cases.items()},  # type: ignore[arg-type]
        "heads": {name: [stamp, said(head)] for name, (stamp, head) in heads.items()},
        "plans": survey.plans,
    }
    write_text(folder / FILE, json.dumps(found) + "\n")


def read_survey(folder: Path | None) -> Survey:
    """Read what was seen of the set of a run; an empty survey where there is none, or none that can be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8")) if folder else {}
        if found.get("version") != VERSION:
            return Survey()
        cases = {
            i: Seen({n: (s[0], s[1]) for n, s in c["stamps"].items()}, c["hash"], c["about"], facts_from(c["facts"]))
            for i, c in found["cases"].items()
        }
        heads = {n: ((s[0], s[1]), head_from(h)) for n, (s, h) in found["heads"].items()}
        survey = Survey(cases, dict(found["plans"]), {}, heads)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Survey()
    HEADS.found.update({n: kept for n, kept in heads.items() if n not in HEADS.found})
    return survey


def said(head: Head) -> dict[str, Any]:
    """Turn a DICOM header into plain values, without defaults."""
    usual = Head()
    return {k: v for k, v in vars(head).items() if k != "fault" and v != getattr(usual, k)}


def head_from(found: Mapping[str, Any]) -> Head:
    """Read what a DICOM file says of itself."""
    return Head(**{**found, "references": tuple(found.get("references", ()))})


def plain(facts: Facts) -> dict[str, Any]:
    """Give the facts of a case as plain values."""
    found = asdict(replace(facts, record=None))
    if facts.record is not None:
        thumbnail = facts.record.thumbnail
        pixels = base64.b64encode(np.ascontiguousarray(thumbnail).tobytes()).decode()
        found["record"] = [facts.record.exact, facts.record.perceptual, list(thumbnail.shape), pixels]
    return found


def facts_from(found: Mapping[str, Any]) -> Facts:
    """Read the facts of a case from plain values."""
    grid, record = found["grid"], found["record"]
    whose: Any = {k: found[k] for k in ("id", "patient", "split")}
    kept: Any = {k: found[k] for k in ("channels", "modalities", "kinds", "has_labels")}
    values: Any = {k: {n: Intensity(**v) for n, v in found[k].items()} for k in ("whole", "inside")}
    return Facts(
        **whose,
        grid=Grid(tuple(grid["shape"]), tuple(map(tuple, grid["affine"])), grid["measured"]) if grid else None,
        **kept,
        **values,
        labels={n: LabelFacts(v["share"], tuple(v["pieces"])) for n, v in found["labels"].items()},
        classes=tuple(found["classes"]),
        told=tuple(found["told"]),
        faults=tuple(Issue(**f) for f in found["faults"]),
        record=Record(**whose, exact=record[0], perceptual=record[1], thumbnail=thumbnail_from(*record[2:]))
        if record
        else None,
    )


def thumbnail_from(shape: Sequence[int], pixels: str) -> Any:
    """Read a small picture."""
    return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(shape).copy()
