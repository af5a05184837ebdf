"""Report of two runs: paired differences with intervals, corrected p values, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import metrics
from ..trust.paired import Comparison
from .definitions import metric_definitions
from .figures import BAR_MARGIN, HEIGHT, decimals, metric_label, metric_title
from .html import escape_text, format_count, format_number, header_cell, html_table, svg_image
from .page import html_document

WIDTH = 190.0
DRAWING_NOTE = (
    '<p class="soft small">The drawing shows the difference with its interval; right of the middle line b is better. '
    "Numbers that are measured in the same way share a scale.</p>"
)
METHOD_NOTE = (
    "<p>Both runs answered the same cases, so every patient is compared with themselves. The p value is the share of "
    "all ways of exchanging the two answers to a patient that give so large a difference: all ways where there are at "
    "most 12 patients, else ways drawn at random. Where just the order of scores counts, their places are exchanged. "
    "It is corrected for the number of figures that were looked at (Holm 1979), and the verdict goes by the corrected "
    "one. That no difference is shown does not mean that both are equal: the interval says how large a difference may "
    "be.</p>"
)


def write_comparison(
    a: Path | str, b: Path | str, table: Mapping[str, Any] | Sequence[Comparison], out: Path | str
) -> Path:
    """Write the report that compares two runs, to ``out`` if it ends in ``.html``, else to ``out/comparison.html``.

    ``html_table`` is the result of ``trust.paired.compare``, or a mapping with that as ``html_table`` (its rows may be
    plain mappings) and, optionally, ``noninferior`` with ``says``.
    """
    path = Path(out) if Path(out).suffix == ".html" else Path(out) / "comparison.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = table.get("table", ()) if isinstance(table, Mapping) else table
    comparisons = [c if isinstance(c, Comparison) else Comparison(**c) for c in rows]
    good_enough = table.get("noninferior", {}).get("says", "") if isinstance(table, Mapping) else ""
    page = comparison_page(Path(a).resolve().name, Path(b).resolve().name, comparisons, good_enough=good_enough)
    path.write_text(page, encoding="utf-8")
    return path


def comparison_page(a: str, b: str, comparisons: Sequence[Comparison], *, good_enough: str = "") -> str:
    """Return the page that compares two runs; ``good_enough`` is the sentence on non-inferiority."""
    heading = f"{a} and {b}"
    words = list(dict.fromkeys(c.name.split("/")[0] for c in comparisons))
    ordered = sorted(comparisons, key=lambda c: words.index(c.name.split("/")[0]))
    rows = [comparison_row(c, axis_limit(c, comparisons)) for c in ordered]
    head = [
        header_cell("Number"),
        header_cell(f"a: {escape_text(a)}", is_number=True),
        header_cell(f"b: {escape_text(b)}", is_number=True),
        header_cell("b minus a", is_number=True),
        header_cell("95 % interval", is_number=True),
        header_cell("p", is_number=True),
        header_cell("p, corrected", is_number=True),
        header_cell("Verdict"),
        header_cell("a better | b better", css_class="plot"),
    ]
    names = [c.name for c in comparisons]
    margin = f"<p><strong>Is b good enough?</strong> {escape_text(good_enough)}.</p>" if good_enough else ""
    body = (
        f'<header><p class="kicker">Comparison of two runs on the same patients</p><h1>{escape_text(heading)}</h1>'
        f'<p class="verdict">{verdict_sentence(a, b, comparisons)}</p>{margin}</header>'
        '<section aria-labelledby="differences"><h2 id="differences">Differences</h2>'
        f"{html_table(head, rows)}{DRAWING_NOTE}</section>"
        f'<section aria-labelledby="how"><h2 id="how">How they were compared</h2>{METHOD_NOTE}</section>'
        '<section aria-labelledby="terms"><h2 id="terms">How each number is defined</h2>'
        f"{metric_definitions(names, split='')}</section>"
    )
    return html_document(f"Comparison: {heading}", body)


def verdict_sentence(a: str, b: str, comparisons: Sequence[Comparison]) -> str:
    """Return one sentence on what the comparison shows."""
    if not comparisons:
        return "The runs have no number in common."
    wins = {side: [c for c in comparisons if c.verdict == f"{side} is better"] for side in "ab"}
    n = max(c.n for c in comparisons)
    parts = [
        f"<strong>{escape_text(name)}</strong> is better on {format_count(len(wins[side]), 'number')}"
        for side, name in (("a", a), ("b", b))
        if wins[side]
    ]
    told = " and ".join(parts) if parts else "No difference is shown"
    return f"{told}, of {format_count(len(comparisons), 'number')} compared over {format_count(n, 'patient')}."


def axis_limit(comparison: Comparison, comparisons: Sequence[Comparison]) -> float:
    """Return the axis limit of a metric's plot: the largest interval end among its labels."""
    word = comparison.name.split("/")[0]
    alike = [c for c in comparisons if c.name.split("/")[0] == word]
    ends = [abs(v) for c in alike for v in (c.low, c.high, c.difference) if v is not None and math.isfinite(v)]
    return max(ends, default=0.0) or 1.0


