"""Helpers that build HTML as strings; whatever comes from a file is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def text(value: object) -> str:
    """Escape a value for HTML.

    >>> text("<b>")
    '&lt;b&gt;'
    """
    return escape(str(value), quote=True)


def table(head: Sequence[str], rows: Iterable[str], *, caption: str = "", kind: str = "") -> str:
    """Build a table from header cells (already HTML) and rows (``<tr>`` each)."""
    says = f"<caption>{caption}</caption>" if caption else ""
    name = f' class="{kind}"' if kind else ""
    inside = f"{says}<thead><tr>{''.join(head)}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table{name}>{inside}</table></div>'


def column(name: str, *, number: bool = False, kind: str = "") -> str:
    """Build a header cell of a table."""
    word = kind or ("number" if number else "")
    return f'<th scope="col"{f" class={chr(34)}{word}{chr(34)}" if word else ""}>{name}</th>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Build a table of names and values; empty values are left out."""
    rows = [
        f'<tr><th scope="row">{text(name)}</th><td>{value if isinstance(value, Markup) else text(value)}</td></tr>'
        for name, value in pairs
        if value is not None and value not in ("", [], {})
    ]
    if not rows:
        return ""
    return f'<div class="scroll"><table class="plain"><tbody>{"".join(rows)}</tbody></table></div>'


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def bullets(items: Sequence[object], *, most: int = 30) -> str:
    """Build a bullet list; of a long one, the first items and the number of the others."""
    shown = "".join(f"<li>{text(i)}</li>" for i in items[:most])
    more = f"<li>and {len(items) - most} more, in cohort.json</li>" if len(items) > most else ""
    return f"<ul>{shown}{more}</ul>" if items else ""


def number(value: Any, *, digits: int = 3) -> str:
    """Format a number; a dash where there is none.

    >>> number(0.8764), number(12.3456, digits=2), number(None)
    ('0.876', '12.35', '–')
    """
    if value is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return str(value)
    if value and abs(value) < 10.0**-digits / 2:
        return "≈ 0"
    return f"{value:.{digits}f}".replace("-", "−")


def plural(n: int, one: str, many: str = "") -> str:
    """Format a count with its noun.

    >>> plural(1, "case"), plural(3, "case"), plural(2, "class")
    ('1 case', '3 cases', '2 classes')
    """
    many = many or (f"{one}es" if one.endswith("s") else f"{one}s")
    return f"{n:,} {one if n == 1 else many}".replace(",", " ")


def duration(seconds: Any, *, rough: bool = False) -> str:
    """Format a duration in its two largest units; roughly, in whole minutes from ten minutes on.

    >>> duration(42), duration(754), duration(8100)
    ('42 s', '12 min 34 s', '2 h 15 min')
    """
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    whole = round(seconds / 60) * 60 if rough and seconds >= 600 else round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 1 or seconds == 0 else f"{seconds:.1g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def svg(width: float, height: float, inside: str, *, says: str) -> str:
    """Build an SVG image with an accessible name; it shrinks where there is little room."""
    return (
        f'<svg role="img" aria-label="{text(says)}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}"><title>{text(says)}</title>{inside}</svg>'
    )


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Choose round tick positions that cover a range in about so many steps.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
