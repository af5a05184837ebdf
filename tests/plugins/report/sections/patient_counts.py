"""How many cases each patient has."""

from __future__ import annotations

from collections import Counter

from ..html import escape_text
from ..read_run import RunFiles
from ._section import Section


def patients_section(run_files: RunFiles) -> str:
    """List the patients with most cases."""
    counts = Counter(str(case["patient"]) for case in run_files.cohort.get("cases", ()))
    lines = "".join(f"<li>{escape_text(name)}: {count}</li>" for name, count in counts.most_common(5))
    return f"<ul>{lines}</ul>" if lines else ""


THIS = Section("Patients", patients_section, order=65)
