"""The best, middling and worst answers, drawn over their images."""

from __future__ import annotations

from ..contours import pictures_html
from ..read_run import RunFiles
from ._section import Section


def pictures_section(run_files: RunFiles) -> str:
    """Return the pictures of a run."""
    return pictures_html(run_files.pictures) if run_files.pictures else ""


THIS = Section("Best, middling and worst answers", pictures_section, order=40)
