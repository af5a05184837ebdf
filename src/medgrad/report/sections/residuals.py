"""What a run that answers images changed: by frequency, and in flat regions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..curves import HEIGHT, WIDTH, ChartAxes, Points, draw_line_sample
from ..html import escape_text, format_number, header_cell, html_table, svg_image
from ..read_run import RunFiles
from ._section import Section

LEAST = 1e-9
TICKS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
WORDS = {
    "shown less truth": "what had been done to the images",
    "shown less answer": "what the run took away",
    "answer less truth": "what is still wrong",
    "truth": "true images",
    "answer": "answers",
}
RESTORED = (
    "Where the line of what was taken away lies above that of what had been done, structure went with it; where it "
    "lies below, something was left."
)
SYNTHETIC = (
    "Where the answers lie below the true images, they are smoother than these; above, they have details of their own."
)


def residuals_section(run_files: RunFiles) -> str:
    """Return the spectrum and the table of regions, or nothing where there are none."""
    found: Any = run_files.run_facts.get("residuals")
    if not isinstance(found, Mapping) or not isinstance(found.get("power"), Mapping):
        return ""
    lines = {str(name): points_of(values) for name, values in found["power"].items()}
    chart = draw_spectrum({name: line for name, line in lines.items() if len(line) > 1})
    told = RESTORED if "shown less truth" in lines else SYNTHETIC
    cases = escape_text(str(found.get("cases")))
    words = f"<p>Mean of {cases} validation images. {told}</p>"
    return f"{words}{chart}{regions_table(found.get('regions'))}"


def points_of(values: Any) -> Points:
    """Give the middle of each band of frequency with its power in dB; bands without any are left out."""
    if not isinstance(values, Sequence):
        return []
    return [
        ((band + 0.5) / (2 * len(values)), 10 * math.log10(max(float(value), LEAST)))
        for band, value in enumerate(values)
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def draw_spectrum(lines: Mapping[str, Points]) -> str:
    """Draw power against frequency, with a legend."""
    if not lines:
        return ""
    levels = [level for line in lines.values() for _, level in line]
    frame = ChartAxes((0.0, 0.5), (min(levels) - 2, max(levels) + 2))
    marks = [(tick, f"{tick:g}") for tick in TICKS]
    out = [frame.draw_axes("Power by frequency, dB of the true images' variance", marks, unit="cycles")]
    out += [
        f'<polyline class="line s{i}" points="{frame.format_points(line)}"/>' for i, line in enumerate(lines.values())
    ]
    said = ", ".join(f"{name} ends at {format_number(line[-1][1])} dB" for name, line in lines.items())
    picture = svg_image(WIDTH, HEIGHT, "".join(out), description=f"Power against cycles an element; {said}")
    key = "".join(
        f"<li>{draw_line_sample(i)}{escape_text(WORDS.get(name, name))} ({escape_text(name)})</li>"
        for i, name in enumerate(lines)
    )
    return f'<figure>{picture}<ul class="key">{key}</ul></figure>'


def regions_table(regions: Any) -> str:
    """Return the table of means and deviations in flat regions, or nothing."""
    if not isinstance(regions, Mapping) or not regions:
        return ""
    columns = ("truth", "shown", "answer", "shown noise", "answer noise")
    heads = [header_cell("Flat region")] + [
        header_cell(name, is_number=True)
        for name in ("Mean, truth", "shown", "answer", "Deviation from the truth, shown", "answer")
    ]
    rows = []
    for name, figures in regions.items():
        cells = [figures.get(column) if isinstance(figures, Mapping) else None for column in columns]
        told = [format_number(v) if isinstance(v, int | float) and math.isfinite(v) else "" for v in cells]
        rows.append(
            f'<tr><th scope="row">{escape_text(str(name))}</th>'
            + "".join(f'<td class="number">{value}</td>' for value in told)
            + "</tr>"
        )
    return html_table(heads, rows)


THIS = Section("What was changed", residuals_section, order=43)
