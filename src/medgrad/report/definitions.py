"""Definitions of the metrics on a page."""

from __future__ import annotations

from collections.abc import Sequence

from .. import metrics
from .figures import COUNT_METRICS, SPLIT_TITLES, metric_title
from .html import escape_text, format_number


def metric_definitions(metric_names: Sequence[str], *, split: str) -> str:
    """Define each of the metrics on the page, and the method of the intervals."""
    words = [w for w in dict.fromkeys(n.split("/")[0] for n in metric_names) if w not in COUNT_METRICS]
    terms = "".join(
        f"<div><dt>{escape_text(metric_title(w))}</dt><dd>{escape_text(known.definition)}{worst_value_note(w)}</dd></div>"
        for w in words
        if (known := metrics.figure_of(w)) is not None
    )
    side = f" of the {escape_text(SPLIT_TITLES.get(split, split))} cases" if split else ""
    return (
        "<p>Intervals are 95 % bootstrap intervals (bias-corrected and accelerated, 2,000 resamples). Whole "
        f"patients are resampled, each with all cases{side}, because cases of one patient are alike. A case that "
        "could not be read or answered counts with the worst value, it does not vanish. A value of a set is the "
        f"mean over its cases, but where it says otherwise.</p><dl class='terms'>{terms}</dl>"
    )


def worst_value_note(metric_name: str) -> str:
    """Return a sentence on the value of a failed case."""
    value = metrics.figure_of(metric_name)
    if value is None or value.worst is None:
        return ""
    low = "the diagonal of the image" if value.worst == "diagonal" else format_number(float(value.worst), decimals=0)
    return f" A failed case counts as {low}."
