"""Whether a network that finds anomalies is better than the plain z-score of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..figures import metric_title
from ..headline import evaluation_metrics
from ..html import escape_text, header_cell, html_table
from ..read_run import RunFiles
from ._section import Section

FIGURES = ("element_average_precision", "element_auroc", "image_auroc")


def anomaly_section(run_files: RunFiles) -> str:
    """Return each figure of the network beside that of the z-score, and which is better; nothing without both."""
    found = evaluation_metrics(run_files)
    named = [name for name in FIGURES if is_known(found.get(name)) and is_known(found.get(f"{name}_zscore"))]
    if not named:
        return ""
    rows = [
        f'<tr><th scope="row">{escape_text(metric_title(name))}</th><td class="number">{found[name]["value"]:.3f}</td>'
        f'<td class="number">{found[f"{name}_zscore"]["value"]:.3f}</td>'
        f'<td class="number">{interval(found.get(f"{name}_gain"))}</td></tr>'
        for name in named
    ]
    heads = [header_cell("Figure"), *(header_cell(h, is_number=True) for h in ("Network", "z-score", "Difference"))]
    main = next((n for n in run_files.evaluation.get("headline") or () if n in named), named[0])
    return f"<p>{escape_text(verdict(main, found))} {escape_text(about(run_files))}</p>{html_table(heads, rows)}"


def is_known(row: Any) -> bool:
    """Tell whether a figure has a value."""
    return isinstance(row, Mapping) and isinstance(row.get("value"), int | float)


def interval(row: Any) -> str:
    """Give a difference with its interval in a few words."""
    if not is_known(row):
        return "–"
    ends = f" ({row['low']:+.3f} to {row['high']:+.3f})" if has_interval(row) else ""
    return f"{row['value']:+.3f}{ends}"


def has_interval(row: Any) -> bool:
    """Tell whether a figure has an interval."""
    return isinstance(row, Mapping) and all(isinstance(row.get(end), int | float) for end in ("low", "high"))


def verdict(name: str, found: Mapping[str, Any]) -> str:
    """Say in one sentence which of both is better, by the paired interval over patients."""
    row, what = found.get(f"{name}_gain"), metric_title(name)
    if not has_interval(row):
        return f"Whether the network is above the z-score cannot be said: there is no interval for {what}."
    ends = f"{row['low']:+.3f} to {row['high']:+.3f}, paired by patient"  # type: ignore[index]
    if row["low"] > 0:  # type: ignore[index]
        return f"The network is above the z-score: {what} by {ends}."
    below = ", but below it" if row["high"] < 0 else ""  # type: ignore[index]
    return f"The network is not above the z-score{below}: {what} by {ends}."


def about(run_files: RunFiles) -> str:
    """Say what both were judged on, and what the z-score is."""
    held = run_files.run_facts.get("zscore")
    by_element = isinstance(held, Mapping) and held.get("by_element")
    is_planted = any(str(row.get("case", "")).endswith("+lesion") for row in run_files.cases)
    planted = "The anomalies are balls that were planted into held-out images, not disease. " if is_planted else ""
    how = "of each element over the training images" if by_element else "of all values of the training images"
    kind = f"The z-score takes mean and deviation {how}. " if held else ""
    return f"{planted}{kind}Both maps are smoothed alike."


THIS = Section("Beside the plain z-score", anomaly_section, order=25)
