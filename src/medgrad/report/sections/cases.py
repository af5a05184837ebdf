"""Single cases: a plot of all, and a table of the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ... import metrics
from ..figures import decimals, metric_label
from ..headline import headline_metrics
from ..html import escape_text, format_count, format_number, header_cell, html_table, svg_image
from ..read_run import RunFiles
from ._section import Section

ID_COLUMNS = ("case", "patient", "failed")
TRUTH_PROBABILITY = "probability of the truth"


def cases_section(run_files: RunFiles) -> str:
    """Return a plot of all cases and a table of the worst."""
    columns = list(dict.fromkeys(n for row in run_files.cases[:200] for n in row))
    if any(n.startswith("truth/") for n in columns):
        rows = add_truth_probability(run_files.cases)
        return draw_sorted_cases(rows, TRUTH_PROBABILITY) + worst_cases_table(
            rows, [TRUTH_PROBABILITY], text_columns=["truth"]
        )
    wanted = headline_metrics(run_files) or number_columns(run_files.cases[:200], columns)
    names = [n for n in wanted if n in columns][:3]
    return draw_sorted_cases(run_files.cases, names[0]) + worst_cases_table(run_files.cases, names) if names else ""


def parse_number(row: Mapping[str, str], name: str) -> float | None:
    """Parse a number in a row of ``cases.csv``; None where it is not one."""
    try:
        value = float(row.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def number_columns(cases: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[str]:
    """List the metrics of ``cases.csv``: the columns that hold numbers, without those that name a case."""
    return [n for n in columns if n not in ID_COLUMNS and any(parse_number(case, n) is not None for case in cases)]


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


def add_truth_probability(cases: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Add the true classes, and the probability given to them, to the rows that hold both.

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


THIS = Section("Cases", cases_section, order=30)
