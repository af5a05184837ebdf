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
from ..data.dicom.header import HEADER_CACHE, DicomHeader
from ..data.file_result_cache import MIN_AGE_NS, Stamp, absolute_name, file_stamp
from ..trust.leaks import ImageRecord
from .case import CaseFacts, Intensity, Issue, LabelFacts
from .file_hashes import all_sources, files_in_source, hash_case

FILE, VERSION = "survey.json", 1
Stamps = dict[str, Stamp]


@dataclass(frozen=True)
class CaseRecord:
    """The measurement of one case: file stamps, hash, facts; ``question_hash`` is a hash of what was asked."""

    stamps: Stamps
    hash: str
    about: str
    facts: CaseFacts


@dataclass
class Survey:
    """What was seen of a set, case by case, and what was found in it for plans.

    ``samples`` are kept in memory only: what a plan must know of each case.
    """

    cases: dict[str, CaseRecord] = field(default_factory=dict)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    heads: dict[str, tuple[Stamp, DicomHeader]] = field(default_factory=dict)

    def hash_of(self, entry: Entry) -> str:
        """Give the hash of a case: the one that is known, if its files are as they were, or else a new one."""
        seen = self.cases.get(entry.id)
        return seen.hash if seen and seen.stamps == file_stamps(entry) else hash_case(entry)

    def facts_of(self, cohort: Cohort, entry: Entry) -> CaseFacts | None:
        """Give the facts of a case if its files are as they were, by size and time or by their bytes; else None."""
        seen = self.cases.get(entry.id)
        if seen is None or seen.about != question_hash(cohort, entry):
            return None
        now = file_stamps(entry)
        if now != seen.stamps:
            if now.keys() != seen.stamps.keys() or hash_case(entry) != seen.hash:
                return None
            self.cases[entry.id] = replace(seen, stamps=now)
        patient = entry.patient or entry.id
        known = seen.facts.record
        record = replace(known, patient=patient, split=entry.split) if known else None
        return replace(seen.facts, patient=patient, split=entry.split, record=record)


def file_stamps(entry: Entry) -> Stamps:
    """Give the size and the time of each file of a case."""
    found = {
        absolute_name(file): file_stamp(file) for source in all_sources(entry) for file, _ in files_in_source(source)
    }
    return {name: stamp for name, stamp in found.items() if stamp is not None}


def distrust_recent_stamps(stamps: Stamps, now_ns: int) -> Stamps:
    """Mark the times of files that changed only just as unknown, so that their hash decides."""
    return {n: (size, -1 if changed > now_ns - MIN_AGE_NS else changed) for n, (size, changed) in stamps.items()}


def question_hash(cohort: Cohort, entry: Entry) -> str:
    """Hash what is asked of a case: other labels or another truth need a new measurement."""
    truth: Any = entry.truth
    if isinstance(truth, Scores):
        truth = (truth.values.tolist(), truth.names, truth.exclusive)
    elif isinstance(truth, UnplacedBoxes):
        truth = (truth.corners.tolist(), truth.labels.tolist(), truth.space, dict(truth.names))
    settings = (
        cohort.truth, cohort.labels, cohort.label_values, cohort.dims, cohort.threshold, dict(cohort.modalities),
        dict(cohort.label_aliases), cohort.all_labels,
    )  # fmt: skip
    said = repr((settings, dict(entry.images), truth, entry.roi))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def known_headers(names: Sequence[str]) -> dict[str, tuple[Stamp, DicomHeader]]:
    """Give the known headers of DICOM files, without those with damaged references."""
    return {
        n: HEADER_CACHE.entries[n]
        for n in names
        if n in HEADER_CACHE.entries and HEADER_CACHE.entries[n][1].fault is None
    }


def write_survey(folder: Path, survey: Survey) -> None:
    """Write what was seen of a set beside a run."""
    names = [n for seen in survey.cases.values() for n in seen.stamps]
    heads = {**survey.heads, **known_headers(names)}
    found = {
        "version": VERSION,
        "cases": {
            i: {**asdict(replace(s, facts=None)), "facts": facts_to_dict(s.facts)}  # type: ignore[arg-type]
            for i, s in survey.cases.items()
        },
        "heads": {name: [stamp, header_to_dict(head)] for name, (stamp, head) in heads.items()},
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
            i: CaseRecord(
                {n: (s[0], s[1]) for n, s in c["stamps"].items()}, c["hash"], c["about"], facts_from_dict(c["facts"])
            )
            for i, c in found["cases"].items()
        }
        heads = {n: ((s[0], s[1]), header_from_dict(h)) for n, (s, h) in found["heads"].items()}
        survey = Survey(cases, dict(found["plans"]), {}, heads)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Survey()
    HEADER_CACHE.entries.update({n: kept for n, kept in heads.items() if n not in HEADER_CACHE.entries})
    return survey


def header_to_dict(header: DicomHeader) -> dict[str, Any]:
    """Turn a DICOM header into plain values, without defaults."""
    usual = DicomHeader()
    return {k: v for k, v in vars(header).items() if k != "fault" and v != getattr(usual, k)}


def header_from_dict(found: Mapping[str, Any]) -> DicomHeader:
    """Read what a DICOM file says of itself."""
    return DicomHeader(**{**found, "references": tuple(found.get("references", ()))})


def facts_to_dict(facts: CaseFacts) -> dict[str, Any]:
    """Give the facts of a case as plain values."""
    found = asdict(replace(facts, record=None))
    if facts.record is not None:
        thumbnail = facts.record.thumbnail
        pixels = base64.b64encode(np.ascontiguousarray(thumbnail).tobytes()).decode()
        found["record"] = [facts.record.exact, facts.record.perceptual, list(thumbnail.shape), pixels]
    return found


def facts_from_dict(found: Mapping[str, Any]) -> CaseFacts:
    """Read the facts of a case from plain values."""
    grid, record = found["grid"], found["record"]
    whose: Any = {k: found[k] for k in ("id", "patient", "split")}
    kept: Any = {k: found[k] for k in ("channels", "modalities", "kinds", "has_labels")}
    values: Any = {k: {n: Intensity(**v) for n, v in found[k].items()} for k in ("whole", "inside")}
    return CaseFacts(
        **whose,
        grid=Grid(tuple(grid["shape"]), tuple(map(tuple, grid["affine"])), grid["has_spacing"]) if grid else None,
        **kept,
        **values,
        labels={n: LabelFacts(v["share"], tuple(v["pieces"])) for n, v in found["labels"].items()},
        classes=tuple(found["classes"]),
        told=tuple(found["told"]),
        faults=tuple(Issue(**f) for f in found["faults"]),
        record=ImageRecord(**whose, exact=record[0], perceptual=record[1], thumbnail=decode_thumbnail(*record[2:]))
        if record
        else None,
    )


def decode_thumbnail(shape: Sequence[int], pixels: str) -> Any:
    """Read a small picture."""
    return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(shape).copy()
