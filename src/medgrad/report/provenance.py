"""Report sections on provenance: data, split, machine, and definitions of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import metrics
from .figures import COUNT_METRICS, metric_title
from .html import (
    Markup,
    bullet_list,
    escape_text,
    facts_table,
    format_count,
    format_duration,
    format_number,
    header_cell,
    html_table,
)

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test", "": "no side"}
MAX_LISTED_CASES = 1000


def cases_by_split(cases: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Group the cases by split: training, validation, test, then others."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for side in (*SPLIT_NAMES, *(str(c.get("split") or "") for c in cases)):
        found.setdefault(side, [])
    for case in cases:
        found[str(case.get("split") or "")].append(case)
    return {side: rows for side, rows in found.items() if rows}


def patient_names(cases: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the patients of some cases."""
    return {str(c.get("patient") or c.get("id")) for c in cases}


def data_section(cohort: Mapping[str, Any]) -> str:
    """Return the section on the data and the findings of its survey."""
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


def as_list(value: Any) -> list[Any]:
    """Wrap a value in a list, unless it is one; None becomes an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


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


def split_section(cohort: Mapping[str, Any]) -> str:
    """Return the section on the split: cases and patients of each side, and overlaps between them."""
    cases = [c for c in as_list(cohort.get("cases") or []) if isinstance(c, Mapping)]
    if not cases:
        return ""
    sides = cases_by_split(cases)
    bars = "".join(f'<span style="flex: {len(rows)}"></span>' for rows in sides.values())
    rows = [
        f'<tr><th scope="row"><span class="chip"></span>{escape_text(SPLIT_NAMES.get(side, side))}</th>'
        f'<td class="number">{len(group)}</td><td class="number">{len(patient_names(group))}</td></tr>'
        for side, group in sides.items()
    ]
    head = [header_cell("Side"), header_cell("Cases", is_number=True), header_cell("Patients", is_number=True)]
    drawn = f'<div class="share" aria-hidden="true">{bars}</div>'
    together = f'<div class="together">{drawn}{html_table(head, rows, css_class="plain")}</div>'
    return together + shared_patients_note(sides) + case_list(cases)


def shared_patients_note(cases_of_split: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a note on whether any patient is in two splits."""
    names = list(cases_of_split)
    both = [
        (a, b, common)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if (common := patient_names(cases_of_split[a]) & patient_names(cases_of_split[b]))
    ]
    if not both:
        return "<p>No patient stands on two sides.</p>" if len(names) > 1 else ""
    told = "; ".join(
        f"{format_count(len(common), 'patient')} on {SPLIT_NAMES.get(a, a)} and {SPLIT_NAMES.get(b, b)}"
        for a, b, common in both
    )
    return f'<div class="banner bad"><p><strong>Patients on two sides:</strong> {escape_text(told)}.</p></div>'


def case_list(cases: Sequence[Mapping[str, Any]]) -> str:
    """List every case with its patient, split and file hash, folded away."""
    head = [header_cell("Case"), header_cell("Patient"), header_cell("Side"), header_cell("Hash")]
    rows = [
        f'<tr><th scope="row">{escape_text(c.get("id", ""))}</th><td>{escape_text(c.get("patient", ""))}</td>'
        f"<td>{escape_text(SPLIT_NAMES.get(str(c.get('split') or ''), c.get('split')))}</td>"
        f"<td><code>{escape_text(c.get('hash') or '')}</code></td></tr>"
        for c in cases[:MAX_LISTED_CASES]
    ]
    more = (
        f"<p>The other {len(cases) - MAX_LISTED_CASES} are in cohort.json.</p>" if len(cases) > MAX_LISTED_CASES else ""
    )
    return f"<details><summary>Every case, its patient and its hash</summary>{html_table(head, rows)}{more}</details>"


def provenance_table(run_facts: Mapping[str, Any]) -> str:
    """Return a table of versions, machine, times and the command."""
    parameters = run_facts.get("parameters")
    command = run_facts.get("command")
    words = " ".join(str(v) for v in command) if isinstance(command, list) else command
    return facts_table(
        [
            ("medgrad", run_facts.get("medgrad")),
            ("PyTorch", run_facts.get("torch")),
            ("Python", run_facts.get("python")),
            ("Machine", run_facts.get("machine")),
            ("Started", run_facts.get("started")),
            ("Finished", run_facts.get("finished")),
            ("Time", format_duration(run_facts.get("seconds"))),
            ("Ended by", run_facts.get("ended_by")),
            ("Steps", f"{run_facts['steps']:,}" if isinstance(run_facts.get("steps"), int) else run_facts.get("steps")),
            ("Parameters", f"{parameters:,}" if isinstance(parameters, int) else parameters),
            ("Seed", run_facts.get("seed")),
            ("Command", Markup(f"<code>{escape_text(words)}</code>") if words else None),
        ]
    )


def metric_definitions(metric_names: Sequence[str], *, split: str) -> str:
    """Define each of the metrics on the page, and the method of the intervals."""
    words = [w for w in dict.fromkeys(n.split("/")[0] for n in metric_names) if w not in COUNT_METRICS]
    terms = "".join(
        f"<div><dt>{escape_text(metric_title(w))}</dt><dd>{escape_text(known.definition)}{worst_value_note(w)}</dd></div>"
        for w in words
        if (known := metrics.figure_of(w)) is not None
    )
    side = f" of the {escape_text(SPLIT_NAMES.get(split, split))} cases" if split else ""
    return (
        "<p>Intervals are 95 % bootstrap intervals (bias-corrected and accelerated, 2,000 resamples). Whole "
        f"patients are resampled, each with all cases{side}, because cases of one patient are alike. A case that "
        "could not be read or answered counts with the worst value, it does not vanish. A value of a set is the "
        f"mean over its cases, but where it says otherwise.</p><dl class='terms'>{terms}</dl>"
    )


def worst_value_note(metric_name: str) -> str:
    """Return a sentence on the value of a failed case."""
    value = metrics.figure_of(metric_name)
    if value is None or value.worst is None:
        return ""
    low = "the diagonal of the image" if value.worst == "diagonal" else format_number(float(value.worst), decimals=0)
    return f" A failed case counts as {low}."
