"""Report of a race: curves by step and by second, the table of results, and the winner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from .comparison import p_value
from .curves import HEIGHT, WIDTH, Frame, Line
from .figures import title
from .html import column, number, plural, svg, table, text, ticks
from .page import document

COLOURS = 8
"""So many lines have a colour of their own; the rest are grey, and named in the table alone."""
HOW = (
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


def race_page(found: Mapping[str, Any], name: str) -> str:
    """Build the report page of a race."""
    rows: Sequence[Mapping[str, Any]] = found["table"]
    who = f"{plural(found['seeds'], 'seed')} · {plural(found['patients'], 'patient')}"
    about = f"{found['minutes']:g} minutes a run · {who}"
    body = (
        f'<header><p class="kicker">Race {text(name)} · {text(about)}</p><h1>{text(found["winner"])} is first</h1>'
        f'<p class="verdict">{verdict(found)}</p></header>'
        f'<section aria-labelledby="curves"><h2 id="curves">Curves</h2>{charts(found)}</section>'
        f'<section aria-labelledby="table"><h2 id="table">Table</h2>{standings(found)}</section>'
        f'<section aria-labelledby="how"><h2 id="how">How it was run</h2>{HOW}</section>'
    )
    return document(f"Race: {', '.join(str(r['entrant']) for r in rows)}", body)


def verdict(found: Mapping[str, Any]) -> str:
    """Return a sentence on the winner, and on whether it is significantly better."""
    first, *rest = found["table"]
    aim = title(str(found["aim"]).split("/")[0])
    if first["value"] is None:
        return "Every run failed."
    reached = f"{text(aim)} {number(first['value'])} in {found['minutes']:g} minutes"
    said = f"<strong>{text(first['entrant'])}</strong> reaches {reached}"
    known = [r for r in rest if "behind" in r]
    beaten = [r for r in known if r["behind"]["p_holm"] < 0.05]
    if not known:
        return f"{said}; there is nobody to compare it with."
    if len(beaten) == len(known):
        others = "each of the others" if len(known) > 1 else text(known[0]["entrant"])
        return f"{said}, and is shown to be better than {others}."
    equal = ", ".join(text(r["entrant"]) for r in known if r not in beaten)
    return f"{said}. That it is better than {equal} is not shown."


def standings(found: Mapping[str, Any]) -> str:
    """Return the table of results, the best on top."""
    head = [
        column(""),
        column("Optimiser"),
        column("Rate", number=True),
        column("Steps", number=True),
        column("Seconds a step", number=True),
        column(text(title(str(found["aim"]).split("/")[0])), number=True),
        column("95 % interval", number=True),
        column("Seeds", number=True),
        column("Behind the first", number=True),
        column("p, corrected", number=True),
    ]
    return table(head, [one_row(row, place) for place, row in enumerate(found["table"])])


def one_row(row: Mapping[str, Any], place: int) -> str:
    """Return the table row of one optimiser."""
    seeds = [v for v in row["by_seed"] if v is not None]
    spread = f"{number(min(seeds))} to {number(max(seeds))}" if seeds else "–"
    behind = row.get("behind", {})
    interval = f"{number(row['low'])} to {number(row['high'])}" if row["low"] is not None else "–"
    cells = (
        f"{row['rate']:.2g}", f"{row['steps']:,}", f"{row['seconds_a_step']:.3f}",
        number(row["value"]) if row["value"] is not None else "failed", interval, spread,
        number(behind.get("difference")), p_value(behind.get("p_holm")).replace("<", "&lt;"),
    )  # fmt: skip
    return (
        f'<tr><td>{mark(place)}</td><th scope="row">{text(row["entrant"])}</th>'
        + "".join(f'<td class="number">{c}</td>' for c in cells)
        + "</tr>"
    )


def mark(place: int) -> str:
    """Draw a piece of an optimiser's line, for the legend."""
    kind = f"line r{place}" if place < COLOURS else "line r-other"
    return f'<svg width="30" height="8" aria-hidden="true"><path class="{kind}" d="M1 4H29"/></svg>'


def charts(found: Mapping[str, Any]) -> str:
    """Return the charts by step and by second: the mean over seeds, with their range as a band."""
    drawn = [
        one_chart(found, "by step", 0, "step"),
        one_chart(found, "by second of learning", 1, "s"),
    ]
    names = [row["entrant"] for row in found["table"] if any(row["curves"])]
    key = "".join(f"<li>{mark(i)}{text(n)}</li>" for i, n in enumerate(names[:COLOURS]))
    return f'<div class="pair">{"".join(drawn)}</div><ul class="key">{key}</ul>'


def one_chart(found: Mapping[str, Any], words: str, axis: int, unit: str) -> str:
    """Draw one chart; ``axis`` 0 takes the step of each point, 1 its seconds."""
    lines = [over_seeds(row["curves"], axis) for row in found["table"]]
    known = [line for line in lines if line[0]]
    if not known:
        return ""
    tops = [v for mean, _, _ in known for _, v in mean]
    high, low = max(tops), max(min(tops), float(np.quantile(tops, 0.1)))
    pad = 0.08 * (high - low) or 0.05
    frame = Frame((0.0, max(mean[-1][0] for mean, _, _ in known)), (low - pad, high + pad))
    marks = [(value, f"{value:,.0f}") for value in ticks(*frame.steps, about=5)]
    cases = f"{found['on_the_way']} " if found.get("on_the_way") else ""
    heading = f"{title(str(found['aim']).split('/')[0])} on {cases}validation cases, {words}"
    out = [frame.axes(heading, marks, unit=unit)]
    for place, (mean, lower, upper) in reversed(list(enumerate(lines))):
        if mean:
            kind = str(place) if place < COLOURS else "-other"
            out.append(f'<polygon class="band g{kind}" points="{frame.points([*lower, *upper[::-1]])}"/>')
            out.append(f'<polyline class="line r{kind}" points="{frame.points(mean)}"/>')
    picture = svg(WIDTH, HEIGHT, "".join(out), says=f"{found['aim']} {words}, one line an optimiser")
    return f"<figure>{picture}</figure>"


def over_seeds(curves: Sequence[Sequence[Sequence[float]]], axis: int) -> tuple[Line, Line, Line]:
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
