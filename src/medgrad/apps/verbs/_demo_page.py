"""The summary page of the demo, with links to the reports of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...report.contours import pictures
from ...report.html import bullets, duration, number, text
from ...report.page import card, document

if TYPE_CHECKING:
    from ._journey import DemoState

NAMES = {
    "lesion dice": "Dice of nodules and lesions", "auroc": "AUROC, benign or malignant",
    "nodules found": "Nodules found, 1 false a scan", "tre_mm": "Dates aligned, error in mm",
}  # fmt: skip


def write_page(journey: DemoState, seconds: float) -> Path:
    """Write ``report.html`` into the folder of the demo, and return its path."""
    cards = []
    for name, found in journey.metrics.items():
        between = f"95 % {number(found['low'])} to {number(found['high'])}, {found['n']} patients"
        cards.append(card(NAMES.get(name, name), number(found["value"]), between))
    cards.append(card("Learning", text(duration(journey.learned_seconds, rough=True)), "with judging on the way"))
    cards.append(card("Time", text(duration(seconds, rough=True)), "all in all"))
    links = "".join(
        f'<li><a href="{text(path.relative_to(journey.folder).as_posix())}">{text(what)}</a></li>'
        for what, path in journey.pages
    )
    shown = pictures((journey.picture,)) if journey.picture else ""
    picture = f"<section><h2>The answer about a new patient</h2>{shown}</section>" if shown else ""
    page = journey.folder / "report.html"
    body = (
        '<header><p class="kicker">medgrad demo</p><h1>From synthetic patients to judged models</h1>'
        '<p class="verdict">The patients do not exist: they are shapes with the Hounsfield units of a chest and an '
        "upper belly. The figures show that every step works, and nothing about real patients.</p>"
        f'<dl class="cards">{"".join(cards)}</dl></header>'
        f"{picture}<section><h2>Reports</h2><ul>{links}</ul></section>"
        f"<section><h2>What happened</h2>{bullets(journey.told)}</section>"
    )
    page.write_text(document("medgrad demo", body), encoding="utf-8")
    return page
