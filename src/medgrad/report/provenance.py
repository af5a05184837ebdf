"""Report sections on provenance: data, split, machine, and definitions of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import metrics
from .figures import COUNTS, title
from .html import Markup, bullets, column, duration, facts, number, plural, table, text

SIDES = {"train": "training", "val": "validation", "test": "test", "": "no side"}
MOST_CASES = 1000


def patients_by_side(cases: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Group the cases by split: training, validation, test, then others."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for side in (*SIDES, *(str(c.get("split") or "") for c in cases)):
        found.setdefault(side, [])
    for case in cases:
        found[str(case.get("split") or "")].append(case)
    return {side: rows for side, rows in found.items() if rows}


def people(cases: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the patients of some cases."""
    return {str(c.get("patient") or c.get("id")) for c in cases}


def data(cohort: Mapping[str, Any]) -> str:
    """Return the section on the data and the findings of its survey."""
    look = cohort.get("look") if isinstance(cohort.get("look"), Mapping) else {}
    assert isinstance(look, Mapping)
    labels = cohort.get("labels")
    pairs: list[tuple[str, object]] = [
        ("Folder", Markup(f"<code>{text(cohort['root'])}</code>") if cohort.get("root") else None),
        ("Layout", cohort.get("layout")),
        ("Task", cohort.get("task")),
        ("Labels", ", ".join(str(v) for v in labels) if isinstance(labels, list) else labels),
        ("Patients told apart by", cohort.get("patients_from")),
    ]
    fingerprint = look.get("fingerprint")
    if isinstance(fingerprint, Mapping):
        pairs += [(readable(k), plainly(v)) for k, v in fingerprint.items() if v and k not in ("splits", "labels")]
    pairs += [("Pairs of cases that look alike", look.get("n_twins") or None)]
    told = list(dict.fromkeys(plainly(t) for t in [*as_list(cohort.get("told")), *as_list(look.get("told"))]))
    out = facts(pairs) + (f"<h3>What was decided when reading</h3>{bullets(told)}" if told else "")
    for key, heading in (("faults", "Faults of quality"), ("leaks", "Leaks between the sides of the split")):
        if key in look:
            items = [plainly(i) for i in as_list(look[key])]
            out += f"<h3>{heading}</h3>" + (bullets(items, most=12) if items else "<p>None was found.</p>")
    return out


def readable(key: object) -> str:
    """Convert a JSON key to words.

    >>> readable("spacings_mm")
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


def plainly(value: Any) -> str:
    """Convert a JSON value to plain text; a mapping with a ``sentence`` becomes that sentence.

    >>> plainly({"shape": [2, 3], "mean": 0.12345})
    'shape 2 × 3, mean 0.123'
    """
    if isinstance(value, Mapping) and value.get("sentence"):
        return str(value["sentence"])
    if isinstance(value, Mapping):
        known = {str(k).replace("_", " "): plainly(v) for k, v in value.items() if v is not None}
        return ", ".join(f"{k} {v}" for k, v in known.items())
    if isinstance(value, list):
        numeric = len(value) <= 4 and value and all(isinstance(v, int | float) for v in value)
        return (" × " if numeric else ", ").join(plainly(v) for v in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def split(cohort: Mapping[str, Any]) -> str:
    """Return the section on the split: cases and patients of each side, and overlaps between them."""
    cases = [c for c in as_list(cohort.get("cases") or []) if isinstance(c, Mapping)]
    if not cases:
        return ""
    sides = patients_by_side(cases)
    bars = "".join(f'<span style="flex: {len(rows)}"></span>' for rows in sides.values())
    rows = [
        f'<tr><th scope="row"><span class="chip"></span>{text(SIDES.get(side, side))}</th>'
        f'<td class="number">{len(group)}</td><td class="number">{len(people(group))}</td></tr>'
        for side, group in sides.items()
    ]
    head = [column("Side"), column("Cases", number=True), column("Patients", number=True)]
    drawn = f'<div class="share" aria-hidden="true">{bars}</div>'
    together = f'<div class="together">{drawn}{table(head, rows, kind="plain")}</div>'
    return together + shared(sides) + who(cases)


def shared(sides: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a note on whether any patient is in two splits."""
    names = list(sides)
    both = [
        (a, b, common)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if (common := people(sides[a]) & people(sides[b]))
    ]
    if not both:
        return "<p>No patient stands on two sides.</p>" if len(names) > 1 else ""
    told = "; ".join(
        f"{plural(len(common), 'patient')} on {SIDES.get(a, a)} and {SIDES.get(b, b)}" for a, b, common in both
    )
    return f'<div class="banner bad"><p><strong>Patients on two sides:</strong> {text(told)}.</p></div>'


def who(cases: Sequence[Mapping[str, Any]]) -> str:
    """List every case with its patient, split and file hash, folded away."""
    head = [column("Case"), column("Patient"), column("Side"), column("Hash")]
    rows = [
        f'<tr><th scope="row">{text(c.get("id", ""))}</th><td>{text(c.get("patient", ""))}</td>'
        f"<td>{text(SIDES.get(str(c.get('split') or ''), c.get('split')))}</td>"
        f"<td><code>{text(c.get('hash') or '')}</code></td></tr>"
        for c in cases[:MOST_CASES]
    ]
    more = f"<p>The other {len(cases) - MOST_CASES} are in cohort.json.</p>" if len(cases) > MOST_CASES else ""
    return f"<details><summary>Every case, its patient and its hash</summary>{table(head, rows)}{more}</details>"


def provenance(run: Mapping[str, Any]) -> str:
    """Return a table of versions, machine, times and the command."""
    parameters = run.get("parameters")
    command = run.get("command")
    words = " ".join(str(v) for v in command) if isinstance(command, list) else command
    return facts(
        [
            ("medgrad", run.get("medgrad")),
            ("PyTorch", run.get("torch")),
            ("Python", run.get("python")),
            ("Machine", run.get("machine")),
            ("Started", run.get("started")),
            ("Finished", run.get("finished")),
            ("Time", duration(run.get("seconds"))),
            ("Ended by", run.get("ended_by")),
            ("Steps", f"{run['steps']:,}" if isinstance(run.get("steps"), int) else run.get("steps")),
            ("Parameters", f"{parameters:,}" if isinstance(parameters, int) else parameters),
            ("Seed", run.get("seed")),
            ("Command", Markup(f"<code>{text(words)}</code>") if words else None),
        ]
    )


def definitions(names: Sequence[str], *, split: str) -> str:
    """Define each of the metrics on the page, and the method of the intervals."""
    words = [w for w in dict.fromkeys(n.split("/")[0] for n in names) if w not in COUNTS]
    terms = "".join(
        f"<div><dt>{text(title(w))}</dt><dd>{text(known.says)}{worst(w)}</dd></div>"
        for w in words
        if (known := metrics.about(w)) is not None
    )
    side = f" of the {text(SIDES.get(split, split))} cases" if split else ""
    return (
        "<p>Intervals are 95 % bootstrap intervals (bias-corrected and accelerated, 2,000 resamples). Whole "
        f"patients are resampled, each with all cases{side}, because cases of one patient are alike. A case that "
        "could not be read or answered counts with the worst value, it does not vanish. A value of a set is the "
        f"mean over its cases, but where it says otherwise.</p><dl class='terms'>{terms}</dl>"
    )


def worst(word: str) -> str:
    """Return a sentence on the value of a failed case."""
    value = metrics.about(word)
    if value is None or value.worst is None:
        return ""
    low = "the diagonal of the image" if value.worst == "diagonal" else number(float(value.worst), digits=0)
    return f" A failed case counts as {low}."
