"""Health of the network in training: gradients and updates of each layer, findings and remedies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..html import bullet_list, escape_text, svg_image
from ..read_run import RunFiles
from ._section import Section

COLUMNS, ROWS = 36, 60
NAME, CELL, TALL, SHORT = 150.0, 9.0, 12.0, 7.0
TOP, BOTTOM = 22.0, 20.0
SHADES = 9
HEATMAP_TITLES = {
    "gradient": ("Gradient of each layer", "The norm of the gradient that the optimiser was given."),
    "update": ("Change of each layer", "The change that one step made, against what a unit says before it."),
}


def diagnostics_section(run_files: RunFiles) -> str:
    """Return the training diagnostics, or nothing where they were not recorded."""
    steps, remedies = run_files.steps, run_files.run_facts.get("healed", ())
    seen = [row for row in steps if isinstance(row.get("health"), Mapping) and row["health"].get("layers")]
    found = [row["finding"] | {"step": row["step"]} for row in steps if isinstance(row.get("finding"), Mapping)]
    if not seen and not remedies:
        return ""
    drawn = "".join(draw_layer_heatmap(seen, what) for what in HEATMAP_TITLES)
    return f'{findings_list(found, remedies)}<div class="pair">{drawn}</div>'


def findings_list(findings: Sequence[Mapping[str, Any]], remedies: Sequence[Mapping[str, Any]]) -> str:
    """List findings and remedies, or say that there were none."""
    lines = [f"Step {h['step']}: {h['sentence']} {h['remedy']}" for h in remedies]
    lines += [f"Step {f['step']}: {f['sentence']}" for f in findings]
    if not lines:
        return "<p>Nothing ailed it: no layer's gradient vanished, no step was too long, no unit died.</p>"
    return bullet_list(lines)


def draw_layer_heatmap(step_rows: Sequence[Mapping[str, Any]], quantity: str) -> str:
    """Draw a heatmap of one quantity of every layer over time, on a logarithmic scale."""
    if not step_rows:
        return ""
    names = list(step_rows[0]["health"]["layers"])
    picked = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(ROWS, len(names))).astype(int))]
    columns = [
        step_rows[i] for i in np.unique(np.linspace(0, len(step_rows) - 1, min(COLUMNS, len(step_rows))).astype(int))
    ]
    values = np.array([[layer_value(row, name, quantity) for row in columns] for name in picked])
    shades, step = values_to_shades(values)
    tall = TALL if len(picked) <= 30 else SHORT
    width, height = NAME + CELL * COLUMNS + 8, TOP + tall * len(picked) + BOTTOM
    wide = CELL * COLUMNS / len(columns)
    title, meaning = HEATMAP_TITLES[quantity]
    out = [f'<text class="title" x="0" y="12">{escape_text(title)}</text>']
    for r, name in enumerate(picked):
        y = TOP + r * tall
        if tall == TALL or r % 2 == 0:
            out.append(
                f'<text x="{NAME - 6:g}" y="{y + tall - 2:.1f}" text-anchor="end">'
                f"{escape_text(shorten_layer_name(name))}</text>"
            )
        for c, shade in enumerate(shades[r]):
            if shade > 0:
                place = f'x="{NAME + c * wide:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:g}"'
                out.append(f'<rect class="heat" {place} opacity="{shade / SHADES:.2f}"/>')
    for at in (0, len(columns) - 1):
        anchor = "start" if at == 0 else "end"
        x = NAME + (0 if at == 0 else CELL * COLUMNS)
        out.append(f'<text x="{x:.1f}" y="{height - 6:.1f}" text-anchor="{anchor}">step {columns[at]["step"]:,}</text>')
    picture = svg_image(width, height, "".join(out), description=f"{title} over the steps")
    words = f"{meaning} A shade darker is {step} times more."
    return f"<figure>{picture}<figcaption>{escape_text(words)}</figcaption></figure>"


def layer_value(row: Mapping[str, Any], name: str, quantity: str) -> float:
    """Return a layer's value at a step, or nan."""
    found = row["health"]["layers"].get(name, {}).get(quantity)
    return float(found) if isinstance(found, (int, float)) else math.nan


def values_to_shades(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], str]:
    """Convert values to shades on a logarithmic scale (0: no value); also return the factor of one shade."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(values)
    known = logs[np.isfinite(logs)]
    if not len(known):
        return np.zeros(values.shape, np.int64), "2"
    top = float(known.max())
    span = top - float(known.min())
    most = math.ceil(span / SHADES)
    scales = ((math.log10(2), "2"), (0.5, "3"), (1.0, "10"), (2.0, "100"), (float(most), f"10 to the {most}"))
    size, word = next((size, word) for size, word in scales if size * SHADES >= span)
    shades = np.where(np.isfinite(logs), np.clip(SHADES - np.floor((top - logs) / size), 1, SHADES), 0)
    return shades.astype(np.int64), word


def shorten_layer_name(name: str) -> str:
    """Shorten a layer's name.

    >>> shorten_layer_name("network.encoder.0.1.first.0.weight")
    'encoder.0.1.first.0'
    """
    return name.removeprefix("network.").removesuffix(".weight")[-24:]


THIS = Section("Health of the network", diagnostics_section, order=110)
