"""Who was in which split: cases and patients of each side, and overlaps between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..figures import SPLIT_TITLES
from ..html import escape_text, format_count, header_cell, html_table
from ..read_run import RunFiles, as_list
from ._section import Section

MAX_LISTED_CASES = 1000


def split_section(run_files: RunFiles) -> str:
    """Return cases and patients of each side, and overlaps between them."""
    cases = [c for c in as_list(run_files.cohort.get("cases") or []) if isinstance(c, Mapping)]
    if not cases:
        return ""
    sides = cases_by_split(cases)
    bars = "".join(f'<span style="flex: {len(rows)}"></span>' for rows in sides.values())
    rows = [
        f'<tr><th scope="row"><span class="chip"></span>{escape_text(SPLIT_TITLES.get(side, side))}</th>'
        f'<td class="number">{len(group)}</td><td class="number">{len(patient_names(group))}</td></tr>'
        for side, group in sides.items()
    ]
    head = [header_cell("Side"), header_cell("Cases", is_number=True), header_cell("Patients", is_number=True)]
    drawn = f'<div class="share" aria-hidden="true">{bars}</div>'
    together = f'<div class="together">{drawn}{html_table(head, rows, css_class="plain")}</div>'
    return together + shared_patients_note(sides) + case_list(cases)


def cases_by_split(cases: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Group the cases by split: training, validation, test, then others."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for side in (*SPLIT_TITLES, *(str(c.get("split") or "") for c in cases)):
        found.setdefault(side, [])
    for case in cases:
        found[str(case.get("split") or "")].append(case)
    return {side: rows for side, rows in found.items() if rows}


def patient_names(cases: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the patients of some cases."""
    return {str(c.get("patient") or c.get("id")) for c in cases}


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
        f"{format_count(len(common), 'patient')} on {SPLIT_TITLES.get(a, a)} and {SPLIT_TITLES.get(b, b)}"
        for a, b, common in both
    )
    return f'<div class="banner bad"><p><strong>Patients on two sides:</strong> {escape_text(told)}.</p></div>'


def case_list(cases: Sequence[Mapping[str, Any]]) -> str:
    """List every case with its patient, split and file hash, folded away."""
    head = [header_cell("Case"), header_cell("Patient"), header_cell("Side"), header_cell("Hash")]
    rows = [
        f'<tr><th scope="row">{escape_text(c.get("id", ""))}</th><td>{escape_text(c.get("patient", ""))}</td>'
        f"<td>{escape_text(SPLIT_TITLES.get(str(c.get('split') or ''), c.get('split')))}</td>"
        f"<td><code>{escape_text(c.get('hash') or '')}</code></td></tr>"
        for c in cases[:MAX_LISTED_CASES]
    ]
    more = (
        f"<p>The other {len(cases) - MAX_LISTED_CASES} are in cohort.json.</p>" if len(cases) > MAX_LISTED_CASES else ""
    )
    return f"<details><summary>Every case, its patient and its hash</summary>{html_table(head, rows)}{more}</details>"


THIS = Section("Who was in which split", split_section, order=90)
