"""Report of two runs: paired differences with intervals, corrected p values, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import metrics
from ..trust.paired import Comparison
from .answers import label
from .figures import EDGE, HEIGHT, digits, title
from .html import column, number, plural, svg, table, text
from .page import document
from .provenance import definitions

WIDTH = 190.0
DRAWN = (
    '<p class="soft small">The drawing shows the difference with its interval; right of the middle line b is better. '
    "Numbers that are measured in the same way share a scale.</p>"
)
HOW = (
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

    ``table`` is the result of ``trust.paired.compare``, or a mapping with that as ``table`` (its rows may be plain
    mappings) and, optionally, ``noninferior`` with ``says``.
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
    rows = [one_row(c, reach(c, comparisons)) for c in ordered]
    head = [
        column("Number"),
        column(f"a: {text(a)}", number=True),
        column(f"b: {text(b)}", number=True),
        column("b minus a", number=True),
        column("95 % interval", number=True),
        column("p", number=True),
        column("p, corrected", number=True),
        column("Verdict"),
        column("a better | b better", kind="plot"),
    ]
    names = [c.name for c in comparisons]
    margin = f"<p><strong>Is b good enough?</strong> {text(good_enough)}.</p>" if good_enough else ""
    body = (
        f'<header><p class="kicker">Comparison of two runs on the same patients</p><h1>{text(heading)}</h1>'
        f'<p class="verdict">{verdict(a, b, comparisons)}</p>{margin}</header>'
        '<section aria-labelledby="differences"><h2 id="differences">Differences</h2>'
        f"{table(head, rows)}{DRAWN}</section>"
        f'<section aria-labelledby="how"><h2 id="how">How they were compared</h2>{HOW}</section>'
        '<section aria-labelledby="terms"><h2 id="terms">How each number is defined</h2>'
        f"{definitions(names, split='')}</section>"
    )
    return document(f"Comparison: {heading}", body)


def verdict(a: str, b: str, comparisons: Sequence[Comparison]) -> str:
    """Return one sentence on what the comparison shows."""
    if not comparisons:
        return "The runs have no number in common."
    wins = {side: [c for c in comparisons if c.verdict == f"{side} is better"] for side in "ab"}
    n = max(c.n for c in comparisons)
    parts = [
        f"<strong>{text(name)}</strong> is better on {plural(len(wins[side]), 'number')}"
        for side, name in (("a", a), ("b", b))
        if wins[side]
    ]
    told = " and ".join(parts) if parts else "No difference is shown"
    return f"{told}, of {plural(len(comparisons), 'number')} compared over {plural(n, 'patient')}."


def reach(one: Comparison, all_of_them: Sequence[Comparison]) -> float:
    """Return the axis limit of a metric's plot: the largest interval end among its labels."""
    word = one.name.split("/")[0]
    alike = [c for c in all_of_them if c.name.split("/")[0] == word]
    ends = [abs(v) for c in alike for v in (c.low, c.high, c.difference) if v is not None and math.isfinite(v)]
    return max(ends, default=0.0) or 1.0


def one_row(c: Comparison, most: float) -> str:
    """Return the table row of one metric."""
    d = digits(c.name)
    low, high = number(c.low, digits=d), number(c.high, digits=d)
    interval = f"{low} to {high}" if c.low is not None else "–"
    kind = "verdict-cell better" if c.verdict.endswith("is better") else "verdict-cell"
    cells = "".join(f'<td class="number">{number(v, digits=d)}</td>' for v in (c.a, c.b, c.difference))
    unit = metrics.unit(c.name)
    name = f"{text(label(c.name))}{f' <span class=soft>{text(unit)}</span>' if unit else ''}"
    tested = "".join(f'<td class="number">{p_value(p)}</td>' for p in (c.p, c.p_holm))
    return (
        f'<tr><th scope="row">{name}</th>{cells}<td class="number">{interval}</td>{tested}'
        f'<td class="{kind}">{text(c.verdict)}</td><td class="plot">{drawing(c, most)}</td></tr>'
    )


def p_value(p: float | None) -> str:
    """Format a p value.

    >>> p_value(0.0004), p_value(0.25)
    ('< 0.001', '0.250')
    """
    return "–" if p is None else "&lt; 0.001".replace("&lt;", "<") if p < 0.001 else f"{p:.3f}"


def drawing(c: Comparison, most: float) -> str:
    """Draw a difference and its interval around zero; right is better for b."""
    sign = -1.0 if metrics.better(c.name) == "lower" else 1.0

    def x(value: float) -> float:
        return WIDTH / 2 + (WIDTH / 2 - EDGE) * max(-1.0, min(1.0, sign * value / most))

    out = f'<path class="track" d="M{EDGE:g} 11H{WIDTH - EDGE:g}"/><path class="axis" d="M{WIDTH / 2:g} 3V19"/>'
    if c.low is not None and c.high is not None:
        out += f'<path class="bar" d="M{x(c.low):.1f} 11H{x(c.high):.1f}"/>'
    if c.difference is not None:
        out += f'<circle class="dot" cx="{x(c.difference):.1f}" cy="11" r="4.5"/>'
    return svg(WIDTH, HEIGHT, out, says=f"{title(c.name.split('/')[0])}: b minus a {number(c.difference)}")
