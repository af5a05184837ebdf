"""Report sections about the answers: calibration curve, confusion matrix, and single cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import metrics
from .figures import decimals, label_title, metric_title
from .html import Markup, escape_text, facts_table, format_count, format_number, header_cell, html_table, svg_image

SIDE, LEFT, TOP, BARS = 250.0, 44.0, 10.0, 46.0


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Compute the 95 % Wilson interval of a proportion of ``n`` (Wilson 1927).

    >>> [round(v, 3) for v in wilson_interval(0.5, 10)]
    [0.237, 0.763]
    """
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def calibration_html(calibration_result: Mapping[str, Any]) -> str:
    """Return the calibration section: the reliability diagram, and calibration error before and after."""
    bins = [b for b in calibration_result.get("bins") or [] if isinstance(b, Mapping) and b.get("n")]
    before, after = calibration_result.get("ece_before"), calibration_result.get("ece_after")
    figures = (
        ("Temperature", calibration_result.get("temperature"), 2),
        ("Error before", before, 3),
        ("Error after", after, 3),
    )
    rows = facts_table([(name, format_number(value, decimals=d)) for name, value, d in figures if value is not None])
    words = (
        "<p>Each dot gathers cases of like confidence. On the diagonal, what is stated comes true just as often; "
        "below it, the model is too sure of itself. The lines are 95 % intervals, the bars below count the "
        "cases.</p>"
    )
    return f'<div class="pair"><div>{draw_reliability(bins)}</div><div>{words}{rows}</div></div>'


def draw_reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """Draw the reliability diagram, with the counts of its bins."""
    if not bins:
        return '<p class="soft">There are no cases to draw a curve from.</p>'

    def x(v: float) -> float:
        return LEFT + SIDE * v

    def y(v: float) -> float:
        return TOP + SIDE * (1 - v)

    out = []
    for t in (0, 0.25, 0.5, 0.75, 1):
        out.append(f'<path class="grid" d="M{LEFT:g} {y(t):.1f}H{x(1):.1f}M{x(t):.1f} {TOP:g}V{y(0):.1f}"/>')
        out.append(f'<text x="{LEFT - 7:g}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>')
        out.append(f'<text x="{x(t):.1f}" y="{y(0) + 16:.1f}" text-anchor="middle">{t:g}</text>')
    out.append(f'<path class="diagonal" d="M{x(0):g} {y(0):g}L{x(1):g} {y(1):g}"/>')
    most, base = max(float(b["n"]) for b in bins), y(0) + 42 + BARS
    for b in bins:
        c, f, n = float(b["confidence"]), float(b["frequency"]), float(b["n"])
        low, high = wilson_interval(f, n)
        tall = BARS * n / most
        out.append(f'<rect class="count" x="{x(c) - 8:.1f}" y="{base - tall:.1f}" width="16" height="{tall:.1f}"/>')
        out.append(f'<path class="bar thin" d="M{x(c):.1f} {y(low):.1f}V{y(high):.1f}"/>')
    line = " ".join(f"{x(float(b['confidence'])):.1f},{y(float(b['frequency'])):.1f}" for b in bins)
    out.append(f'<polyline class="line s0" points="{line}"/>')
    for b in bins:
        place = f'cx="{x(float(b["confidence"])):.1f}" cy="{y(float(b["frequency"])):.1f}"'
        out.append(f'<circle class="dot" r="4.5" {place}/>')
    out.append(f'<path class="axis" d="M{LEFT:g} {base:.1f}H{x(1):.1f}"/>')
    out.append(f'<text x="{x(0.5):.1f}" y="{y(0) + 33:.1f}" text-anchor="middle">stated confidence</text>')
    out.append(
        f'<text transform="translate(11 {y(0.5):.1f}) rotate(-90)" text-anchor="middle">share that was so</text>'
    )
    out.append(f'<text x="{LEFT - 7:g}" y="{base:.1f}" text-anchor="end">cases</text>')
    said = "; ".join(
        f"of {b['n']} at {format_number(b['confidence'], decimals=2)}, {format_number(b['frequency'], decimals=2)}"
        for b in bins
    )
    drawn = svg_image(LEFT + SIDE + 12, base + 6, "".join(out), description="Calibration curve: " + said)
    return f"<figure>{drawn}</figure>"


def confusion_table(confusion_result: Mapping[str, Any]) -> str:
    """Return the confusion matrix as a table; each row is a true class, shaded by the share of its cases."""
    names, counts = [escape_text(n) for n in confusion_result["names"]], confusion_result["counts"]
    head = [header_cell("truth \\ answer"), *(header_cell(n) for n in names), header_cell("cases", is_number=True)]
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row)
        cells = []
        for n in row:
            share = n / total if total else 0.0
            shade = f"background: color-mix(in srgb, var(--accent) {round(100 * share)}%, var(--card))"
            deep = ' class="deep"' if share > 0.5 else ""
            cells.append(f'<td{deep} style="{shade}">{int(n)}<span class="soft">{100 * share:.0f} %</span></td>')
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}<td>{int(total)}</td></tr>')
    return html_table(head, rows, css_class="confusion", caption="Cases by true class (rows) and answer (columns).")


