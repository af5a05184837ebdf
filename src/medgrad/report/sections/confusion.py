"""The confusion matrix of exclusive classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..html import escape_text, header_cell, html_table
from ..read_run import RunFiles
from ._section import Section


def confusion_section(run_files: RunFiles) -> str:
    """Return the confusion matrix, where the evaluation has one."""
    found = run_files.evaluation.get("confusion")
    return confusion_table(found) if found else ""


def confusion_table(confusion_result: Mapping[str, Any]) -> str:
    """Return the confusion matrix as a table; each row is a true class, shaded by the share of its cases."""
    names, counts = [escape_text(n) for n in confusion_result["names"]], confusion_result["counts"]
    head = [header_cell("truth \\ answer"), *(header_cell(n) for n in names), header_cell("cases", is_number=True)]
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row)
        cells = []
        for n in row:
            share = n / total if total else 0.0
            shade = f"background: color-mix(in srgb, var(--accent) {round(100 * share)}%, var(--card))"
            deep = ' class="deep"' if share > 0.5 else ""
            cells.append(f'<td{deep} style="{shade}">{int(n)}<span class="soft">{100 * share:.0f} %</span></td>')
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}<td>{int(total)}</td></tr>')
    return html_table(head, rows, css_class="confusion", caption="Cases by true class (rows) and answer (columns).")


THIS = Section("Confusion", confusion_section, order=50)
