"""Report of a race: curves by step and by second, the table of results, and the winner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from .comparison import format_p_value
from .curves import HEIGHT, WIDTH, ChartAxes, Points
from .figures import metric_title
from .html import escape_text, format_count, format_number, header_cell, html_table, round_ticks, svg_image
from .page import html_document

N_COLOURS = 8
"""So many lines have a colour of their own; the rest are grey, and named in the table alone."""
METHOD_NOTE = (
    "<p>Every optimiser saw the same cases in the same order and was given the same minutes of learning; how many "
    "steps that makes is up to what a step costs. Each tried the same factors of its own rate in shorter runs, and the "
    "best ran from every seed. The figure is the mean over the seeds, on all validation cases, with a 95 % interval "
    "resampled by patient; p says how often exchanging the answers to patients would give so large a difference to the "
    "first (two-sided, corrected for all comparisons by Holm's method). It holds for this set and this budget: with "
    "more time, the order may be another.</p>"
)


def write_race(folder: Path | str) -> Path:
    """Write ``report.html`` into the folder of a race, and return its path."""
    path = Path(folder) / "race.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise FormatError(f"{str(path)!r} is not the result of a race. Give a folder that race wrote.") from reason
    out = Path(folder) / "report.html"
    out.write_text(race_page(found, Path(folder).resolve().name), encoding="utf-8")
    return out


def race_page(race_result: Mapping[str, Any], name: str) -> str:
    """Build the report page of a race."""
    rows: Sequence[Mapping[str, Any]] = race_result["table"]
    who = f"{format_count(race_result['seeds'], 'seed')} · {format_count(race_result['patients'], 'patient')}"
    about = f"{race_result['minutes']:g} minutes a run · {who}"
    body = (
        f'<header><p class="kicker">Race {escape_text(name)} · {escape_text(about)}</p><h1>'
        f"{escape_text(race_result['winner'])} is first</h1>"
        f'<p class="verdict">{verdict_sentence(race_result)}</p></header>'
        f'<section aria-labelledby="curves"><h2 id="curves">Curves</h2>{charts_html(race_result)}</section>'
        f'<section aria-labelledby="table"><h2 id="table">Table</h2>{race_table(race_result)}</section>'
        f'<section aria-labelledby="how"><h2 id="how">How it was run</h2>{METHOD_NOTE}</section>'
    )
    return html_document(f"Race: {', '.join(str(r['entrant']) for r in rows)}", body)


def verdict_sentence(race_result: Mapping[str, Any]) -> str:
    """Return a sentence on the winner, and on whether it is significantly better."""
    first, *rest = race_result["table"]
    aim = metric_title(str(race_result["aim"]).split("/")[0])
    if first["value"] is None:
        return "Every run failed."
    reached = f"{escape_text(aim)} {format_number(first['value'])} in {race_result['minutes']:g} minutes"
    statement = f"<strong>{escape_text(first['entrant'])}</strong> reaches {reached}"
    known = [r for r in rest if "behind" in r]
    beaten = [r for r in known if r["behind"]["p_holm"] < 0.05]
    if not known:
        return f"{statement}; there is nobody to compare it with."
    if len(beaten) == len(known):
        others = "each of the others" if len(known) > 1 else escape_text(known[0]["entrant"])
        return f"{statement}, and is shown to be better than {others}."
    equal = ", ".join(escape_text(r["entrant"]) for r in known if r not in beaten)
    return f"{statement}. That it is better than {equal} is not shown."


def race_table(race_result: Mapping[str, Any]) -> str:
    """Return the table of results, the best on top."""
    head = [
        header_cell(""),
        header_cell("Optimiser"),
        header_cell("Rate", is_number=True),
        header_cell("Steps", is_number=True),
        header_cell("Seconds a step", is_number=True),
        header_cell(escape_text(metric_title(str(race_result["aim"]).split("/")[0])), is_number=True),
        header_cell("95 % interval", is_number=True),
        header_cell("Seeds", is_number=True),
        header_cell("Behind the first", is_number=True),
        header_cell("p, corrected", is_number=True),
    ]
    return html_table(head, [optimiser_row(row, place) for place, row in enumerate(race_result["table"])])


def optimiser_row(row: Mapping[str, Any], rank: int) -> str:
    """Return the table row of one optimiser."""
    seeds = [v for v in row["by_seed"] if v is not None]
    spread = f"{format_number(min(seeds))} to {format_number(max(seeds))}" if seeds else "–"
    behind = row.get("behind", {})
    interval = f"{format_number(row['low'])} to {format_number(row['high'])}" if row["low"] is not None else "–"
    cells = (
        f"{row['rate']:.2g}", f"{row['steps']:,}", f"{row['seconds_a_step']:.3f}",
        format_number(row["value"]) if row["value"] is not None else "failed", interval, spread,
        format_number(behind.get("difference")), format_p_value(behind.get("p_holm")).replace("<", "&lt;"),
    )  # fmt: skip
    return (
        f'<tr><td>{draw_line_sample(rank)}</td><th scope="row">{escape_text(row["entrant"])}</th>'
        + "".join(f'<td class="number">{c}</td>' for c in cells)
        + "</tr>"
    )


def draw_line_sample(rank: int) -> str:
    """Draw a piece of an optimiser's line, for the legend."""
    kind = f"line r{rank}" if rank < N_COLOURS else "line r-other"
    return f'<svg width="30" height="8" aria-hidden="true"><path class="{kind}" d="M1 4H29"/></svg>'