def comparison_row(comparison: Comparison, max_difference: float) -> str:
    """Return the table row of one metric."""
    d = decimals(comparison.name)
    low, high = format_number(comparison.low, decimals=d), format_number(comparison.high, decimals=d)
    interval = f"{low} to {high}" if comparison.low is not None else "–"
    kind = "verdict-cell better" if comparison.verdict.endswith("is better") else "verdict-cell"
    cells = "".join(
        f'<td class="number">{format_number(v, decimals=d)}</td>'
        for v in (comparison.a, comparison.b, comparison.difference)
    )
    unit = metrics.unit_of(comparison.name)
    name = (
        f"{escape_text(metric_label(comparison.name))}{f' <span class=soft>{escape_text(unit)}</span>' if unit else ''}"
    )
    tested = "".join(f'<td class="number">{format_p_value(p)}</td>' for p in (comparison.p, comparison.p_holm))
    return (
        f'<tr><th scope="row">{name}</th>{cells}<td class="number">{interval}</td>{tested}'
        f'<td class="{kind}">{escape_text(comparison.verdict)}</td><td class="plot">'
        f"{draw_difference(comparison, max_difference)}</td></tr>"
    )


def format_p_value(p: float | None) -> str:
    """Format a p value.

    >>> format_p_value(0.0004), format_p_value(0.25)
    ('< 0.001', '0.250')
    """
    return "–" if p is None else "&lt; 0.001".replace("&lt;", "<") if p < 0.001 else f"{p:.3f}"


def draw_difference(comparison: Comparison, max_difference: float) -> str:
    """Draw a difference and its interval around zero; right is better for b."""
    sign = -1.0 if metrics.better_direction(comparison.name) == "lower" else 1.0

    def x(value: float) -> float:
        return WIDTH / 2 + (WIDTH / 2 - BAR_MARGIN) * max(-1.0, min(1.0, sign * value / max_difference))

    out = (
        f'<path class="track" d="M{BAR_MARGIN:g} 11H{WIDTH - BAR_MARGIN:g}"/><path class="axis" '
        f'd="M{WIDTH / 2:g} 3V19"/>'
    )
    if comparison.low is not None and comparison.high is not None:
        out += f'<path class="bar" d="M{x(comparison.low):.1f} 11H{x(comparison.high):.1f}"/>'
    if comparison.difference is not None:
        out += f'<circle class="dot" cx="{x(comparison.difference):.1f}" cy="11" r="4.5"/>'
    return svg_image(
        WIDTH,
        HEIGHT,
        out,
        description=f"{metric_title(comparison.name.split('/')[0])}: b minus a {format_number(comparison.difference)}",
    )
