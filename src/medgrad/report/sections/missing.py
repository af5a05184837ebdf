"""The files of a run that could not be read."""

from __future__ import annotations

from ..html import bullet_list
from ..read_run import RunFiles
from ._section import Section


def missing_section(run_files: RunFiles) -> str:
    """List the files that could not be read."""
    return bullet_list(run_files.unreadable)


THIS = Section("What could not be read", missing_section, order=150)
