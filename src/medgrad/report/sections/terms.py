"""How each number on the page is defined."""

from __future__ import annotations

from ..definitions import metric_definitions
from ..headline import evaluation_metrics
from ..read_run import RunFiles
from ._section import Section


def terms_section(run_files: RunFiles) -> str:
    """Return the definitions of the metrics on the page."""
    figures = evaluation_metrics(run_files)
    return metric_definitions(list(figures), split=str(run_files.evaluation.get("split") or "")) if figures else ""


THIS = Section("How each number is defined", terms_section, order=140)
