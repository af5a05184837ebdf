"""Table of all metrics with their intervals, also drawn as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import metrics
from .html import column, number, svg, table, text, ticks

WIDTH, HEIGHT = 384.0, 22.0
EDGE = 8.0
COUNTS = {
    "true_positives",
    "false_positives",
    "false_negatives",
    "true_negatives",
    "lesion_count",
    "lesion_found",
    "lesion_answers",
}
NAMES = {
    "dice": "Dice",
    "iou": "Intersection over union",
    "hd95": "Hausdorff distance (95\u00a0%)",
    "assd": "Mean surface distance",
    "nsd": "Surface Dice",
    "volume_error": "Volume error, relative",
    "volume_bias_ml": "Volume, answer minus truth",
    "area_bias_mm2": "Area, answer minus truth",
    "size_bias_px": "Size, answer minus truth",
    "empty_agreed": "Rightly left empty",
    "auroc": "AUROC",
    "ece": "Calibration error",
    "brier": "Brier score",
    "f1": "F1",
    "lesion_f1": "Lesion F1",
    "ap": "AP",
    "map": "Mean AP",
    "cpm": "CPM",
    "tre_mm": "Landmark error",
}


def title(word: str) -> str:
    """Return the readable name of a metric.

    >>> title("nsd"), title("balanced_accuracy"), title("map@0.5"), title("sensitivity@1fp")
    ('Surface Dice', 'Balanced accuracy', 'Mean AP at 0.5', 'Sensitivity at 1 false a case')
    """
    word, _, at = word.partition("@")
    at = f"{at.removesuffix('fp')} false a case" if at.endswith("fp") else at
    return (NAMES.get(word) or word.replace("_", " ").capitalize()) + (f" at {at}" if at else "")


def named(of: str) -> str:
    """Return the name of a label for display.

    >>> named("liver"), named("2")
    ('liver', 'label 2')
    """
    return f"label {of}" if of.isdigit() else of


def digits(name: str) -> int:
    """Return the decimals of a metric: three for a proportion, two for a length or a volume."""
    return 2 if metrics.unit(name) else 3


def known(figure: Any) -> dict[str, float | None]:
    """Return value, low, high and n of a metric as numbers or None."""
    row = figure if isinstance(figure, Mapping) else {"value": figure}
    return {k: v if isinstance(v := row.get(k), int | float) else None for k in ("value", "low", "high", "n")}


def grouped(figures: Mapping[str, Any]) -> dict[str, list[str]]:
    """Group the metric names by their first word: proportions first, counts left out.

    In a group the mean comes first. Where all are equal (the mean over a single label, the AUROC of either of two
    classes), one is kept.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(figures, key=lambda n: not is_share(n)):
        if name.split("/")[0] not in COUNTS and not is_void(known(figures[name])):
            groups.setdefault(name.split("/")[0], []).append(name)
    for word, members in groups.items():
        groups[word] = sorted(members, key=lambda n: n not in (word, f"{word}/mean"))
        rows = [[round(v, 9) if v is not None else None for v in known(figures[n]).values()] for n in groups[word]]
        if len(rows) > 1 and all(row == rows[0] for row in rows):
            groups[word] = [n for n in groups[word] if n == word or n != f"{word}/mean"][:1]
    return groups


def is_void(row: Mapping[str, float | None]) -> bool:
    """Tell whether a metric is undefined for every patient, so that there is nothing to show."""
    return row["value"] is None and not row["n"]


def is_share(name: str) -> bool:
    """Tell whether a metric lies between 0 and 1, and is drawn on the common axis of proportions."""
    return metrics.bounds(name) == (0.0, 1.0)


def span(names: Sequence[str], figures: Mapping[str, Any]) -> tuple[float, float]:
    """Return the axis range of a group of metrics: 0 to 1 for proportions, else from 0 or less to the highest."""
    rows = [known(figures[n]) for n in names]
    values = [v for row in rows for v in (row["value"], row["low"], row["high"]) if v is not None]
    if metrics.bounds(names[0]) == (0.0, 1.0) or not values:
        return 0.0, 1.0
    low, high = min(0.0, *values), max(0.0, *values)
    return low, high if high > low else low + 1.0


