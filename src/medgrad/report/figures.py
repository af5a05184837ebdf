"""Table of all metrics with their intervals, also drawn as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import metrics
from ..data.display import small_table
from .html import escape_text, format_number, header_cell, html_table, round_ticks, svg_image

WIDTH, HEIGHT = 384.0, 22.0
BAR_MARGIN = 8.0
COUNT_METRICS = {
    "true_positives",
    "false_positives",
    "false_negatives",
    "true_negatives",
    "lesion_count",
    "lesion_found",
    "lesion_answers",
}
METRIC_TITLES = {
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
    "psnr": "PSNR",
    "psnr_before": "PSNR of the image shown",
    "ssim": "SSIM",
    "ssim_before": "SSIM of the image shown",
    "nrmse": "NRMSE",
    "mae": "Mean absolute error",
    "element_auroc": "AUROC of elements",
    "element_auroc_zscore": "AUROC of elements, z-score",
    "element_auroc_gain": "AUROC of elements, above the z-score",
    "element_average_precision": "Average precision of elements",
    "element_average_precision_zscore": "Average precision of elements, z-score",
    "element_average_precision_gain": "Average precision of elements, above the z-score",
    "image_auroc": "AUROC of images",
    "image_auroc_zscore": "AUROC of images, z-score",
    "image_auroc_gain": "AUROC of images, above the z-score",
    "normal_error": "Error in normal images",
}
SPLIT_TITLES = {"train": "training", "val": "validation", "test": "test", "": "no side"}


def metric_title(metric_name: str) -> str:
    """Return the readable name of a metric.

    >>> metric_title("nsd"), metric_title("balanced_accuracy"), metric_title("map@0.5"), metric_title("sensitivity@1fp")
    ('Surface Dice', 'Balanced accuracy', 'Mean AP at 0.5', 'Sensitivity at 1 false a case')
    """
    metric_name, _, at = metric_name.partition("@")
    at = f"{at.removesuffix('fp')} false a case" if at.endswith("fp") else at
    return (METRIC_TITLES.get(metric_name) or metric_name.replace("_", " ").capitalize()) + (f" at {at}" if at else "")


def label_title(label: str) -> str:
    """Return the name of a label for display.

    >>> label_title("liver"), label_title("2")
    ('liver', 'label 2')
    """
    return f"label {label}" if label.isdigit() else label


def metric_label(name: str) -> str:
    """Return the readable name of a metric and its label.

    >>> metric_label("dice/liver")
    'Dice, liver'
    """
    word, _, of = name.partition("/")
    return f"{metric_title(word)}, {label_title(of)}" if of else metric_title(word)


def decimals(name: str) -> int:
    """Return the decimals of a metric: three for a proportion, two for a length or a volume."""
    return 2 if metrics.unit_of(name) else 3


def interval_numbers(metric: Any) -> dict[str, float | None]:
    """Return value, low, high and n of a metric as numbers or None."""
    row = metric if isinstance(metric, Mapping) else {"value": metric}
    return {k: v if isinstance(v := row.get(k), int | float) else None for k in ("value", "low", "high", "n")}


def group_metrics(metric_values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Group the metric names by their first word: proportions first, counts left out.

    In a group the mean comes first. Where all are equal (the mean over a single label, the AUROC of either of two
    classes), one is kept.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(metric_values, key=lambda n: not is_bounded_by_one(n)):
        if name.split("/")[0] not in COUNT_METRICS and not is_undefined(interval_numbers(metric_values[name])):
            groups.setdefault(name.split("/")[0], []).append(name)
    for word, members in groups.items():
        groups[word] = sorted(members, key=lambda n: n not in (word, f"{word}/mean"))
        rows = [
            [round(v, 9) if v is not None else None for v in interval_numbers(metric_values[n]).values()]
            for n in groups[word]
        ]
        if len(rows) > 1 and all(row == rows[0] for row in rows):
            groups[word] = [n for n in groups[word] if n == word or n != f"{word}/mean"][:1]
    return groups


def is_undefined(row: Mapping[str, float | None]) -> bool:
    """Tell whether a metric is undefined for every patient, so that there is nothing to show."""
    return row["value"] is None and not row["n"]


def is_bounded_by_one(name: str) -> bool:
    """Tell whether a metric lies between 0 and 1, and is drawn on the common axis of proportions."""
    return metrics.value_range(name) == (0.0, 1.0)


def axis_range(names: Sequence[str], metric_values: Mapping[str, Any]) -> tuple[float, float]:
    """Return the axis range of a group of metrics: 0 to 1 for proportions, else from 0 or less to the highest."""
    rows = [interval_numbers(metric_values[n]) for n in names]
    values = [v for row in rows for v in (row["value"], row["low"], row["high"]) if v is not None]
    if metrics.value_range(names[0]) == (0.0, 1.0) or not values:
        return 0.0, 1.0
    low, high = min(0.0, *values), max(0.0, *values)
    return low, high if high > low else low + 1.0


def draw_interval(
    row: Mapping[str, float | None], axis_ends: tuple[float, float], *, description: str, is_bold: bool
) -> str:
    """Draw a value and its interval on the axis of its group."""
    low, high = axis_ends

    def x(value: float) -> float:
        return BAR_MARGIN + (WIDTH - 2 * BAR_MARGIN) * min(max((value - low) / (high - low), 0.0), 1.0)

    marks = "".join(f'<path class="grid" d="M{x(t):.1f} 4V18"/>' for t in round_ticks(low, high, n_ticks=4))
    out = f'<path class="track" d="M{BAR_MARGIN:g} 11H{WIDTH - BAR_MARGIN:g}"/>{marks}'
    if row["low"] is not None and row["high"] is not None:
        width = "bar" if is_bold else "bar thin"
        out += f'<path class="{width}" d="M{x(row["low"]):.1f} 11H{x(row["high"]):.1f}"/>'
    if row["value"] is not None:
        out += f'<circle class="dot" cx="{x(row["value"]):.1f}" cy="11" r="{5 if is_bold else 4}"/>'
    return svg_image(WIDTH, HEIGHT, out, description=description)


def draw_axis_numbers(axis_ends: tuple[float, float], unit: str) -> str:
    """Draw the tick labels of a group's axis."""
    low, high = axis_ends
    out = ""
    for value in round_ticks(low, high, n_ticks=4):
        x = BAR_MARGIN + (WIDTH - 2 * BAR_MARGIN) * (value - low) / (high - low)
        anchor = "start" if x < 16 else "end" if x > WIDTH - 16 else "middle"
        place = 0 if anchor == "start" else WIDTH if anchor == "end" else x
        out += f'<text x="{place:.1f}" y="14" text-anchor="{anchor}">{value:g}</text>'
    return svg_image(WIDTH, 18, out, description=f"axis from {low:g} to {high:g} {unit}")


