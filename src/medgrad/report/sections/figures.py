"""All figures of the evaluation with their intervals."""

from __future__ import annotations

from ..figures import metrics_table
from ..headline import evaluation_metrics, has_spacing
from ..read_run import RunFiles
from ._section import Section


def figures_section(run_files: RunFiles) -> str:
    """Return the table of all figures."""
    return metrics_table(evaluation_metrics(run_files), has_spacing=has_spacing(run_files))


THIS = Section("Figures", figures_section, order=20)