def bar(row: Mapping[str, float | None], ends: tuple[float, float], *, says: str, bold: bool) -> str:
    """Draw a value and its interval on the axis of its group."""
    low, high = ends

    def x(value: float) -> float:
        return EDGE + (WIDTH - 2 * EDGE) * min(max((value - low) / (high - low), 0.0), 1.0)

    marks = "".join(f'<path class="grid" d="M{x(t):.1f} 4V18"/>' for t in ticks(low, high, about=4))
    out = f'<path class="track" d="M{EDGE:g} 11H{WIDTH - EDGE:g}"/>{marks}'
    if row["low"] is not None and row["high"] is not None:
        width = "bar" if bold else "bar thin"
        out += f'<path class="{width}" d="M{x(row["low"]):.1f} 11H{x(row["high"]):.1f}"/>'
    if row["value"] is not None:
        out += f'<circle class="dot" cx="{x(row["value"]):.1f}" cy="11" r="{5 if bold else 4}"/>'
    return svg(WIDTH, HEIGHT, out, says=says)


def scale(ends: tuple[float, float], unit: str) -> str:
    """Draw the tick labels of a group's axis."""
    low, high = ends
    out = ""
    for value in ticks(low, high, about=4):
        x = EDGE + (WIDTH - 2 * EDGE) * (value - low) / (high - low)
        anchor = "start" if x < 16 else "end" if x > WIDTH - 16 else "middle"
        place = 0 if anchor == "start" else WIDTH if anchor == "end" else x
        out += f'<text x="{place:.1f}" y="14" text-anchor="{anchor}">{value:g}</text>'
    return svg(WIDTH, 18, out, says=f"axis from {low:g} to {high:g} {unit}")


def forest(figures: Mapping[str, Any], *, measured: bool = True) -> str:
    """Return the table of all metrics with value, interval, patients and a bar (a forest plot), in groups."""
    rows = []
    for word, names in grouped(figures).items():
        ends, unit = span(names, figures), metrics.unit(word, measured=measured)
        if len(names) == 1 and is_share(word):
            rows.append(one_row(names[0], known(figures[names[0]]), ends, alone=True))
            continue
        way = {"higher": "higher is better", "lower": "lower is better", "zero": "best at 0"}[metrics.better(word)]
        note = ", ".join(p for p in (unit, way) if p)
        axis = "" if is_share(word) else scale(ends, unit)
        rows.append(
            f'<tr class="group"><th scope="rowgroup" colspan="4">{text(title(word))} '
            f'<span class="soft small">{text(note)}</span></th><td class="plot">{axis}</td></tr>'
        )
        rows += [one_row(name, known(figures[name]), ends) for name in names]
    head = [
        column("Figure"),
        column("Value", number=True),
        column("95 % interval", number=True),
        column("Patients", number=True),
        column(scale((0.0, 1.0), "") if any(is_share(n) for n in figures) else "", kind="plot"),
    ]
    return table(head, rows, kind="forest") if rows else ""


def one_row(name: str, row: Mapping[str, float | None], ends: tuple[float, float], *, alone: bool = False) -> str:
    """Return the table row of one metric; ``alone`` is one without a group heading."""
    word, _, of = name.partition("/")
    label = {"": "all", "mean": "mean over labels"}.get(of) or named(of)
    d = digits(name)
    value, low, high = (number(row[k], digits=d) for k in ("value", "low", "high"))
    interval = f"{low} to {high}" if row["low"] is not None else "–"
    says = f"{title(word)}, {label}: {value}, interval {interval}"
    drawn = bar(row, ends, says=says, bold=of in ("", "mean"))
    n = "–" if row["n"] is None else f"{int(row['n'])}"
    way = {"higher": "higher is better", "lower": "lower is better", "zero": "best at 0"}[metrics.better(word)]
    first = f"{text(title(word))}{f', {text(named(of))}' if of else ''}" if alone else text(label)
    first += f' <span class="soft small nowrap">{way}</span>' if alone else ""
    return (
        f'<tr class="{"alone" if alone else "sub"}"><th scope="row">{first}</th><td class="number">{value}</td>'
        f'<td class="number">{interval}</td><td class="number">{n}</td><td class="plot">{drawn}</td></tr>'
    )