def metrics_table(metric_values: Mapping[str, Any], *, has_spacing: bool = True) -> str:
    """Return the table of all metrics with value, interval, patients and a bar (a forest plot), in groups."""
    rows = []
    for word, names in group_metrics(metric_values).items():
        ends, unit = axis_range(names, metric_values), metrics.unit_of(word, has_spacing=has_spacing)
        if len(names) == 1 and is_bounded_by_one(word):
            rows.append(metric_row(names[0], interval_numbers(metric_values[names[0]]), ends, is_ungrouped=True))
            continue
        direction = {"higher": "higher is better", "lower": "lower is better", "zero": "best at 0"}[
            metrics.better_direction(word)
        ]
        note = ", ".join(p for p in (unit, direction) if p)
        axis = "" if is_bounded_by_one(word) else draw_axis_numbers(ends, unit)
        rows.append(
            f'<tr class="group"><th scope="rowgroup" colspan="4">{escape_text(metric_title(word))} '
            f'<span class="soft small">{escape_text(note)}</span></th><td class="plot">{axis}</td></tr>'
        )
        rows += [metric_row(name, interval_numbers(metric_values[name]), ends) for name in names]
    head = [
        header_cell("Figure"),
        header_cell("Value", is_number=True),
        header_cell("95 % interval", is_number=True),
        header_cell("Patients", is_number=True),
        header_cell(
            draw_axis_numbers((0.0, 1.0), "") if any(is_bounded_by_one(n) for n in metric_values) else "",
            css_class="plot",
        ),
    ]
    return html_table(head, rows, css_class="forest") if rows else ""


def metrics_as_html(metric_values: Mapping[str, Any]) -> str:
    """Return the metrics with their 95 % intervals as a plain table, which a notebook shows without a style sheet.

    >>> "<td>Dice, liver</td><td>0.900</td><td>0.850 to 0.950</td><td>8</td>" in metrics_as_html(
    ...     {"dice/liver": {"value": 0.9, "low": 0.85, "high": 0.95, "n": 8}})
    True
    """
    rows = []
    for name in (n for names in group_metrics(metric_values).values() for n in names):
        row, (word, _, of) = interval_numbers(metric_values[name]), name.partition("/")
        value, low, high = (format_number(row[k], decimals=decimals(name)) for k in ("value", "low", "high"))
        title = metric_title(word) + (f", {label_title(of)}" if of else "")
        interval = f"{low} to {high}" if row["low"] is not None else "–"
        rows.append([title, value, interval, "–" if row["n"] is None else int(row["n"])])
    return small_table(["figure", "value", "95 % interval", "patients"], rows)


def metric_row(
    name: str, row: Mapping[str, float | None], axis_ends: tuple[float, float], *, is_ungrouped: bool = False
) -> str:
    """Return the table row of one metric; ``is_ungrouped`` is one without a group heading."""
    word, _, of = name.partition("/")
    label = {"": "all", "mean": "mean over labels"}.get(of) or label_title(of)
    d = decimals(name)
    value, low, high = (format_number(row[k], decimals=d) for k in ("value", "low", "high"))
    interval = f"{low} to {high}" if row["low"] is not None else "–"
    says = f"{metric_title(word)}, {label}: {value}, interval {interval}"
    drawn = draw_interval(row, axis_ends, description=says, is_bold=of in ("", "mean"))
    n = "–" if row["n"] is None else f"{int(row['n'])}"
    direction = {"higher": "higher is better", "lower": "lower is better", "zero": "best at 0"}[
        metrics.better_direction(word)
    ]
    first = (
        f"{escape_text(metric_title(word))}{f', {escape_text(label_title(of))}' if of else ''}"
        if is_ungrouped
        else escape_text(label)
    )
    first += f' <span class="soft small nowrap">{direction}</span>' if is_ungrouped else ""
    return (
        f'<tr class="{"alone" if is_ungrouped else "sub"}"><th scope="row">{first}</th><td class="number">{value}</td>'
        f'<td class="number">{interval}</td><td class="number">{n}</td><td class="plot">{drawn}</td></tr>'
    )
