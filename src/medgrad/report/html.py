"""Helpers that build HTML as strings; whatever comes from a file is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def escape_text(value: object) -> str:
    """Escape a value for HTML.

    >>> escape_text("<b>")
    '&lt;b&gt;'
    """
    return escape(str(value), quote=True)


def html_table(header_cells: Sequence[str], rows: Iterable[str], *, caption: str = "", css_class: str = "") -> str:
    """Build a table from header cells (already HTML) and rows (``<tr>`` each)."""
    says = f"<caption>{caption}</caption>" if caption else ""
    name = f' class="{css_class}"' if css_class else ""
    inside = f"{says}<thead><tr>{''.join(header_cells)}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table{name}>{inside}</table></div>'


def header_cell(name: str, *, is_number: bool = False, css_class: str = "") -> str:
    """Build a header cell of a table."""
    word = css_class or ("number" if is_number else "")
    return f'<th scope="col"{f" class={chr(34)}{word}{chr(34)}" if word else ""}>{name}</th>'


def facts_table(pairs: Iterable[tuple[str, object]]) -> str:
    """Build a table of names and values; empty values are left out."""
    rows = [
        f'<tr><th scope="row">{escape_text(name)}</th><td>'
        f"{value if isinstance(value, Markup) else escape_text(value)}</td></tr>"
        for name, value in pairs
        if value is not None and value not in ("", [], {})
    ]
    if not rows:
        return ""
    return f'<div class="scroll"><table class="plain"><tbody>{"".join(rows)}</tbody></table></div>'


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def bullet_list(items: Sequence[object], *, max_items: int = 30) -> str:
    """Build a bullet list; of a long one, the first items and the number of the others."""
    shown = "".join(f"<li>{escape_text(i)}</li>" for i in items[:max_items])
    more = f"<li>and {len(items) - max_items} more, in cohort.json</li>" if len(items) > max_items else ""
    return f"<ul>{shown}{more}</ul>" if items else ""


def format_number(value: Any, *, decimals: int = 3) -> str:
    """Format a number; a dash where there is none.

    >>> format_number(0.8764), format_number(12.3456, decimals=2), format_number(None)
    ('0.876', '12.35', '–')
    """
    if value is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return str(value)
    if value and abs(value) < 10.0**-decimals / 2:
        return "≈ 0"
    return f"{value:.{decimals}f}".replace("-", "−")


def format_count(n: int, singular: str, plural_form: str = "") -> str:
    """Format a count with its noun.

    >>> format_count(1, "case"), format_count(3, "case"), format_count(2, "class")
    ('1 case', '3 cases', '2 classes')
    """
    plural_form = plural_form or (f"{singular}es" if singular.endswith("s") else f"{singular}s")
    return f"{n:,} {singular if n == 1 else plural_form}".replace(",", " ")


def format_duration(seconds: Any, *, in_minutes: bool = False) -> str:
    """Format a duration in its two largest units; roughly, in whole minutes from ten minutes on.

    >>> format_duration(42), format_duration(754), format_duration(8100)
    ('42 s', '12 min 34 s', '2 h 15 min')
    """
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    whole = round(seconds / 60) * 60 if in_minutes and seconds >= 600 else round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 1 or seconds == 0 else f"{seconds:.1g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def svg_image(width: float, height: float, content: str, *, description: str) -> str:
    """Build an SVG image with an accessible name; it shrinks where there is little room."""
    return (
        f'<svg role="img" aria-label="{escape_text(description)}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}"><title>{escape_text(description)}</title>{content}</svg>'
    )


def round_ticks(low: float, high: float, *, n_ticks: int = 5) -> list[float]:
    """Choose round tick positions that cover a range in about so many steps.

    >>> round_ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / n_ticks
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
