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
    told = [(words, f"{found[name]:.3f}") for name, words in ROWS.items() if isinstance(found.get(name), int | float)]
    told.append((f"Invented in {clean} images without any, how many", escape_text(str(found.get("invented")))))
    rows = [f'<tr><th scope="row">{words}</th><td class="number">{value}</td></tr>' for words, value in told]
    heads = [header_cell("What"), header_cell("Share or count", is_number=True)]
    return (
        f"<p>{lesions} balls of 4 to 8 mm, lighter or darker than what is around by a quarter of the image's range, "
        "were planted into validation images before these were degraded. Figures of whole images hide what is told "
        f"here: lesions that were removed or invented.</p>{html_table(heads, rows)}"
    )


THIS = Section("Planted lesions", planted_lesions_section, order=45)
