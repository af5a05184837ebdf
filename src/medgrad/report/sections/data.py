"""The data and the findings of its survey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..html import Markup, bullet_list, escape_text, facts_table
from ..read_run import RunFiles, as_list
from ._section import Section


def data_section(run_files: RunFiles) -> str:
    """Return the data of the run, where it is recorded."""
    return cohort_facts(run_files.cohort) if run_files.cohort else ""


def cohort_facts(cohort: Mapping[str, Any]) -> str:
    """List what is recorded on the data, and the findings of its survey."""
    look = cohort.get("look") if isinstance(cohort.get("look"), Mapping) else {}
    assert isinstance(look, Mapping)
    labels = cohort.get("labels")
    pairs: list[tuple[str, object]] = [
        ("Folder", Markup(f"<code>{escape_text(cohort['root'])}</code>") if cohort.get("root") else None),
        ("Layout", cohort.get("layout")),
        ("Task", cohort.get("task")),
        ("Labels", ", ".join(str(v) for v in labels) if isinstance(labels, list) else labels),
        ("Patients told apart by", cohort.get("patients_from")),
    ]
    fingerprint = look.get("fingerprint")
    if isinstance(fingerprint, Mapping):
        pairs += [
            (key_to_words(k), value_to_text(v)) for k, v in fingerprint.items() if v and k not in ("splits", "labels")
        ]
    pairs += [("Pairs of cases that look alike", look.get("n_twins") or None)]
    told = list(dict.fromkeys(value_to_text(t) for t in [*as_list(cohort.get("told")), *as_list(look.get("told"))]))
    out = facts_table(pairs) + (f"<h3>What was decided when reading</h3>{bullet_list(told)}" if told else "")
    for key, heading in (("faults", "Faults of quality"), ("leaks", "Leaks between the sides of the split")):
        if key in look:
            items = [value_to_text(i) for i in as_list(look[key])]
            out += f"<h3>{heading}</h3>" + (bullet_list(items, max_items=12) if items else "<p>None was found.</p>")
    return out


def key_to_words(key: object) -> str:
    """Convert a JSON key to words.

    >>> key_to_words("spacings_mm")
    'Spacings (mm)'
    """
    word = str(key)
    word = f"{word.removesuffix('_mm')} (mm)" if word.endswith("_mm") else word
    return word.replace("_", " ").capitalize()


def value_to_text(value: Any) -> str:
    """Convert a JSON value to plain text; a mapping with a ``sentence`` becomes that sentence.

    >>> value_to_text({"shape": [2, 3], "mean": 0.12345})
    'shape 2 × 3, mean 0.123'
    """
    if isinstance(value, Mapping) and value.get("sentence"):
        return str(value["sentence"])
    if isinstance(value, Mapping):
        known = {str(k).replace("_", " "): value_to_text(v) for k, v in value.items() if v is not None}
        return ", ".join(f"{k} {v}" for k, v in known.items())
    if isinstance(value, list):
        numeric = len(value) <= 4 and value and all(isinstance(v, int | float) for v in value)
        return (" × " if numeric else ", ").join(value_to_text(v) for v in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


THIS = Section("Data", data_section, order=80)
