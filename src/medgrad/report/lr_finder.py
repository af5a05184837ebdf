"""Report of a learning rate range test: the loss against the rate, and the suggested rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from .curves import BOTTOM, HEIGHT, TOP, WIDTH, ChartAxes
from .html import escape_text, svg_image
from .page import html_document


def write_rate(path: Path | str, rates: Sequence[float], losses: Sequence[float], chosen_rate: float) -> Path:
    """Write the page of a learning rate range test, and return its path."""
    out = Path(path)
    picture = draw_rate_curve(rates, losses, chosen_rate)
    body = (
        f'<header><p class="kicker">Rate finder</p><h1>Take a rate of {chosen_rate:.2g}</h1><p '
        'class="verdict">While the rate '
        "rose from step to step, the loss first stood still, then fell, then came apart. A tenth of the rate at which "
        f"it was lowest learns fast and is safe.</p></header><section>{picture}</section>"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html_document("Rate finder", body), encoding="utf-8")
    return out


def draw_rate_curve(rates: Sequence[float], losses: Sequence[float], chosen_rate: float) -> str:
    """Draw the loss against the learning rate, on a logarithmic scale, with the suggested rate."""
    places = [math.log10(r) for r in rates]
    low, high = min(losses), min(max(losses), 2 * losses[0] - min(losses) if losses[0] > min(losses) else max(losses))
    pad = 0.08 * (high - low) or 0.1
    frame = ChartAxes((places[0], places[-1]), (low - pad, high + pad))
    powers = range(math.ceil(places[0]), math.floor(places[-1]) + 1)
    out = [frame.draw_axes("Loss against the rate", [(power, f"{10.0**power:g}") for power in powers])]
    out.append(f'<polyline class="line s0" points="{frame.format_points(list(zip(places, losses, strict=True)))}"/>')
    if places[0] <= math.log10(chosen_rate) <= places[-1]:
        x = frame.to_x(math.log10(chosen_rate))
        out.append(f'<path class="line s1" d="M{x:.1f} {TOP:g}V{HEIGHT - BOTTOM:g}"/>')
        out.append(f'<text x="{x + 5:.1f}" y="{TOP + 12:g}">{escape_text(f"{chosen_rate:.2g}")}</text>')
    says = f"the loss against the rate; {chosen_rate:.2g} is taken"
    return f"<figure>{svg_image(WIDTH, HEIGHT, ''.join(out), description=says)}</figure>"