def parse_number(row: Mapping[str, str], name: str) -> float | None:
    """Parse a number in a row of ``cases.csv``; None where it is not one."""
    try:
        value = float(row.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def draw_sorted_cases(cases: Sequence[Mapping[str, str]], name: str) -> str:
    """Draw every case as a dot, sorted by one metric."""
    rows = sorted(((v, c) for c in cases if (v := parse_number(c, name)) is not None), key=lambda p: p[0])
    if len(rows) < 3:
        return ""
    width, height, left = 1000.0, 190.0, 44.0
    ends = (
        (0.0, 1.0)
        if name == TRUTH_PROBABILITY
        else metrics.value_range(name) or (min(0.0, rows[0][0]), rows[-1][0] or 1.0)
    )
    low, high = ends

    def y(v: float) -> float:
        return height - 26 - (height - 40) * (v - low) / max(high - low, 1e-12)

    out = []
    for t in (low, low + (high - low) / 2, high):
        out.append(f'<path class="grid" d="M{left:g} {y(t):.1f}H{width - 6:g}"/>')
        out.append(f'<text x="{left - 7:g}" y="{y(t) + 4:.1f}" text-anchor="end">{t:.3g}</text>')
    for i, (value, case) in enumerate(rows):
        x = left + 8 + (width - left - 22) * i / (len(rows) - 1)
        bad = " bad" if case.get("failed") else ""
        about = f"{case.get('case', '')}: {format_number(value, decimals=decimals(name))}"
        out.append(
            f'<circle class="dot{bad}" cx="{x:.1f}" cy="{y(value):.1f}" r="4"><title>'
            f"{escape_text(about)}</title></circle>"
        )
    out.append(f'<text x="{left:g}" y="{height - 4:g}">lowest</text>')
    out.append(f'<text x="{width - 6:g}" y="{height - 4:g}" text-anchor="end">highest</text>')
    middle = rows[len(rows) // 2][0]
    reach = f"{rows[0][0]:.3g} to {rows[-1][0]:.3g}, middle {middle:.3g}"
    drawn = svg_image(
        width, height, "".join(out), description=f"{metric_label(name)} of each of {len(rows)} cases in order: {reach}"
    )
    red = " Red: the case failed." if any(c.get("failed") for _, c in rows) else ""
    return (
        f"<figure>{drawn}<figcaption>{escape_text(metric_label(name))} of each case, in "
        f"order.{red}</figcaption></figure>"
    )


def metric_label(name: str) -> str:
    """Return the readable name of a metric and its label.

    >>> metric_label("dice/liver")
    'Dice, liver'
    """
    word, _, of = name.partition("/")
    return f"{metric_title(word)}, {label_title(of)}" if of else metric_title(word)


TRUTH_PROBABILITY = "probability of the truth"


def add_truth_probability(cases: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Add the true classes, and the probability given to them, to the rows of a classification.

    Where several classes can hold, it is the lowest probability given to a correct statement.
    """
    rows = []
    for case in cases:
        names = [k.removeprefix("truth/") for k in case if k.startswith("truth/")]
        probabilities = {n: parse_number(case, f"prob/{n}") for n in names}
        true = {n for n in names if (parse_number(case, f"truth/{n}") or 0) > 0.5}
        right = [p if n in true else 1 - p for n, p in probabilities.items() if p is not None]
        given = [p for n, p in probabilities.items() if p is not None and n in true] if len(true) == 1 else right
        row = {**case, "truth": ", ".join(sorted(true)) or "none"}
        rows.append(row | ({TRUTH_PROBABILITY: str(min(given))} if given else {}))
    return rows


def worst_cases_table(
    cases: Sequence[Mapping[str, str]],
    metric_names: Sequence[str],
    *,
    text_columns: Sequence[str] = (),
    max_rows: int = 10,
) -> str:
    """Return a table of the cases with the worst values of the first metric.

    ``text_columns`` are extra text columns.
    """
    lower = metrics.better_direction(metric_names[0]) == "lower"
    rows = sorted(
        ((v, c) for c in cases if (v := parse_number(c, metric_names[0])) is not None),
        key=lambda p: -p[0] if lower else p[0],
    )[:max_rows]
    head = [
        header_cell("Case"),
        header_cell("Patient"),
        *(header_cell(escape_text(w.capitalize())) for w in text_columns),
    ]
    head += [header_cell(escape_text(metric_label(n)), is_number=True) for n in metric_names]
    body = [
        f'<tr><th scope="row">{escape_text(c.get("case", ""))}</th><td>{escape_text(c.get("patient", ""))}</td>'
        + "".join(f"<td>{escape_text(c.get(w, ''))}</td>" for w in text_columns)
        + "".join(
            f'<td class="number">{format_number(parse_number(c, n), decimals=decimals(n))}</td>' for n in metric_names
        )
        + "</tr>"
        for _, c in rows
    ]
    caption = f"The {format_count(len(body), 'worst case')}. All are in cases.csv."
    return f'<div class="together">{html_table(head, body, caption=caption)}</div>' if body else ""


def failures_table(cases: Sequence[Mapping[str, str]]) -> str:
    """List the failed cases with their reasons."""
    lost = [c for c in cases if c.get("failed")]
    if not lost:
        return "<p>Every case was read and answered.</p>"
    rows = [(c.get("case", ""), Markup(escape_text(c["failed"]))) for c in lost[:50]]
    more = f"<p>And {len(lost) - 50} more, in cases.csv.</p>" if len(lost) > 50 else ""
    told = f"<p>{format_count(len(lost), 'case')} failed. Each counts with the worst value of every figure.</p>"
    return told + facts_table(rows) + more
