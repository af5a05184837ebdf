"""What a run that restores images does to lesions that were planted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..html import escape_text, header_cell, html_table
from ..read_run import RunFiles
from ._section import Section

ROWS = {
    "recovered": "Contrast between 0.9 and 1.1 of what was planted",
    "removed": "Less than half of their contrast left",
    "auc_before": "AUROC of local contrast, on the images shown",
    "auc_after": "AUROC of local contrast, on the answers",
}
FLAGGED = "This run removes or invents lesions, or makes them harder to tell: see below before its answers are read."
ADDED = (
    ", lighter or darker than what is around by a quarter of the image's range, were planted into validation images "
    "before these were degraded. Figures of whole images hide what is told here: lesions that were removed or invented."
)
MOVED = (
    " of the patient's own tissue were planted where they do not belong, into the images shown and into the true one. "
    "An answer that has less of their contrast than the true image tells what usually lies there, not what is there."
)


def planted_lesions_section(run_files: RunFiles) -> str:
    """Return the figures of planted lesions, or nothing where none was planted."""
    found: Any = run_files.run_facts.get("planted_lesions")
    if not isinstance(found, Mapping) or not found.get("lesions"):
        return ""
    if not found.get("is_control_met"):
        return (
            "<p>The control was missed: planted lesions could not be told, so nothing is said of what is invented.</p>"
        )
    lesions, clean = escape_text(str(found["lesions"])), escape_text(str(found.get("clean")))
    is_moved = not found.get("clean")
    told = [(words, f"{found[name]:.3f}") for name, words in ROWS.items() if isinstance(found.get(name), int | float)]
    if not is_moved:
        told.append((f"Invented in {clean} images without any, how many", escape_text(str(found.get("invented")))))
    rows = [f'<tr><th scope="row">{words}</th><td class="number">{value}</td></tr>' for words, value in told]
    heads = [header_cell("What"), header_cell("Share or count", is_number=True)]
    flag = f'<p><strong class="bad">{FLAGGED}</strong></p>' if found.get("is_flagged") is True else ""
    return f"{flag}<p>{lesions} balls of 4 to 8 mm{MOVED if is_moved else ADDED}</p>{html_table(heads, rows)}"


THIS = Section("Planted lesions", planted_lesions_section, order=45)
