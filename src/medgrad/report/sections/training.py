"""The training curves."""

from __future__ import annotations

from ..curves import curves_html
from ..read_run import RunFiles
from ._section import Section


def training_section(run_files: RunFiles) -> str:
    """Return the training curves, with a note where there was no validation."""
    drawn = curves_html(run_files.steps)
    if drawn and not any("valid" in row for row in run_files.steps):
        drawn += '<p class="soft">No validation cases were set aside, so there is no curve on them.</p>'
    return drawn


THIS = Section("Training", training_section, order=100)
