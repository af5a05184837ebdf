"""The calibration of the probabilities: reliability diagram, and calibration error before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..html import facts_table, format_number, svg_image
from ..read_run import RunFiles
from ._section import Section

SIDE, LEFT, TOP, BARS = 250.0, 44.0, 10.0, 46.0


def calibration_section(run_files: RunFiles) -> str:
    """Return the calibration section, where the task has one."""
    part, fitted = run_files.evaluation.get("calibration"), run_files.run_facts.get("calibration")
    if not isinstance(part, Mapping):
        return ""
    return calibration_html({**(fitted if isinstance(fitted, Mapping) else {}), **part})


def calibration_html(calibration_result: Mapping[str, Any]) -> str:
    """Draw the reliability diagram, with the calibration error before and after."""
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


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Compute the 95 % Wilson interval of a proportion of ``n`` (Wilson 1927).

    >>> [round(v, 3) for v in wilson_interval(0.5, 10)]
    [0.237, 0.763]
    """
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


THIS = Section("Calibration", calibration_section, order=60)
