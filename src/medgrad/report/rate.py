"""Report of a learning rate range test: the loss against the rate, and the suggested rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from .curves import BOTTOM, HEIGHT, TOP, WIDTH, Frame
from .html import svg, text
from .page import document


def write_rate(path: Path | str, rates: Sequence[float], losses: Sequence[float], rate: float) -> Path:
    """Write the page of a learning rate range test, and return its path."""
    out = Path(path)
    picture = rate_curve(rates, losses, rate)
    body = (
        f'<header><p class="kicker">Rate finder</p><h1>Take a rate of {rate:.2g}</h1><p class="verdict">While the rate '
        "rose from step to step, the loss first stood still, then fell, then came apart. A tenth of the rate at which "
        f"it was lowest learns fast and is safe.</p></header><section>{picture}</section>"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(document("Rate finder", body), encoding="utf-8")
    return out


def rate_curve(rates: Sequence[float], losses: Sequence[float], rate: float) -> str:
    """Draw the loss against the learning rate, on a logarithmic scale, with the suggested rate."""
    places = [math.log10(r) for r in rates]
    low, high = min(losses), min(max(losses), 2 * losses[0] - min(losses) if losses[0] > min(losses) else max(losses))
    pad = 0.08 * (high - low) or 0.1
    frame = Frame((places[0], places[-1]), (low - pad, high + pad))
    powers = range(math.ceil(places[0]), math.floor(places[-1]) + 1)
    out = [frame.axes("Loss against the rate", [(power, f"{10.0**power:g}") for power in powers])]
    out.append(f'<polyline class="line s0" points="{frame.points(list(zip(places, losses, strict=True)))}"/>')
    if places[0] <= math.log10(rate) <= places[-1]:
        x = frame.x(math.log10(rate))
        out.append(f'<path class="line s1" d="M{x:.1f} {TOP:g}V{HEIGHT - BOTTOM:g}"/>')
        out.append(f'<text x="{x + 5:.1f}" y="{TOP + 12:g}">{text(f"{rate:.2g}")}</text>')
    return (
        f"<figure>{svg(WIDTH, HEIGHT, ''.join(out), says=f'the loss against the rate; {rate:.2g} is taken')}</figure>"
    )
