"""The cases that failed, with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..html import Markup, escape_text, facts_table, format_count
from ..read_run import RunFiles
from ._section import Section


def failures_section(run_files: RunFiles) -> str:
    """Return the failed cases of those that were judged."""
    return failures_table(run_files.cases) if run_files.cases else ""


def failures_table(cases: Sequence[Mapping[str, str]]) -> str:
    """List the failed cases with their reasons."""
    lost = [c for c in cases if c.get("failed")]
    if not lost:
        return "<p>Every case was read and answered.</p>"
    rows = [(c.get("case", ""), Markup(escape_text(c["failed"]))) for c in lost[:50]]
    more = f"<p>And {len(lost) - 50} more, in cases.csv.</p>" if len(lost) > 50 else ""
    told = f"<p>{format_count(len(lost), 'case')} failed. Each counts with the worst value of every figure.</p>"
    return told + facts_table(rows) + more


THIS = Section("Failures", failures_section, order=70)
