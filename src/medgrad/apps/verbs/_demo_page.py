"""The summary page of the demo, with links to the reports of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...report.contours import pictures_html
from ...report.html import bullet_list, escape_text, format_duration, format_number
from ...report.page import html_document, metric_card

if TYPE_CHECKING:
    from ._demo_state import DemoState

METRIC_NAMES = {
    "lesion dice": "Dice of nodules and lesions", "auroc": "AUROC, benign or malignant",
    "nodules found": "Nodules found, 1 false a scan", "tre_mm": "Dates aligned, error in mm",
}  # fmt: skip


def write_demo_page(state: DemoState, seconds: float) -> Path:
    """Write ``report.html`` into the folder of the demo, and return its path."""
    cards = []
    for name, found in state.metrics.items():
        between = f"95 % {format_number(found['low'])} to {format_number(found['high'])}, {found['n']} patients"
        cards.append(metric_card(METRIC_NAMES.get(name, name), format_number(found["value"]), between))
    cards.append(
        metric_card(
            "Learning", escape_text(format_duration(state.training_seconds, in_minutes=True)), "with judging on the way"
        )
    )
    cards.append(metric_card("Time", escape_text(format_duration(seconds, in_minutes=True)), "all in all"))
    links = "".join(
        f'<li><a href="{escape_text(path.relative_to(state.folder).as_posix())}">{escape_text(what)}</a></li>'
        for what, path in state.pages
    )
    shown = pictures_html((state.picture,)) if state.picture else ""
    picture = f"<section><h2>The answer about a new patient</h2>{shown}</section>" if shown else ""
    processed = pictures_html(tuple(state.processed)) if state.processed else ""
    picture += f"<section><h2>A denoised and a filled scan</h2>{processed}</section>" if processed else ""
    page = state.folder / "report.html"
    body = (
        '<header><p class="kicker">medgrad demo</p><h1>From synthetic patients to judged models</h1>'
        '<p class="verdict">The patients do not exist: they are shapes with the Hounsfield units of a chest and an '
        "upper belly. The figures show that every step works, and nothing about real patients.</p>"
        f'<dl class="cards">{"".join(cards)}</dl></header>'
        f"{picture}<section><h2>Reports</h2><ul>{links}</ul></section>"
        f"<section><h2>What happened</h2>{bullet_list(state.messages)}</section>"
    )
    page.write_text(html_document("medgrad demo", body), encoding="utf-8")
    return page
