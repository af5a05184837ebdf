"""Training curves: loss terms and validation metrics against the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .html import duration, number, svg, text, ticks

WIDTH, HEIGHT = 500.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 30.0, 40.0
POINTS = 160
Line = list[tuple[float, float]]


def lines_of(steps: Sequence[Mapping[str, Any]], part: str) -> dict[str, Line]:
    """Collect each number of a part (``loss`` or ``valid``) as points (step, value)."""
    found: dict[str, Line] = {}
    for row in steps:
        values = row.get(part)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(str(name), []).append((float(row["step"]), float(value)))
    return {name: sorted(line) for name, line in found.items()}


def thinned(line: Line) -> tuple[Line, Line, Line]:
    """Downsample a line to a limited number of points: mean, 10 % and 90 % quantile of each stretch."""
    if len(line) <= POINTS:
        return line, line, line
    parts = np.array_split(np.array(line), POINTS)
    mean = [(float(p[:, 0].mean()), float(p[:, 1].mean())) for p in parts]
    spread = [np.quantile(p[:, 1], (0.1, 0.9)) for p in parts]
    low, high = ([(x, float(s[side])) for (x, _), s in zip(mean, spread, strict=True)] for side in (0, 1))
    return mean, low, high


class Frame:
    """The axes of a chart: converts steps and values to positions, and draws the grid."""

    def __init__(self, steps: tuple[float, float], values: tuple[float, float]) -> None:
        self.steps, self.values = steps, values

    def x(self, step: float) -> float:
        low, high = self.steps
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - low) / max(high - low, 1e-12)

    def y(self, value: float) -> float:
        low, high = self.values
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (min(max(value, low), high) - low) / max(high - low, 1e-12)

    def points(self, line: Line) -> str:
        return " ".join(f"{self.x(s):.1f},{self.y(v):.1f}" for s, v in line)

    def axes(self, title: str, marks: Sequence[tuple[float, *tuple[str, ...]]], *, unit: str = "") -> str:
        """Draw title, grid and tick labels; a mark is a position and its lines of text."""
        floor = HEIGHT - BOTTOM
        out = [f'<text class="title" x="0" y="14">{text(title)}</text>']
        for value in ticks(*self.values, about=4):
            y = self.y(value)
            out.append(f'<path class="grid" d="M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}"/>')
            out.append(f'<text x="{LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for place, *words in marks:
            x = self.x(place)
            anchor = "end" if x > WIDTH - 24 else "middle"
            out.append(f'<path class="axis" d="M{x:.1f} {floor:g}v4"/>')
            for line, word in enumerate(words):
                out.append(f'<text x="{x:.1f}" y="{floor + 17 + 15 * line:g}" text-anchor="{anchor}">{word}</text>')
        out.append(f'<path class="axis" d="M{LEFT:g} {floor:g}H{WIDTH - RIGHT:g}"/>')
        out.append(f'<text x="0" y="{floor + 17:g}">{unit}</text>')
        return "".join(out)


def clock(steps: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return (step, seconds since the start) from the rows of the step log."""
    rows = sorted((float(r["step"]), float(s)) for r in steps if isinstance(s := r.get("seconds"), int | float))
    times = [s for _, s in rows]
    if any(b < a for a, b in pairwise(times)):
        times = list(accumulate(times))
    return [(step, seconds) for (step, _), seconds in zip(rows, times, strict=True)]


def time_at(step: float, seconds: Sequence[tuple[float, float]]) -> str:
    """Format the elapsed time at a step, by interpolation."""
    if not seconds or step < seconds[0][0]:
        return ""
    steps, times = zip(*seconds, strict=True)
    return duration(round(float(np.interp(step, steps, times))), rough=True)


def chart(title: str, lines: Mapping[str, Line], steps: Sequence[Mapping[str, Any]], *, marked: bool = False) -> str:
    """Draw up to five lines with a legend; ``marked`` draws a dot at each point, else the spread is a band."""
    shown = dict(list(lines.items())[:5])
    if not any(len(line) > 1 for line in shown.values()):
        return ""
    drawn = {name: thinned(line) for name, line in shown.items()}
    reach = [p[1] for mean, low, high in drawn.values() for p in [*mean, *low, *high]]
    low, high = min(reach), max(reach)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    floor = 0.0 if 0 <= low < 0.4 * high else low - pad
    seconds = clock(steps)
    span = (min(p[0] for line in shown.values() for p in line), max(p[0] for line in shown.values() for p in line))
    frame = Frame((0.0 if span[0] < 0.1 * span[1] else span[0], span[1]), (floor, high + pad))
    marks = [(step, f"{step:,.0f}", time_at(step, seconds)) for step in ticks(*frame.steps, about=4)]
    out = [frame.axes(title, marks, unit="step")]
    for i, (mean, lower, upper) in enumerate(drawn.values()):
        if not marked and len(mean) == POINTS:
            out.append(f'<polygon class="band f{i}" points="{frame.points([*lower, *upper[::-1]])}"/>')
        out.append(f'<polyline class="line s{i}" points="{frame.points(mean)}"/>')
        if marked and len(mean) <= 60:
            out += [f'<circle class="f{i}" r="2.6" cx="{frame.x(s):.1f}" cy="{frame.y(v):.1f}"/>' for s, v in mean]
    last = ", ".join(f"{name} ends at {number(line[-1][1])}" for name, line in shown.items())
    key = "".join(f"<li>{sample(i)}{text(name)}</li>" for i, name in enumerate(shown))
    picture = svg(WIDTH, HEIGHT, "".join(out), says=f"{title} against the step; {last}")
    return f'<figure>{picture}<ul class="key">{key}</ul></figure>'


def sample(i: int) -> str:
    """Draw a piece of a line, for the legend."""
    return f'<svg width="30" height="8" aria-hidden="true"><path class="line s{i}" d="M1 4H29"/></svg>'


def curves(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the training charts, or nothing where there is nothing to draw."""
    loss, valid = lines_of(steps, "loss"), lines_of(steps, "valid")
    shares = {n: line for n, line in valid.items() if all(0 <= v <= 1 for _, v in line)}
    others = {n: line for n, line in valid.items() if n not in shares}
    charts = [
        chart("Loss on training cases", loss, steps),
        chart("On validation cases", shares, steps, marked=True),
        chart("On validation cases", others, steps, marked=True),
    ]
    return f'<div class="pair">{"".join(charts)}</div>' if any(charts) else ""