def charts_html(race_result: Mapping[str, Any]) -> str:
    """Return the charts by step and by second: the mean over seeds, with their range as a band."""
    drawn = [
        draw_chart(race_result, "by step", 0, "step"),
        draw_chart(race_result, "by second of learning", 1, "s"),
    ]
    names = [row["entrant"] for row in race_result["table"] if any(row["curves"])]
    key = "".join(f"<li>{draw_line_sample(i)}{escape_text(n)}</li>" for i, n in enumerate(names[:N_COLOURS]))
    return f'<div class="pair">{"".join(drawn)}</div><ul class="key">{key}</ul>'


def draw_chart(race_result: Mapping[str, Any], subtitle: str, axis: int, unit: str) -> str:
    """Draw one chart; ``axis`` 0 takes the step of each point, 1 its seconds."""
    lines = [summarise_curves(row["curves"], axis) for row in race_result["table"]]
    known = [line for line in lines if line[0]]
    if not known:
        return ""
    tops = [v for mean, _, _ in known for _, v in mean]
    high, low = max(tops), max(min(tops), float(np.quantile(tops, 0.1)))
    pad = 0.08 * (high - low) or 0.05
    frame = ChartAxes((0.0, max(mean[-1][0] for mean, _, _ in known)), (low - pad, high + pad))
    marks = [(value, f"{value:,.0f}") for value in round_ticks(*frame.steps, n_ticks=5)]
    cases = f"{race_result['on_the_way']} " if race_result.get("on_the_way") else ""
    heading = f"{metric_title(str(race_result['aim']).split('/')[0])} on {cases}validation cases, {subtitle}"
    out = [frame.draw_axes(heading, marks, unit=unit)]
    for place, (mean, lower, upper) in reversed(list(enumerate(lines))):
        if mean:
            kind = str(place) if place < N_COLOURS else "-other"
            out.append(f'<polygon class="band g{kind}" points="{frame.format_points([*lower, *upper[::-1]])}"/>')
            out.append(f'<polyline class="line r{kind}" points="{frame.format_points(mean)}"/>')
    picture = svg_image(
        WIDTH, HEIGHT, "".join(out), description=f"{race_result['aim']} {subtitle}, one line an optimiser"
    )
    return f"<figure>{picture}</figure>"


def summarise_curves(curves: Sequence[Sequence[Sequence[float]]], axis: int) -> tuple[Points, Points, Points]:
    """Interpolate several curves at common positions, and return their mean, minimum and maximum."""
    known = [np.array(c, float) for c in curves if len(c) > 1]
    if not known:
        return [], [], []
    first, last = max(c[0, axis] for c in known), min(c[-1, axis] for c in known)
    at = np.linspace(first, last, 40)
    values = np.stack([np.interp(at, c[:, axis], c[:, 2]) for c in known])
    return tuple(
        list(zip(at.tolist(), v.tolist(), strict=True)) for v in (values.mean(0), values.min(0), values.max(0))
    )  # type: ignore[return-value]
