"""Training curves: loss terms and validation metrics against the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .html import escape_text, format_duration, format_number, round_ticks, svg_image

WIDTH, HEIGHT = 500.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 30.0, 40.0
MAX_POINTS = 160
Points = list[tuple[float, float]]


def collect_lines(steps: Sequence[Mapping[str, Any]], section: str) -> dict[str, Points]:
    """Collect each number of a part (``loss`` or ``valid``) as points (step, value)."""
    found: dict[str, Points] = {}
    for row in steps:
        values = row.get(section)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(str(name), []).append((float(row["step"]), float(value)))
    return {name: sorted(line) for name, line in found.items()}


def downsample_line(line: Points) -> tuple[Points, Points, Points]:
    """Downsample a line to a limited number of points: mean, 10 % and 90 % quantile of each stretch."""
    if len(line) <= MAX_POINTS:
        return line, line, line
    parts = np.array_split(np.array(line), MAX_POINTS)
    mean = [(float(p[:, 0].mean()), float(p[:, 1].mean())) for p in parts]
    spread = [np.quantile(p[:, 1], (0.1, 0.9)) for p in parts]
    low, high = ([(x, float(s[side])) for (x, _), s in zip(mean, spread, strict=True)] for side in (0, 1))
    return mean, low, high


class ChartAxes:
    """The axes of a chart: converts steps and values to positions, and draws the grid."""

    def __init__(self, steps: tuple[float, float], values: tuple[float, float]) -> None:
        self.steps, self.values = steps, values

    def to_x(self, step: float) -> float:
        low, high = self.steps
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - low) / max(high - low, 1e-12)

    def to_y(self, value: float) -> float:
        low, high = self.values
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (min(max(value, low), high) - low) / max(high - low, 1e-12)

    def format_points(self, line: Points) -> str:
        return " ".join(f"{self.to_x(s):.1f},{self.to_y(v):.1f}" for s, v in line)

    def draw_axes(self, title: str, tick_labels: Sequence[tuple[float, *tuple[str, ...]]], *, unit: str = "") -> str:
        """Draw title, grid and tick labels; a mark is a position and its lines of text."""
        floor = HEIGHT - BOTTOM
        out = [f'<text class="title" x="0" y="14">{escape_text(title)}</text>']
        for value in round_ticks(*self.values, n_ticks=4):
            y = self.to_y(value)
            out.append(f'<path class="grid" d="M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}"/>')
            out.append(f'<text x="{LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for place, *words in tick_labels:
            x = self.to_x(place)
            anchor = "end" if x > WIDTH - 24 else "middle"
            out.append(f'<path class="axis" d="M{x:.1f} {floor:g}v4"/>')
            for line, word in enumerate(words):
                out.append(f'<text x="{x:.1f}" y="{floor + 17 + 15 * line:g}" text-anchor="{anchor}">{word}</text>')
        out.append(f'<path class="axis" d="M{LEFT:g} {floor:g}H{WIDTH - RIGHT:g}"/>')
        out.append(f'<text x="0" y="{floor + 17:g}">{unit}</text>')
        return "".join(out)


def elapsed_seconds(steps: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return (step, seconds since the start) from the rows of the step log."""
    rows = sorted((float(r["step"]), float(s)) for r in steps if isinstance(s := r.get("seconds"), int | float))
    times = [s for _, s in rows]
    if any(b < a for a, b in pairwise(times)):
        times = list(accumulate(times))
    return [(step, seconds) for (step, _), seconds in zip(rows, times, strict=True)]


def format_time_at_step(step: float, seconds: Sequence[tuple[float, float]]) -> str:
    """Format the elapsed time at a step, by interpolation."""
    if not seconds or step < seconds[0][0]:
        return ""
    steps, times = zip(*seconds, strict=True)
    return format_duration(round(float(np.interp(step, steps, times))), in_minutes=True)


def draw_chart(
    title: str, lines: Mapping[str, Points], steps: Sequence[Mapping[str, Any]], *, with_dots: bool = False
) -> str:
    """Draw up to five lines with a legend; ``with_dots`` draws a dot at each point, else the spread is a band."""
    shown = dict(list(lines.items())[:5])
    if not any(len(line) > 1 for line in shown.values()):
        return ""
    drawn = {name: downsample_line(line) for name, line in shown.items()}
    reach = [p[1] for mean, low, high in drawn.values() for p in [*mean, *low, *high]]
    low, high = min(reach), max(reach)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    floor = 0.0 if 0 <= low < 0.4 * high else low - pad
    seconds = elapsed_seconds(steps)
    span = (min(p[0] for line in shown.values() for p in line), max(p[0] for line in shown.values() for p in line))
    frame = ChartAxes((0.0 if span[0] < 0.1 * span[1] else span[0], span[1]), (floor, high + pad))
    marks = [
        (step, f"{step:,.0f}", format_time_at_step(step, seconds)) for step in round_ticks(*frame.steps, n_ticks=4)
    ]
    out = [frame.draw_axes(title, marks, unit="step")]
    for i, (mean, lower, upper) in enumerate(drawn.values()):
        if not with_dots and len(mean) == MAX_POINTS:
            out.append(f'<polygon class="band f{i}" points="{frame.format_points([*lower, *upper[::-1]])}"/>')
        out.append(f'<polyline class="line s{i}" points="{frame.format_points(mean)}"/>')
        if with_dots and len(mean) <= 60:
            out += [
                f'<circle class="f{i}" r="2.6" cx="{frame.to_x(s):.1f}" cy="{frame.to_y(v):.1f}"/>' for s, v in mean
            ]
    last = ", ".join(f"{name} ends at {format_number(line[-1][1])}" for name, line in shown.items())
    key = "".join(f"<li>{draw_line_sample(i)}{escape_text(name)}</li>" for i, name in enumerate(shown))
    picture = svg_image(WIDTH, HEIGHT, "".join(out), description=f"{title} against the step; {last}")
    return f'<figure>{picture}<ul class="key">{key}</ul></figure>'


def draw_line_sample(line_index: int) -> str:
    """Draw a piece of a line, for the legend."""
    return f'<svg width="30" height="8" aria-hidden="true"><path class="line s{line_index}" d="M1 4H29"/></svg>'


def curves_html(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the training charts, or nothing where there is nothing to draw."""
    loss, valid = collect_lines(steps, "loss"), collect_lines(steps, "valid")
    shares = {n: line for n, line in valid.items() if all(0 <= v <= 1 for _, v in line)}
    others = {n: line for n, line in valid.items() if n not in shares}
    charts = [
        draw_chart("Loss on training cases", loss, steps),
        draw_chart("On validation cases", shares, steps, with_dots=True),
        draw_chart("On validation cases", others, steps, with_dots=True),
    ]
    return f'<div class="pair">{"".join(charts)}</div>' if any(charts) else ""
